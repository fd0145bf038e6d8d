use burn::tensor::{DType, Device, Tensor, TensorData};

use super::*;
use crate::schedule::{
    History, Scheduler, SchedulerConfig, SchedulerConfigError,
    gaussian_data::{
        check_by_monte_carlo, end_variance, ode_error, order, run, tensor, values, variance,
    },
};

fn plan(steps: usize, eta: f64) -> GaussianScheduler {
    SchedulerConfig::stable_diffusion().ddim(steps, eta).unwrap()
}

#[test]
fn leading_timesteps() {
    let timesteps = |steps| -> Vec<f64> {
        let scheduler = plan(steps, 0.0);
        (0..steps).map(|i| scheduler.timestep(i)).collect()
    };
    assert_eq!(timesteps(4), [751.0, 501.0, 251.0, 1.0]);
    // 1000 / 3 is cut to 333.
    assert_eq!(timesteps(3), [667.0, 334.0, 1.0]);
    assert_eq!(timesteps(50)[..3], [981.0, 961.0, 941.0]);
}

#[test]
fn other_spacings() {
    let timesteps = |spacing: TimestepSpacing| spacing.timesteps(1000, 4, 1).unwrap();
    assert_eq!(timesteps(TimestepSpacing::Trailing), [999, 749, 499, 249]);
    assert_eq!(timesteps(TimestepSpacing::Linspace), [999, 666, 333, 0]);
}

#[test]
fn bad_step_counts() {
    let ddim = |steps| SchedulerConfig::stable_diffusion().ddim(steps, 0.0).map(|_| ());
    let error = |steps| match ddim(steps) {
        Err(SchedulerConfigError::StepCount(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(0), StepCountError::Zero);
    assert!(matches!(error(1001), StepCountError::TooMany { given: 1001, most: 1000, .. }));
    // 1000 steps with offset 1 would end at training step 1000, which does not exist.
    let StepCountError::TooMany { most, .. } = error(1000) else { panic!("too many") };
    assert!(ddim(most).is_ok() && ddim(most + 1).is_err());
}

/// The error against the ODE falls in proportion to the number of steps.
#[test]
fn converges_at_order_one() {
    let order = order(|steps| ode_error(&plan(steps, 0.0)), 50, 200);
    assert!((order - 1.0).abs() < 0.15, "order {order}");
}

/// At eta 1 the sampler draws from the data: the variance it ends with approaches theirs at
/// order 1.
#[test]
fn eta_one_draws_from_the_data() {
    let error = |steps: usize| {
        let scheduler = plan(steps, 1.0);
        (end_variance(&scheduler) / variance(scheduler.level(steps)) - 1.0).abs()
    };
    let order = order(error, 125, 500);
    assert!(error(500) < 0.05 && (order - 1.0).abs() < 0.2, "order {order}");
}

#[test]
fn eta_one_by_monte_carlo() {
    check_by_monte_carlo(&plan(20, 1.0));
}

/// Eta 1 is the posterior of DDPM (Ho et al. 2020, eqs. 6 and 7) for an epsilon network.
#[test]
fn eta_one_is_the_ddpm_posterior() {
    let scheduler = plan(10, 1.0);
    for i in 0..10 {
        let PlannedStep { level, deviation, .. } = scheduler.steps[i];
        let prev = scheduler.level(i + 1);
        let (alpha, alpha_prev) = (level.signal.powi(2), prev.signal.powi(2));
        let ratio = alpha / alpha_prev;
        let (x, epsilon) = (0.7, -0.4);
        let original = (x - level.noise * epsilon) / level.signal;
        let mean = alpha_prev.sqrt() * (1.0 - ratio) / (1.0 - alpha) * original
            + ratio.sqrt() * (1.0 - alpha_prev) / (1.0 - alpha) * x;
        let found = scheduler.mean(i, tensor(vec![epsilon]), tensor(vec![x]));
        assert!((values(found)[0] - mean).abs() < 1e-12, "step {i}");
        let variance = (1.0 - alpha_prev) * (1.0 - ratio) / (1.0 - alpha);
        assert!((deviation.powi(2) - variance).abs() < 1e-12, "step {i}");
    }
}

/// One trajectory, told in terms of any prediction, is one trajectory.
#[test]
fn predictions_agree() {
    let end = |prediction| {
        let config =
            SchedulerConfig { prediction_type: prediction, ..SchedulerConfig::stable_diffusion() };
        let scheduler = config.ddim(10, 0.0).unwrap();
        values(run(&scheduler, tensor(vec![1.0, -0.3]), || panic!("no noise")))
    };
    let expected = end(Prediction::Epsilon);
    for prediction in [Prediction::VPrediction, Prediction::Sample, Prediction::Velocity] {
        for (found, expected) in end(prediction).iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9, "{prediction:?}: {found} for {expected}");
        }
    }
}

#[test]
fn log_prob_is_the_mean_log_density() {
    let scheduler = plan(10, 1.0);
    let data = TensorData::new(vec![0.1, -0.2, 0.3, 0.4], [2, 1, 1, 2]);
    let sample = Tensor::<4>::from_data(data, (&Device::flex(), DType::F64));
    let output = sample.clone().mul_scalar(0.3);
    let noise = sample.clone().add_scalar(1.0);
    let step = scheduler.step(
        3,
        output.clone(),
        sample.clone(),
        Some(noise.clone()),
        &mut History::default(),
    );
    let transition = scheduler.transition(3, output, sample, &mut History::default());
    let log_prob = transition.log_prob(step.prev_sample).unwrap();
    let deviation = scheduler.steps[3].deviation;
    let noise = values(noise);
    for (row, found) in log_prob.try_into_vec_as::<f64>().unwrap().into_iter().enumerate() {
        let density = |z: f64| -z * z / 2.0 - (deviation * std::f64::consts::TAU.sqrt()).ln();
        let expected = (density(noise[2 * row]) + density(noise[2 * row + 1])) / 2.0;
        assert!((found - expected).abs() < 1e-12);
    }
    let scheduler = plan(10, 0.0);
    let one = tensor(vec![1.0]);
    let transition = scheduler.transition(3, one.clone(), one.clone(), &mut History::default());
    assert!(transition.log_prob(one).is_none());
}

/// `set_alpha_to_one` decides whether the last step ends at the estimate itself.
#[test]
fn the_last_step() {
    let config =
        SchedulerConfig { set_alpha_to_one: Some(true), ..SchedulerConfig::stable_diffusion() };
    let scheduler = config.ddim(10, 1.0).unwrap();
    assert!(!scheduler.needs_noise(9) && scheduler.needs_noise(8));
    let step =
        scheduler.step(9, tensor(vec![0.4]), tensor(vec![0.7]), None, &mut History::default());
    assert!((values(step.prev_sample)[0] - values(step.pred_original)[0]).abs() < 1e-12);
    assert!(plan(10, 1.0).needs_noise(9));
}
