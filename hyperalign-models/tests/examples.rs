//! The examples run to their ends, and what they claim holds.

#[path = "../examples/convert_a_lora.rs"]
mod convert_a_lora;
#[path = "../examples/sample_with_lora.rs"]
mod sample_with_lora;

#[test]
fn convert_a_lora_runs() {
    convert_a_lora::main().unwrap();
}

#[test]
fn sample_with_lora_runs() {
    sample_with_lora::main().unwrap();
}
