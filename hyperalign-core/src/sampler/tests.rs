use std::cell::RefCell;

use burn::tensor::{Device, TensorData};

use super::*;
use crate::{
    adapter::NoAdapter,
    denoiser::Prediction,
    diffusion::Level,
    guidance::ClassifierFreeGuidance,
    lora::LoraDelta,
    noise::{self, Purpose, Stream},
    schedule::SchedulerConfig,
};

/// A network of no weights whose answer depends on everything it is told.
struct Toy;

impl Denoiser for Toy {
    fn predict(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
    ) -> Tensor<4> {
        let mut context = conditioning.context.clone();
        if let Some(delta) = lora.and_then(|lora| lora.get("layer")) {
            context = context.clone() + delta.forward(context);
        }
        let time = timesteps.div_scalar(1000.0).reshape([-1, 1, 1, 1]);
        (sample * 0.35 + time).sin() + context.unsqueeze_dim(3)
    }

    fn prediction(&self) -> Prediction {
        Prediction::Epsilon
    }
}

/// A new update for each sample at every `every`-th step, and a note of what was asked.
struct EveryNth {
    every: usize,
    asked: RefCell<Vec<(usize, usize)>>,
}

impl AdapterSource for EveryNth {
    fn refresh(
        &self,
        i: usize,
        sample: &Tensor<4>,
        _: f64,
        conditioning: &Conditioning,
    ) -> Option<LoraSet> {
        self.asked.borrow_mut().push((i, conditioning.batch()));
        i.is_multiple_of(self.every).then(|| {
            let mean = sample.clone().mean_dims(&[1, 2, 3]).reshape([-1, 1, 1]);
            let delta = LoraDelta {
                down_aux: None,
                up: mean.ones_like(),
                down: mean.add_scalar(i as f64),
                up_aux: None,
                scale: 0.1,
            };
            LoraSet::new([("layer".to_owned(), delta)])
        })
    }
}

fn prompts(values: &[f32]) -> Conditioning {
    let data = TensorData::new(values.to_vec(), [values.len(), 1, 1]);
    Conditioning { context: Tensor::from_data(data, &Device::default()), pooled: None }
}

fn streams(purpose: Purpose, i: usize, seeds: &[u64]) -> Tensor<4> {
    let streams = seeds.iter().map(|seed| Stream::new(*seed, purpose, i as u32, 0));
    noise::normal([1, 1, 2, 2], streams, &Device::default())
}

fn every(every: usize) -> EveryNth {
    EveryNth { every, asked: RefCell::default() }
}

/// The guided, adapted, stochastic run of pictures with these seeds and prompts.
fn run(seeds: &[u64], values: &[f32], adapter: &EveryNth, range: Range<usize>) -> Vec<f32> {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 0.7).unwrap();
    let guided = ClassifierFreeGuidance::new(&Toy, prompts(&[0.0]), 3.0);
    let start = streams(Purpose::Start, 0, seeds);
    let noise = |i| streams(Purpose::Sampler, i, seeds);
    let end =
        sample(&guided, &scheduler, adapter, start, &prompts(values), &noise, range, &mut |_| {});
    end.try_into_vec_as().unwrap()
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let both = run(&[3, 4], &[0.1, -0.2], &every(2), 0..8);
    let alone = run(&[4], &[-0.2], &every(2), 0..8);
    for (both, alone) in both[4..].iter().zip(alone) {
        assert!((both - alone).abs() < 1e-5, "{both} {alone}");
    }
}

#[test]
fn the_adapter_is_asked_at_every_step_for_the_conditional_rows() {
    let adapter = every(3);
    run(&[3, 4], &[0.1, -0.2], &adapter, 0..8);
    let expected: Vec<_> = (0..8).map(|i| (i, 2)).collect();
    assert_eq!(*adapter.asked.borrow(), expected);
}

#[test]
fn an_update_stays_in_use_until_the_next() {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(6, 0.0).unwrap();
    let adapter = every(4);
    let mut factors = Vec::new();
    let mut samples = Vec::new();
    let start = streams(Purpose::Start, 0, &[5]);
    let end = sample(
        &Toy,
        &scheduler,
        &adapter,
        start.clone(),
        &prompts(&[0.3]),
        &|_| panic!("eta 0 draws nothing"),
        0..6,
        &mut |state| {
            let down = state.lora.unwrap().get("layer").unwrap().down.clone();
            factors.push(down.into_scalar::<f32>());
            assert_eq!(state.timestep, scheduler.timestep(state.i));
            let level = scheduler.level(state.i);
            let original = level.original(
                Prediction::Epsilon,
                state.sample.clone(),
                state.model_output.clone(),
            );
            original.into_data().assert_eq(&state.pred_original.to_data(), true);
            samples.push((state.sample.to_data(), state.prev_sample.to_data()));
        },
    );
    assert_eq!(factors.len(), 6);
    assert!(factors[..4].iter().all(|f| *f == factors[0]) && factors[4] == factors[5]);
    assert!(factors[4] != factors[0]);
    samples[0].0.assert_eq(&start.into_data(), true);
    assert!(samples.windows(2).all(|pair| pair[0].1 == pair[1].0));
    samples[5].1.assert_eq(&end.into_data(), true);
}

#[test]
fn a_range_is_a_part_of_the_run() {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 0.0).unwrap();
    let part = |start: Tensor<4>, range| {
        let noise = |_| panic!("eta 0 draws nothing");
        sample(&Toy, &scheduler, &NoAdapter, start, &prompts(&[0.3]), &noise, range, &mut |_| {})
    };
    let start = streams(Purpose::Start, 0, &[5]);
    let whole = part(start.clone(), 0..8);
    let halves = part(part(start.clone(), 0..3), 3..8);
    whole.into_data().assert_eq(&halves.into_data(), true);
    part(start.clone(), 0..0).into_data().assert_eq(&start.into_data(), true);
}

/// A tracked start gives a tracked end: the gradient through all steps, by finite differences.
#[test]
fn the_loop_is_differentiable() {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(5, 0.0).unwrap();
    let end = |start: Tensor<4>| {
        let noise = |_| panic!("eta 0 draws nothing");
        sample(&Toy, &scheduler, &NoAdapter, start, &prompts(&[0.3]), &noise, 0..5, &mut |_| {})
            .sum()
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

    fn step(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        _: Option<Tensor<4>>,
        history: &mut History,
    ) -> Step {
        let pred_original =
            self.level(i).original(Prediction::Epsilon, sample.clone(), model_output.clone());
        let slope = match history.output(0) {
            Some(before) => model_output.clone() * 1.5 - before.clone() * 0.5,
            None => model_output.clone(),
        };
        history.push(model_output, 1);
        let prev_sample = sample + slope * (self.0[i + 1] - self.0[i]);
        Step { prev_sample, pred_original }
    }
}

/// The exact network for standard normal data: `epsilon = sample sigma / (1 + sigma^2)`.
struct Exact;

impl Denoiser for Exact {
    fn predict(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        _: &Conditioning,
        _: Option<&LoraSet>,
    ) -> Tensor<4> {
        let sigma = timesteps.reshape([-1, 1, 1, 1]);
        sample * (sigma.clone() / (sigma.square() + 1.0))
    }

    fn prediction(&self) -> Prediction {
        Prediction::Epsilon
    }
}

#[test]
fn history_serves_a_multi_step_solver() {
    let error = |n: usize| {
        let plan = AdamsBashforth((0..=n).map(|k| 2.0 - 2.0 * k as f64 / n as f64).collect());
        let start = Tensor::full([1, 1, 1, 1], 5.0_f64.sqrt(), &Device::default());
        let noise = |_| panic!("no noise");
        let end =
            sample(&Exact, &plan, &NoAdapter, start, &prompts(&[0.0]), &noise, 0..n, &mut |_| {});
        (end.into_scalar::<f32>() - 1.0).abs()
    };
    let order = (error(16) / error(64)).ln() / 4.0_f32.ln();
    assert!((order - 2.0).abs() < 0.4, "order {order}");
}
