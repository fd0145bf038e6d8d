//! hyperalign-train
