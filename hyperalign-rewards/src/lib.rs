//! hyperalign-rewards
