//! The hypernetwork, on the smallest base that has every part.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

mod adapter_file;
mod embedded;
mod shared_pass;

use std::{cell::RefCell, collections::BTreeSet, ops::ControlFlow};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Gradients, Int, Tensor, s},
};
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, Denoiser, NoAdapter},
    guidance::ClassifierFreeGuidance,
    noise::{Purpose, Stream, normal},
    sampler::{self, Sampler, Trajectory},
    testing::{self, distance},
};
use hyperalign_models::{
    base::Base,
    hypernet::{
        AdapterKind, AdapterMeta, Hypernet, HypernetConfig, HypernetInput, Perception,
        StaticLoraConfig, Variant,
    },
    pipeline::StableDiffusion,
    testing::{shaken, small_base},
    weights,
};

const STEPS: usize = 5;

fn config(base: &dyn Base) -> HypernetConfig {
    HypernetConfig {
        rank: 2,
        a: 4,
        b: 4,
        width: 8,
        layers: 2,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    }
}

fn hypernet(base: &dyn Base) -> AdapterMeta {
    AdapterMeta::new("small", base.hash(), Variant::S, AdapterKind::Hypernet(config(base)))
}

fn static_lora(base: &dyn Base) -> AdapterMeta {
    let lora = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base.lora_targets() };
    AdapterMeta::new("small", base.hash(), Variant::S, AdapterKind::StaticLora(lora))
}

fn random<const D: usize>(row: [usize; D], rows: usize, seed: u64) -> Tensor<D> {
    let streams = (0..rows as u32).map(|row| Stream::new(seed, Purpose::Start, 0, row));
    normal(row, streams, &testing::device())
}

/// Latents, timesteps and prompts, different in every row.
fn inputs(base: &StableDiffusion) -> (Tensor<4>, Tensor<1>, Conditioning) {
    let prompts = ["a red dog", "a blue heart", "dog", ""].map(str::to_owned);
    let timesteps = Tensor::from_data([900.0, 20.0, 400.0, 401.0], &testing::device());
    (random([1, 2, 4, 4], 4, 3), timesteps, base.encode_prompts(&prompts).unwrap())
}

/// The samples that entered the steps of a guided trajectory, and the last one.
fn trajectory(base: &StableDiffusion, source: &dyn AdapterSource) -> Vec<Tensor<4>> {
    let scheduler = Base::scheduler(base, STEPS).unwrap();
    let (sample, _, conditioning) = inputs(base);
    let guided = ClassifierFreeGuidance::new(base, base.unconditional(1), 3.0);
    let mut samples = Vec::new();
    let sampler = Sampler::new(&guided, scheduler.as_ref(), &conditioning).with_adapter(source);
    let end = sampler.run(sampler.start(sample), STEPS, None, &mut |state| {
        samples.push(state.sample.clone());
        ControlFlow::Continue(())
    });
    samples.push(end.sample);
    samples
}

#[test]
fn at_the_start_the_aligned_model_is_the_base_bit_for_bit() {
    let base = small_base(1, &testing::device());
    let bare = trajectory(&base, &NoAdapter).pop().unwrap();
    let (sample, timesteps, conditioning) = inputs(&base);
    let output = base.predict(sample.clone(), timesteps.clone(), &conditioning, None);
    for meta in [hypernet(&base), static_lora(&base)] {
        let adapter = meta.init(1, &testing::device()).unwrap();
        for variant in [Variant::S, Variant::P, Variant::I] {
            let source = adapter.source(&base, variant, vec![2]);
            let adapted = trajectory(&base, source.as_ref()).pop().unwrap();
            adapted.into_data().assert_eq(&bare.to_data(), true);
        }
        // On the tape attention is another function, the same for both.
        let adapter = meta.init(1, &testing::device().autodiff()).unwrap();
        let lora = adapter.emit(&base, sample.clone(), timesteps.clone(), &conditioning).lora;
        let adapted = base.predict(sample.clone(), timesteps.clone(), &conditioning, Some(&lora));
        assert!(distance(adapted.inner(), output.clone()) < 1e-6);
    }
}

/// One step of gradient descent.
struct Descend<'a>(&'a Gradients);

impl ModuleMapper for Descend<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match param.val().grad(self.0) {
            Some(gradient) => param.map(|old| (old.inner() - gradient).autodiff().require_grad()),
            None => param,
        }
    }
}

/// Trains by one step: the keys of the parameters with a gradient that is not zero, before and
/// after it.
fn reached(base: &StableDiffusion, meta: &AdapterMeta) -> [BTreeSet<String>; 2] {
    let mut adapter = meta.init(1, &testing::device().autodiff()).unwrap();
    let (sample, timesteps, conditioning) = inputs(base);
    [(); 2].map(|()| {
        let lora = adapter.emit(base, sample.clone(), timesteps.clone(), &conditioning).lora;
        let output = base.predict(sample.clone(), timesteps.clone(), &conditioning, Some(&lora));
        let gradients = (output * random([1, 2, 4, 4], 4, 4)).sum().backward();
        let by_key = weights::gradients(&adapter, &gradients);
        adapter = adapter.clone().map(&mut Descend(&gradients));
        let moved = by_key
            .into_iter()
            .filter(|(_, gradient)| gradient.values.iter().any(|value| value.abs() > 0.0));
        moved.map(|(key, _)| key).collect()
    })
}

#[test]
fn gradients_reach_the_last_factors_first_and_then_everything() {
    let base = small_base(1, &testing::device());
    for (meta, last) in [(hypernet(&base), ".up_aux."), (static_lora(&base), ".up.")] {
        let fresh = meta.init(1, &testing::device()).unwrap();
        let keys = weights::keys(&fresh).into_iter().map(|key| key.name);
        let (constant, trained): (BTreeSet<String>, BTreeSet<String>) =
            keys.partition(|key| key.ends_with("_mean") || key.ends_with("_std"));
        let is_hypernet = fresh.hypernet().is_some();
        assert_eq!(constant.len(), if is_hypernet { 4 } else { 0 });
        let [first, second] = reached(&base, &meta);
        let expected = trained.iter().filter(|key| key.contains(last)).cloned();
        assert_eq!(first, expected.collect());
        // A softmax does not see what is added to all keys; only rounding moves their bias.
        let felt = |key: &String| !key.ends_with(".key.bias");
        assert_eq!(
            second.into_iter().filter(felt).collect::<BTreeSet<_>>(),
            trained.into_iter().filter(felt).collect()
        );
    }
}

#[test]
fn the_head_speaks_from_the_start() {
    let base = small_base(1, &testing::device());
    let adapter = hypernet(&base).init(1, &testing::device()).unwrap();
    let (sample, timesteps, conditioning) = inputs(&base);
    let factors = adapter.emit(&base, sample, timesteps, &conditioning).factors;
    let size: f32 = factors.unwrap().square().mean().sqrt().into_scalar();
    assert!((0.7..1.4).contains(&size), "the outputs have size {size}, not 1");
}

#[test]
fn an_update_depends_on_its_own_row_only() {
    let base = small_base(1, &testing::device());
    let adapter = shaken(hypernet(&base).init(1, &testing::device()).unwrap(), 0.3);
    let predict = |rows: std::ops::Range<usize>| {
        let (sample, timesteps, conditioning) = inputs(&base);
        let (sample, timesteps) = (sample.slice(rows.clone()), timesteps.slice(rows.clone()));
        let conditioning = conditioning.slice(rows);
        let emission = adapter.emit(&base, sample.clone(), timesteps.clone(), &conditioning);
        let (lora, factors) = (emission.lora, emission.factors);
        (factors.unwrap(), base.predict(sample, timesteps, &conditioning, Some(&lora)))
    };
    let (factors, output) = predict(0..4);
    for row in 0..4 {
        let (own_factors, own_output) = predict(row..row + 1);
        assert!(distance(factors.clone().slice(s![row..row + 1]), own_factors.clone()) < 1e-5);
        assert!(distance(output.clone().slice(s![row..row + 1]), own_output) < 1e-5);
        let other = factors.clone().slice(s![(row + 1) % 4..(row + 1) % 4 + 1]);
        assert!(distance(other, own_factors) > 1e-3, "all rows are the same");
    }
}

#[test]
fn statistics_standardise_each_channel() {
    let base = small_base(1, &testing::device());
    let network = config(&base).init(1, &testing::device()).unwrap();
    let factors = |network: &Hypernet, features: Tensor<4>, context: Tensor<3>| {
        let timesteps = Tensor::full([6], 100.0, &testing::device());
        network.factors(HypernetInput { features, context, timesteps })
    };
    let (features, context) = (random([1, 8, 2, 2], 6, 1), random([1, 6, 8], 6, 2));
    // Channels of other means and sizes, and what is left of them by hand.
    let channel = Tensor::<1, Int>::arange(0..8, &testing::device()).float();
    let (size, mean) = (channel.clone() + 0.5, channel * 10.0 - 30.0);
    let moved_features =
        features.clone() * size.clone().reshape([1, 8, 1, 1]) + mean.clone().reshape([1, 8, 1, 1]);
    let moved_context = context.clone() * size.unsqueeze::<3>() + mean.unsqueeze::<3>();
    let fitted = network.clone().with_statistics(moved_features.clone(), moved_context.clone());
    let (variance, mean) = context.clone().reshape([36, 8]).var_mean_bias(0);
    let context = (context - mean.unsqueeze::<3>()) / variance.sqrt().unsqueeze::<3>();
    let rows = features.clone().permute([0, 2, 3, 1]).reshape([24, 8]);
    let (variance, mean) = rows.var_mean_bias(0);
    let features = (features - mean.reshape([1, 8, 1, 1])) / variance.sqrt().reshape([1, 8, 1, 1]);
    let expected = factors(&network, features, context);
    let found = factors(&fitted, moved_features.clone(), moved_context.clone());
    assert!(distance(found, expected.clone()) < 1e-3);
    assert!(distance(factors(&network, moved_features, moved_context), expected) > 1e-2);

    // Channels that never changed in the sample are not blown up.
    let (features, context) =
        (Tensor::ones([6, 8, 2, 2], &testing::device()), random([1, 6, 8], 6, 2));
    let fitted = network.with_statistics(features.clone(), context.clone());
    let quiet = factors(&fitted, features.clone(), context.clone());
    assert!(distance(factors(&fitted, features + 1e-6, context), quiet) < 0.1);
}

/// Records the samples that a hypernetwork looks at.
struct Watched<'a>(&'a StableDiffusion, RefCell<Vec<Tensor<4>>>);

impl Perception for Watched<'_> {
    fn features_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        c: &Conditioning,
    ) -> Tensor<4> {
        self.1.borrow_mut().push(sample.clone());
        self.0.features_at(depth, sample, timesteps, c)
    }
}

#[test]
fn variants_look_at_the_samples_that_they_say() {
    let base = small_base(1, &testing::device());
    let adapter = shaken(hypernet(&base).init(1, &testing::device()).unwrap(), 0.3);
    let every = (0..STEPS).collect();
    for (variant, at) in [(Variant::S, every), (Variant::P, vec![0, 2, 3]), (Variant::I, vec![0])] {
        let watched = Watched(&base, RefCell::default());
        let samples = trajectory(&base, adapter.source(&watched, variant, vec![2, 3]).as_ref());
        let seen = watched.1.take();
        assert_eq!(seen.len(), at.len(), "{variant:?}");
        for (seen, i) in seen.into_iter().zip(at) {
            assert_eq!(distance(seen, samples[i].clone()), 0.0, "{variant:?}, step {i}");
        }
    }
}

/// A run that is left and taken up is the run itself, bit for bit; and one that is entered late, or
/// led back, is never the bare base.
#[test]
fn trajectories_keep_their_update() {
    let base = small_base(1, &testing::device());
    let scheduler = Base::scheduler(&base, STEPS).unwrap();
    let (sample, _, conditioning) = inputs(&base);
    let sampler = Sampler::new(&base, scheduler.as_ref(), &conditioning);
    let hypernet = shaken(hypernet(&base).init(1, &testing::device()).unwrap(), 0.3);
    let lora = shaken(static_lora(&base).init(1, &testing::device()).unwrap(), 0.3);
    let all = [
        (hypernet.source(&base, Variant::S, Vec::new()), [3, 1]),
        (hypernet.source(&base, Variant::P, vec![2]), [2, 1]),
        (hypernet.source(&base, Variant::I, Vec::new()), [0, 0]),
        (lora.source(&base, Variant::S, Vec::new()), [0, 0]),
    ];
    for (source, since) in &all {
        let sampler = sampler.with_adapter(source.as_ref());
        let run = |trajectory, to| sampler.run(trajectory, to, None, &mut sampler::unobserved);
        let start = sampler.start(sample.clone());
        let whole = run(start.clone(), STEPS).sample.into_data();
        for k in 0..STEPS {
            let halves = run(run(start.clone(), k), STEPS);
            halves.sample.into_data().assert_eq(&whole, true);
        }
        let last = run(start, 4);
        let late = Trajectory::at(3, last.sample.clone());
        assert_eq!(sampler.look(&late).held.unwrap().since, 3);
        let back = sampler.renoise(&last, 1, sample.clone());
        let found = [last.held, sampler.look(&back).held].map(|held| held.unwrap().since);
        assert_eq!(found, *since);
    }
}
