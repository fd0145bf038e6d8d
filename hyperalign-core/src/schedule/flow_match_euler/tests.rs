use super::*;
use crate::schedule::{
    FlowSchedulerConfig, History, Scheduler,
    gaussian_data::{ode_error, order, tensor, values},
};

#[test]
fn a_step_follows_the_velocity() {
    let scheduler = GaussianScheduler::flow_match_euler(&[1.0, 0.7, 0.2, 0.0]);
    assert_eq!((scheduler.steps(), scheduler.timestep(1)), (3, 0.7));
    let (sample, velocity) = (vec![0.3, -2.0], vec![1.5, 0.4]);
    for (i, (from, to)) in [(1.0, 0.7), (0.7, 0.2), (0.2, 0.0)].into_iter().enumerate() {
        assert!(!scheduler.needs_noise(i));
        let (given, output) = (tensor(sample.clone()), tensor(velocity.clone()));
        let step = scheduler.step(i, output, given, None, &mut History::default());
        let (prev, original) = (values(step.prev_sample), values(step.pred_original));
        for k in 0..2 {
            assert!((prev[k] - (sample[k] + (to - from) * velocity[k])).abs() < 1e-12);
            assert!((original[k] - (sample[k] - from * velocity[k])).abs() < 1e-12);
        }
    }
    assert_eq!(scheduler.level(3), Process::RectifiedFlow.level(0.0));
}

/// The error against the flow's ODE falls in proportion to the number of steps, shifted or not.
#[test]
fn converges_at_order_one() {
    for config in [FlowSchedulerConfig::flux_dev(), FlowSchedulerConfig::flux_schnell()] {
        let error = |steps| ode_error(&config.flow_match_euler(steps, 1024).unwrap());
        let order = order(error, 50, 200);
        assert!((order - 1.0).abs() < 0.1, "order {order}");
    }
}
