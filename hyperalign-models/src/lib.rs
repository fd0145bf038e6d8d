//! hyperalign-models
