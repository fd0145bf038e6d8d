//! hyperalign
fn main() {}
