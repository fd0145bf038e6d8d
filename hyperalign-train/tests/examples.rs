//! The examples run to their ends, and what they claim holds.

#[path = "../examples/align_a_base.rs"]
mod align_a_base;
#[path = "../examples/write_a_method.rs"]
mod write_a_method;

#[test]
fn align_a_base_runs() {
    align_a_base::main().unwrap();
}

#[test]
fn write_a_method_runs() {
    write_a_method::main().unwrap();
}
