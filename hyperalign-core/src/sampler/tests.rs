mod properties;
mod toy;

use super::*;
use crate::{
    contract::Prediction,
    diffusion::Level,
    guidance::ClassifierFreeGuidance,
    noise::Purpose,
    schedule::{History, SchedulerConfig, Transition},
    testing,
};
use toy::{EveryNth, Toy, every, prompts, streams};

const TOY: Toy = Toy(Prediction::Epsilon);

/// The guided, adapted, stochastic run of pictures with these seeds and prompts.
fn run(seeds: &[u64], values: &[f32], adapter: &EveryNth) -> Vec<f32> {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 0.7).unwrap();
    let guided = ClassifierFreeGuidance::new(&TOY, prompts(&[0.0]), 3.0);
    let noise = |i| streams(Purpose::Sampler, i, seeds);
    let prompts = prompts(values);
    let sampler = Sampler::new(&guided, &scheduler, &prompts).with_adapter(adapter);
    let start = sampler.start(streams(Purpose::Start, 0, seeds));
    sampler.run(start, 8, Some(&noise), &mut unobserved).sample.try_into_vec_as().unwrap()
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let both = run(&[3, 4], &[0.1, -0.2], &every(2));
    let alone = run(&[4], &[-0.2], &every(2));
    for (both, alone) in both[4..].iter().zip(alone) {
        assert!((both - alone).abs() < 1e-5, "{both} {alone}");
    }
}

#[test]
fn the_adapter_is_asked_at_every_step_for_the_conditional_rows() {
    let adapter = every(3);
    run(&[3, 4], &[0.1, -0.2], &adapter);
    let expected: Vec<_> = (0..8).map(|i| (i, 2)).collect();
    assert_eq!(*adapter.asked.borrow(), expected);
}

#[test]
fn an_update_stays_in_use_until_the_next() {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(6, 0.0).unwrap();
    let adapter = every(4);
    let mut factors = Vec::new();
    let mut samples = Vec::new();
    let prompts = prompts(&[0.3]);
    let sampler = Sampler::new(&TOY, &scheduler, &prompts).with_adapter(&adapter);
    let start = sampler.start(streams(Purpose::Start, 0, &[5]));
    let end = sampler.run(start.clone(), 6, None, &mut |state| {
        let down = state.lora.unwrap().at("layer")[0].down.clone();
        factors.push(down.into_scalar::<f32>());
        assert_eq!(state.timestep, scheduler.timestep(state.i));
        let level = scheduler.level(state.i);
        let original =
            level.original(Prediction::Epsilon, state.sample.clone(), state.model_output.clone());
        original.into_data().assert_eq(&state.pred_original.to_data(), true);
        samples.push((state.sample.to_data(), state.prev_sample.to_data()));
        ControlFlow::Continue(())
    });
    assert_eq!(factors.len(), 6);
    assert!(factors[..4].iter().all(|f| *f == factors[0]) && factors[4] == factors[5]);
    assert!(factors[4] != factors[0]);
    samples[0].0.assert_eq(&start.sample.into_data(), true);
    assert!(samples.windows(2).all(|pair| pair[0].1 == pair[1].0));
    samples[5].1.assert_eq(&end.sample.into_data(), true);
}

/// A tracked start gives a tracked end: the gradient through all steps, by finite differences.
#[test]
fn the_loop_is_differentiable() {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(5, 0.0).unwrap();
    let prompts = prompts(&[0.3]);
    let sampler = Sampler::new(&TOY, &scheduler, &prompts);
    let end = |start: Tensor<4>| {
        sampler.run(Trajectory::at(0, start), 5, None, &mut unobserved).sample.sum()
    };
    let start = streams(Purpose::Start, 0, &[5]).autodiff().require_grad();
    let gradient = start.grad(&end(start.clone()).backward()).unwrap().sum();
    let at = |h: f64| end(start.clone().inner() + h).into_scalar::<f32>();
    let difference = (at(1e-2) - at(-1e-2)) / 2e-2;
    let gradient = gradient.into_scalar::<f32>();
    assert!((gradient - difference).abs() < 1e-2 * difference.abs(), "{gradient} {difference}");
}

/// A second-order Adams-Bashforth solver of `d(sample / signal) / d sigma = epsilon`: the history
/// is enough for a multi-step method, which converges faster than DDIM.
struct AdamsBashforth(Vec<f64>);

impl Scheduler for AdamsBashforth {
    fn steps(&self) -> usize {
        self.0.len() - 1
    }

    fn timestep(&self, i: usize) -> f64 {
        self.0[i]
    }

    fn level(&self, i: usize) -> Level {
        Level { signal: 1.0, noise: self.0[i] }
    }

    fn prediction(&self) -> Prediction {
        Prediction::Epsilon
    }

    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition {
        let pred_original =
            self.level(i).original(Prediction::Epsilon, sample.clone(), model_output.clone());
        let slope = match history.output(0) {
            Some(before) => model_output.clone() * 1.5 - before.clone() * 0.5,
            None => model_output.clone(),
        };
        history.push(model_output, 1);
        let mean = sample + slope * (self.0[i + 1] - self.0[i]);
        Transition { mean, deviation: 0.0, pred_original }
    }
}

/// The exact network for standard normal data: `epsilon = sample sigma / (1 + sigma^2)`.
struct Exact;

impl Denoiser for Exact {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        _: &Conditioning,
        _: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        let sigma = timesteps.reshape([-1, 1, 1, 1]);
        Answer::from(sample * (sigma.clone() / (sigma.square() + 1.0)))
    }

    fn prediction(&self) -> Prediction {
        Prediction::Epsilon
    }
}

#[test]
fn history_serves_a_multi_step_solver() {
    let error = |n: usize| {
        let plan = AdamsBashforth((0..=n).map(|k| 2.0 - 2.0 * k as f64 / n as f64).collect());
        let start = Tensor::full([1, 1, 1, 1], 5.0_f64.sqrt(), &testing::device());
        let prompts = prompts(&[0.0]);
        let sampler = Sampler::new(&Exact, &plan, &prompts);
        let end = sampler.run(Trajectory::at(0, start), n, None, &mut unobserved).sample;
        (end.into_scalar::<f32>() - 1.0).abs()
    };
    let order = (error(16) / error(64)).ln() / 4.0_f32.ln();
    assert!((order - 2.0).abs() < 0.4, "order {order}");
}
