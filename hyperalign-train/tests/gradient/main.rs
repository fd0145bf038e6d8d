//! Gradients of whole losses against finite differences, in f64.
//!
//! The float type of a device is set once for a process, hence a test binary of its own.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

mod guidance;
mod methods;
mod probe;

use std::sync::{Arc, OnceLock};

use burn::{
    module::Module,
    tensor::{Device, FloatDType, Tensor},
};
use hyperalign_core::noise::{Purpose, Stream, normal};
use hyperalign_core::testing;
use hyperalign_models::{
    base::{Adaptable, PromptEncoder},
    hypernet::{Adapter, AdapterKind, AdapterMeta, HypernetConfig, Variant},
    testing::{shaken, small_base},
};
use hyperalign_rewards::{Prompt, Reward};
use hyperalign_train::{
    data::{PreferredData, TrainingData},
    learner::{Emitted, Objective, Part, Shard},
    method::{HyperAlignSettings, Materials, Method, Setup, TrajectorySettings},
};
use probe::Probe;

/// A smooth function of every pixel that differs with the prompt.
struct Ripple;

impl Reward for Ripple {
    fn name(&self) -> &str {
        "ripple"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let rates: Vec<f64> = prompts.iter().map(|prompt| prompt.text.len() as f64 * 0.3).collect();
        let rates = Tensor::<1>::from_data(&rates[..], &images.device()).unsqueeze_dim::<2>(1);
        let pixels: Tensor<2> = images.flatten(1, 3);
        (pixels * rates).sin().mean_dim(1).squeeze_dim(1)
    }
    fn differentiable(&self) -> bool {
        true
    }
}

struct Noise;

impl PreferredData for Noise {
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        let streams = indices.iter().map(|&k| Stream::new(5, Purpose::Data, 0, k));
        let images = normal([1, 3, 8, 8], streams, device).tanh();
        (images, indices.iter().map(|_| "a blue heart".to_owned()).collect())
    }
}

fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || {
        let mut device = testing::cpu();
        device.configure(FloatDType::F64).unwrap();
        device
    };
    DEVICE.get_or_init(open).clone()
}

/// The whole loss of HyperAlign.
#[test]
fn the_gradient_of_the_loss_is_that_of_finite_differences() {
    let device = device();
    let base = small_base(1, &device);
    let config = HypernetConfig {
        rank: 2,
        a: 4,
        b: 4,
        width: 8,
        layers: 2,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    let meta = AdapterMeta::new("small", "", Variant::P, AdapterKind::Hypernet(config));
    let adapter = shaken(meta.init(1, &device.clone().autodiff()).unwrap(), 0.3);
    let materials = Materials {
        base: Arc::new(base),
        reward: Some(Arc::new(Ripple)),
        reward_decoder: None,
        prompts: Prompt::of(&["a red dog", "blue"]),
        data: TrainingData::Pictures(Arc::new(Noise)),
        sample_prompts: Vec::new(),
        held_out: None,
        attribution: None,
        device,
    };
    // Both a step that refreshes and one that keeps an older update.
    let trajectory = TrajectorySettings {
        steps: 4,
        guidance_scale: 3.0,
        variant: Variant::P,
        key_steps: vec![2],
        ..TrajectorySettings::default()
    };
    let objective = HyperAlignSettings {
        trajectories: 2,
        supervised_steps: 3,
        preferred_batch: 3,
        updates_per_rollout: Some(1),
        lambda: Some(14.0),
        // The gradient of what is limited is that of no loss.
        trajectory_clip: 0.0,
        ..HyperAlignSettings::default()
    }
    .objective(Setup { seed: 3, materials, trajectory, threads: 1, micro_steps: 1 });
    // The gradient takes trajectories for given, and so must the differences.
    let batch = objective.prepare(&adapter.valid(), 2);
    let losses = |adapter: &Adapter| {
        let mut emitted = Emitted::default();
        objective.losses(adapter, &batch, 2, Shard { index: 0, count: 1 }, &mut emitted);
        assert_eq!(emitted.parts.len(), 2);
        emitted.parts.into_iter()
    };
    let loss = |adapter: &Adapter| {
        let value = |part: Part| part.value.unwrap_or(part.loss) * part.weight;
        losses(adapter).map(value).reduce(|a, b| a.detach() + b.detach()).unwrap()
    };
    let stand_in = losses(&adapter).map(|part| part.loss * part.weight);
    let gradients = stand_in.reduce(|a, b| a + b).unwrap().backward();
    let mut probe = Probe::of(&gradients);
    adapter.visit(&mut probe);
    for kind in [
        "feature_proj",
        "context_proj",
        "film_in",
        "film_out",
        "queries",
        "decoder",
        "norm",
        "head",
        "down_aux",
        "up_aux",
    ] {
        assert!(probe.found.keys().any(|path| path.contains(kind)), "no gradient for {kind}");
    }
    for (path, (index, gradient)) in probe.found {
        // The outer factors of the layers are many and alike.
        let layer = path.rsplit('.').next().and_then(|last| last.parse::<usize>().ok());
        if layer.is_some_and(|layer| layer % 8 != 3) {
            continue;
        }
        let moved = |change: f64| {
            let adapter = adapter.clone().map(&mut Probe::nudge(&path, index, change));
            loss(&adapter).into_scalar::<f64>()
        };
        let h = 1e-5;
        let difference = (moved(h) - moved(-h)) / (2.0 * h);
        // The bias of keys has none: a softmax does not see what is added to all of them.
        let error = (difference - gradient).abs() / gradient.abs().max(1e-4);
        assert!(error < 1e-5, "{path}: gradient {gradient}, by differences {difference}");
    }
}
