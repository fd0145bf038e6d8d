use super::*;
use crate::schedule::{
    SchedulerConfig, TimestepSpacing,
    gaussian_data::{error_before, exact_output, order, tensor, values, variance},
};

fn plan(steps: usize, eta: f64) -> DpmppSdeScheduler {
    let options = SigmaOptions {
        prediction: Prediction::Epsilon,
        spacing: TimestepSpacing::Linspace,
        steps_offset: 0,
        use_karras_sigmas: true,
    };
    let process = SchedulerConfig::stable_diffusion().process().unwrap();
    DpmppSdeScheduler::new(&process, steps, eta, options).unwrap()
}

#[test]
fn midpoints_lie_between_in_the_logarithm_of_sigma() {
    let scheduler = plan(4, 1.0);
    assert_eq!(scheduler.steps(), 7);
    let sigma = |i: usize| scheduler.level(i).sigma();
    for i in [1, 3, 5] {
        let middle = (sigma(i - 1) * sigma(i + 1)).sqrt();
        assert!((sigma(i) - middle).abs() < 1e-9 * middle);
        assert!(scheduler.timestep(i) < scheduler.timestep(i - 1));
        assert!(scheduler.timestep(i) > scheduler.timestep(i + 1));
    }
    assert!((0..6).all(|i| scheduler.needs_noise(i)) && !scheduler.needs_noise(6));
}

#[test]
fn without_noise_it_converges_at_order_two() {
    let found = order(|steps| error_before(&plan(steps, 0.0), 1), 25, 100);
    assert!((found - 2.0).abs() < 0.3, "order {found}");
}

/// The noise of both stages is one path: what a step draws in all has the deviation of one ancestral
/// step, and the correlation with what was drawn to the midpoint is that of Brownian increments.
#[test]
fn both_stages_draw_from_one_path() {
    let scheduler = plan(5, 0.9);
    let end = |first: f64, second: f64| {
        let mut history = History::default();
        let zero = || tensor(vec![0.0]);
        // An estimate of zero whatever the sample: the answers are the noise that this implies.
        let output = |i: usize, sample: &Tensor<4>| {
            scheduler.level(i).noise(Prediction::Sample, sample.clone(), zero())
        };
        let start = tensor(vec![0.8]);
        let answer = output(2, &start);
        let half = scheduler.step(2, answer, start, Some(tensor(vec![first])), &mut history);
        let middle = half.prev_sample;
        let answer = output(3, &middle);
        let noise = Some(tensor(vec![second]));
        values(scheduler.step(3, answer, middle, noise, &mut history).prev_sample)[0]
    };
    let (of_first, of_second) = (end(1.0, 0.0) - end(0.0, 0.0), end(0.0, 1.0) - end(0.0, 0.0));
    let [from, middle, to] = [2, 3, 4].map(|i| scheduler.level(i));
    let ratio = to.sigma() / from.sigma();
    let deviation = 0.9 * to.noise * (1.0 - ratio * ratio).sqrt();
    assert!((of_first.hypot(of_second) - deviation).abs() < 1e-12);
    let share = (from.sigma() - middle.sigma()) / (from.sigma() - to.sigma());
    assert!(((of_first / deviation).powi(2) - share).abs() < 1e-12);
}

/// The variance of the chain, which is linear in sample and noise, against that of the data.
#[test]
fn eta_one_draws_from_the_data() {
    let error = |steps: usize| {
        let scheduler = plan(steps, 1.0);
        let passes = scheduler.steps();
        let end = |start: f64, drawn: Option<usize>| {
            let mut history = History::default();
            let end = (0..passes).fold(tensor(vec![start]), |sample, i| {
                let output = exact_output(&scheduler, i, sample.clone());
                let noise = tensor(vec![f64::from(u8::from(drawn == Some(i)))]);
                scheduler.step(i, output, sample, Some(noise), &mut history).prev_sample
            });
            values(end)[0]
        };
        let drawn: f64 = (0..passes).map(|i| end(0.0, Some(i)).powi(2)).sum();
        let found = variance(scheduler.level(0)) * end(1.0, None).powi(2) + drawn;
        (found / variance(scheduler.level(passes)) - 1.0).abs()
    };
    let order = order(error, 10, 40);
    assert!(error(40) < 0.02 && order > 1.5, "{} at order {order}", error(40));
}

/// A run that begins at a midpoint goes on from there by an ancestral step.
#[test]
fn begins_anywhere() {
    let scheduler = plan(4, 1.0);
    let (output, sample) = (tensor(vec![0.4]), tensor(vec![0.7]));
    let late = scheduler.transition(3, output.clone(), sample.clone(), &mut History::default());
    let [from, to] = [3, 4].map(|i| scheduler.level(i));
    let step = PlannedStep::ancestral(0.0, from, to, 1.0);
    let expected = from.transport(step.mean, Prediction::Epsilon, sample, output);
    assert!((values(late.mean)[0] - values(expected)[0]).abs() < 1e-12);
    assert_eq!(late.deviation, step.deviation);
}
