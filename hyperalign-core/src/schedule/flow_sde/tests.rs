use burn::tensor::Tensor;

use super::*;
use crate::schedule::{
    FlowSchedulerConfig, History, Scheduler,
    gaussian_data::{
        check_by_monte_carlo, end_variance, exact_output, order, tensor, values, variance,
    },
};

const BOTH: [FlowDiffusion; 2] = [FlowDiffusion::Constant, FlowDiffusion::Ratio];

fn sigmas(steps: usize) -> Vec<f64> {
    let config = FlowSchedulerConfig { shift: 3.0, ..FlowSchedulerConfig::default() };
    config.sigmas(steps, 0).unwrap()
}

fn plan(
    steps: usize,
    diffusion: FlowDiffusion,
    eta: f64,
    stochastic: Range<usize>,
) -> GaussianScheduler {
    let options = FlowSdeOptions { diffusion, eta, stochastic };
    GaussianScheduler::flow_sde(&sigmas(steps), &options)
}

/// Mean and deviation as DanceGRPO writes them, with `g` for its eta.
fn dance([sigma, next]: [f64; 2], g: f64, x: f64, v: f64) -> [f64; 2] {
    let d = next - sigma;
    let original = x - sigma * v;
    let score = -(x - (1.0 - sigma) * original) / (sigma * sigma);
    [x + d * v - 0.5 * g * g * score * d, g * (-d).sqrt()]
}

/// Mean and deviation as Flow-GRPO writes them; `top` is the second noise level of the run.
fn flow_grpo([sigma, next]: [f64; 2], top: f64, eta: f64, x: f64, v: f64) -> [f64; 2] {
    let d = next - sigma;
    let below_one = if sigma == 1.0 { top } else { sigma };
    let s = eta * (sigma / (1.0 - below_one)).sqrt();
    let of_x = 1.0 + s * s / (2.0 * sigma) * d;
    let of_v = 1.0 + s * s * (1.0 - sigma) / (2.0 * sigma);
    [x * of_x + v * of_v * d, s * (-d).sqrt()]
}

#[test]
fn both_published_forms() {
    let (steps, eta, x, v) = (6, 0.7, 0.4, -1.3);
    let levels = sigmas(steps);
    for i in 0..steps {
        let pair = [levels[i], levels[i + 1]];
        let below_one = if pair[0] == 1.0 { levels[1] } else { pair[0] };
        let g = eta * (pair[0] / (1.0 - below_one)).sqrt();
        let grpo = flow_grpo(pair, levels[1], eta, x, v);
        // One SDE in two forms: the first with the second's g is the second.
        for (a, b) in dance(pair, g, x, v).into_iter().zip(grpo) {
            assert!((a - b).abs() < 1e-12, "step {i}");
        }
        for (diffusion, expected) in BOTH.into_iter().zip([dance(pair, eta, x, v), grpo]) {
            let scheduler = plan(steps, diffusion, eta, 0..steps);
            let (sample, output) = (tensor(vec![x]), tensor(vec![v]));
            let mean = values(scheduler.mean(i, output.clone(), sample.clone()))[0];
            assert!((mean - expected[0]).abs() < 1e-12, "step {i} {diffusion:?}");
            let noise = Some(tensor(vec![2.0]));
            let step = scheduler.step(i, output, sample, noise, &mut History::default());
            let found = values(step.prev_sample)[0];
            let drawn = expected[0] + 2.0 * expected[1];
            assert!((found - drawn).abs() < 1e-12, "step {i} {diffusion:?}");
        }
    }
}

#[test]
fn eta_zero_is_the_ode() {
    for diffusion in BOTH {
        let scheduler = plan(6, diffusion, 0.0, 0..6);
        let ode = GaussianScheduler::flow_match_euler(&sigmas(6));
        for i in 0..6 {
            assert!(!scheduler.needs_noise(i));
            let (sample, output) = (tensor(vec![0.4]), tensor(vec![-1.3]));
            let still =
                scheduler.transition(i, output.clone(), sample.clone(), &mut History::default());
            assert!(still.log_prob(sample.clone()).is_none());
            let [a, b] = [&scheduler, &ode]
                .map(|scheduler| values(scheduler.mean(i, output.clone(), sample.clone()))[0]);
            assert!((a - b).abs() < 1e-12);
        }
    }
}

/// Noise is drawn in its window alone, and the steps outside are Euler's.
#[test]
fn the_window() {
    let scheduler = plan(6, FlowDiffusion::Ratio, 0.7, 1..3);
    let noisy: Vec<usize> = (0..6).filter(|&i| scheduler.needs_noise(i)).collect();
    assert_eq!(noisy, [1, 2]);
    let step =
        scheduler.step(5, tensor(vec![-1.3]), tensor(vec![0.4]), None, &mut History::default());
    assert!((values(step.prev_sample)[0] - values(step.pred_original)[0]).abs() < 1e-12);
}

/// In the limit of many steps the SDE has the marginals of the flow. The first step of the ratio
/// form is left to the ODE: its `g` grows with the number of steps there.
#[test]
fn draws_from_the_data() {
    for diffusion in BOTH {
        let error = |steps: usize| {
            let scheduler = plan(steps, diffusion, 0.7, 1..steps - 1);
            (end_variance(&scheduler) / variance(scheduler.level(steps)) - 1.0).abs()
        };
        let order = order(error, 100, 400);
        assert!(error(400) < 0.05 && (order - 1.0).abs() < 0.3, "order {order} {diffusion:?}");
    }
}

#[test]
fn by_monte_carlo() {
    for diffusion in BOTH {
        check_by_monte_carlo(&plan(12, diffusion, 0.7, 0..11));
    }
}

/// The log-probability is the mean over the elements of each sample, and its gradient is that of
/// a Gaussian: towards the sample that was drawn.
#[test]
fn log_prob_of_a_step() {
    for diffusion in BOTH {
        let scheduler = plan(6, diffusion, 0.7, 0..6);
        let wide = |values: [f64; 4]| tensor(values.to_vec()).reshape([2, 1, 1, 2]);
        let sample = wide([0.1, -0.2, 0.3, 0.4]);
        let output = exact_output(&scheduler, 2, sample.clone());
        let drawn = [1.0, -0.5, 0.2, 2.0];
        let step = scheduler.step(
            2,
            output.clone(),
            sample.clone(),
            Some(wide(drawn)),
            &mut History::default(),
        );
        let deviation = scheduler.steps[2].deviation;
        let log_prob = |output, sample: Tensor<4>, prev_sample| {
            let transition = scheduler.transition(2, output, sample, &mut History::default());
            transition.log_prob(prev_sample).unwrap()
        };
        let found = log_prob(output.clone(), sample.clone(), step.prev_sample.clone());
        let density = |z: f64| -z * z / 2.0 - (deviation * std::f64::consts::TAU.sqrt()).ln();
        for (row, found) in found.try_into_vec_as::<f64>().unwrap().into_iter().enumerate() {
            let expected = (density(drawn[2 * row]) + density(drawn[2 * row + 1])) / 2.0;
            assert!((found - expected).abs() < 1e-12);
        }
        let tracked = output.autodiff().require_grad();
        let found = log_prob(tracked.clone(), sample.autodiff(), step.prev_sample.autodiff());
        let gradient = values(tracked.grad(&found.sum().backward()).unwrap());
        // d mean / d output, by the mean's linearity.
        let slope = {
            let at = |v| values(scheduler.mean(2, tensor(vec![v]), tensor(vec![0.0])))[0];
            at(1.0) - at(0.0)
        };
        for (gradient, z) in gradient.into_iter().zip(drawn) {
            assert!((gradient - z * slope / deviation / 2.0).abs() < 1e-9);
        }
    }
}
