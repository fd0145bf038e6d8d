//! The examples run to their ends, and what they claim holds.

#[path = "../examples/write_a_reward.rs"]
mod write_a_reward;
#[path = "../examples/write_a_scheduler.rs"]
mod write_a_scheduler;

#[test]
fn write_a_reward_runs() {
    write_a_reward::main().unwrap();
}

#[test]
fn write_a_scheduler_runs() {
    write_a_scheduler::main().unwrap();
}
