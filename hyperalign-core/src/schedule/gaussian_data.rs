//! For tests: data that are normal, whose best network is known in closed form.

use burn::tensor::{DType, Tensor, TensorData};

use super::{History, Scheduler};
use crate::{
    diffusion::Level,
    noise::{Purpose, Stream},
    testing,
};

/// Data are normal with this deviation around 0; the best network is then linear.
pub(super) const DEVIATION: f64 = 0.5;

pub(super) fn tensor(values: Vec<f64>) -> Tensor<4> {
    let batch = values.len();
    let data = TensorData::new(values, [batch, 1, 1, 1]);
    Tensor::from_data(data, (&testing::cpu(), DType::F64))
}

pub(super) fn values(tensor: Tensor<4>) -> Vec<f64> {
    tensor.try_into_vec_as().unwrap()
}

/// The variance of samples at `level`.
pub(super) fn variance(level: Level) -> f64 {
    (level.signal * DEVIATION).powi(2) + level.noise.powi(2)
}

/// What the best network answers: the conditional mean of its target.
pub(super) fn exact_output(scheduler: &dyn Scheduler, i: usize, sample: Tensor<4>) -> Tensor<4> {
    let level = scheduler.level(i);
    let original = sample.clone().mul_scalar(level.signal * DEVIATION.powi(2) / variance(level));
    let noise = sample.mul_scalar(level.noise / variance(level));
    level.target(scheduler.prediction(), original, noise)
}

/// All steps from `start`.
pub(super) fn run(
    scheduler: &dyn Scheduler,
    start: Tensor<4>,
    mut noise: impl FnMut() -> Tensor<4>,
) -> Tensor<4> {
    let mut history = History::default();
    (0..scheduler.steps()).fold(start, |sample, i| {
        let output = exact_output(scheduler, i, sample.clone());
        let noise = scheduler.needs_noise(i).then(&mut noise);
        scheduler.step(i, output, sample, noise, &mut history).prev_sample
    })
}

/// How far a deterministic run ends from the solution of the probability-flow ODE, which scales a
/// sample by the ratio of the deviations.
pub(super) fn ode_error(scheduler: &dyn Scheduler) -> f64 {
    let exact =
        (variance(scheduler.level(scheduler.steps())) / variance(scheduler.level(0))).sqrt();
    (values(run(scheduler, tensor(vec![1.0]), || panic!("no noise")))[0] - exact).abs()
}

/// [`ode_error`] before the last `left` steps, which many solvers take at order 1 by their nature.
pub(super) fn error_before(scheduler: &dyn Scheduler, left: usize) -> f64 {
    let last = scheduler.steps() - left;
    let mut history = History::default();
    let end = (0..last).fold(tensor(vec![1.0]), |sample, i| {
        let output = exact_output(scheduler, i, sample.clone());
        scheduler.step(i, output, sample, None, &mut history).prev_sample
    });
    let [start, stop] = [0, last].map(|i| variance(scheduler.level(i)).sqrt());
    (values(end)[0] - stop / start).abs()
}

/// The order at which errors of a plan of so many steps fall between two numbers of steps.
pub(super) fn order(error: impl Fn(usize) -> f64, coarse: usize, fine: usize) -> f64 {
    let ratio = fine as f64 / coarse as f64;
    (error(coarse) / error(fine)).ln() / ratio.ln()
}

/// The variance that a chain of linear Gaussian steps ends with.
pub(super) fn end_variance(scheduler: &dyn Scheduler) -> f64 {
    let start = variance(scheduler.level(0));
    (0..scheduler.steps()).fold(start, |variance, i| {
        let step = |sample: f64, noise: f64| {
            let sample = tensor(vec![sample]);
            let output = exact_output(scheduler, i, sample.clone());
            let noise = Some(tensor(vec![noise]));
            let step = scheduler.step(i, output, sample, noise, &mut History::default());
            values(step.prev_sample)[0]
        };
        variance * step(1.0, 0.0).powi(2) + step(0.0, 1.0).powi(2)
    })
}

/// Mean and variance of many stochastic trajectories against those of the chain.
pub(super) fn check_by_monte_carlo(scheduler: &dyn Scheduler) {
    let expected = end_variance(scheduler);
    let n = 20_000;
    let mut stream = Stream::new(1, Purpose::Sampler, 0, 0);
    let mut normal = || tensor((0..n).map(|_| stream.normal()).collect());
    let start = normal().mul_scalar(variance(scheduler.level(0)).sqrt());
    let samples = values(run(scheduler, start, normal));
    let mean = samples.iter().sum::<f64>() / f64::from(n);
    let found = samples.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
    assert!(mean.abs() < 4.0 * (expected / f64::from(n)).sqrt(), "mean {mean}");
    let relative = found / expected - 1.0;
    assert!(relative.abs() < 4.0 * (2.0 / f64::from(n)).sqrt(), "variance {found}, not {expected}");
}
