//! Alignment runs from settings to an adapter, on the smallest base that has every part.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    adapter::{AdapterSource, NoAdapter},
    noise::{Purpose, Stream, normal},
    sampler::{Sampler, unobserved},
    testing,
};
use hyperalign_models::{
    base::Base,
    hypernet::{Adapter, AdapterKind, AdapterMeta, Variant},
    testing::{small_base, small_flux},
};
use hyperalign_rewards::{Prompt, Reward};
use hyperalign_train::{
    align::{AlignSettings, Materials, NetworkSettings, SampleSettings, TextStream, align},
    data::PreferredData,
    learner::{AdamW, End, Objective, Resume, Run, Schedule, Settings, Shard, Stop},
    method::{HyperAlignSettings, guided},
};

const STEPS: usize = 4;

/// How much more red there is than blue where the prompt says red, and less where it says blue:
/// no one update serves both.
struct Colour;

impl Reward for Colour {
    fn name(&self) -> &str {
        "colour"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let sign = |prompt: &Prompt| if prompt.text.contains("red") { 1.0 } else { -1.0 };
        let signs: Vec<f32> = prompts.iter().map(sign).collect();
        let of = |channel: usize| -> Tensor<1> {
            let pixels: Tensor<2> = images.clone().narrow(1, channel, 1).flatten(1, 3);
            pixels.mean_dim(1).squeeze_dim(1)
        };
        (of(0) - of(2)) * Tensor::<1>::from_data(&signs[..], &images.device())
    }
    fn differentiable(&self) -> bool {
        true
    }
}

/// Pictures of one colour each.
struct Plain;

impl PreferredData for Plain {
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        let streams = indices.iter().map(|&k| Stream::new(5, Purpose::Data, 0, k));
        let images = normal([1, 3, 1, 1], streams, device).tanh().repeat(&[1, 1, 8, 8]);
        (images, indices.iter().map(|_| "a blue heart".to_owned()).collect())
    }
}

fn materials() -> Materials {
    materials_of(Arc::new(small_base(1, &testing::device())))
}

/// A diffusion and a flow, each with the variants that are trained on it.
fn bases() -> [(Arc<dyn Base>, &'static [Variant]); 2] {
    let device = testing::device();
    [
        (Arc::new(small_base(1, &device)), &[Variant::S, Variant::I]),
        (Arc::new(small_flux(false, &device)), &[Variant::S]),
    ]
}

fn materials_of(base: Arc<dyn Base>) -> Materials {
    let device = testing::device();
    let prompts = ["a red dog", "a blue heart", "red heart", "blue"].map(str::to_owned).to_vec();
    Materials {
        base,
        reward: Arc::new(Colour),
        reward_decoder: None,
        sample_prompts: prompts.clone(),
        attribution: None,
        prompts,
        preferred: Arc::new(Plain),
        device,
    }
}

fn settings() -> AlignSettings {
    AlignSettings {
        method: HyperAlignSettings {
            steps: STEPS,
            guidance_scale: 2.0,
            reward_every: 1,
            trajectories: 4,
            supervised_steps: 2,
            preferred_batch: 8,
            ..HyperAlignSettings::default()
        },
        network: NetworkSettings::Hypernet {
            rank: 2,
            a: 4,
            b: 4,
            width: 8,
            layers: 1,
            heads: 2,
            head_gain: 1.0,
            position_scale: 0.1,
            own_rate: 1.0,
            encoder_depth: None,
            text_stream: TextStream::Frozen,
            targets: None,
        },
        training: Settings {
            updates: 60,
            optimizer: AdamW { lr: 5e-3, ..AdamW::default() },
            schedule: Schedule::Constant { warmup: 5 },
            ema: Some(0.9),
            shards: 2,
            ..Settings::default()
        },
        samples: SampleSettings { every: 0, prompts: 4 },
        ..AlignSettings::default()
    }
}

/// Rewards of pictures from noise that no training has seen, one for each row.
fn scores(materials: &Materials, source: &dyn AdapterSource) -> Vec<f64> {
    const ROWS: usize = 24;
    let base = materials.base.as_ref();
    let prompts: Vec<String> = materials.prompts.iter().cycle().take(ROWS).cloned().collect();
    let streams = (0..ROWS as u32).map(|row| Stream::new(99, Purpose::Start, 0, row));
    let scheduler = base.scheduler(STEPS).unwrap();
    let denoiser = guided(base, &base.unconditional(), 2.0);
    let conditioning = base.encode_prompts(&prompts).unwrap();
    let sampler = Sampler::new(&denoiser, scheduler.as_ref(), &conditioning).with_adapter(source);
    let start = sampler.start(normal([1, 2, 4, 4], streams, &materials.device));
    let end = sampler.run(start, STEPS, None, &mut unobserved);
    let images = base.decode(end.sample).clamp(-1.0, 1.0);
    materials.reward.score(images, &Prompt::of(&prompts)).into_data().iter::<f64>().collect()
}

/// Mean and standard error of the paired differences.
fn gain(after: &[f64], before: &[f64]) -> (f64, f64) {
    let gains: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn training_on_a_reward_raises_it_on_new_noise() {
    let mut settings = settings();
    settings.method.regulariser_weight = 0.0;
    settings.method.trajectories = 8;
    settings.training.updates = 100;
    for (base, variants) in bases() {
        let materials = materials_of(base);
        let base = materials.base.as_ref();
        let before = scores(&materials, &NoAdapter);
        for &variant in variants {
            settings.method.variant = variant;
            let dir = tempfile::tempdir().unwrap();
            let aligned = align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
            let as_variant = |variant: Variant| {
                let source = aligned.adapter.source(base, variant, Vec::new());
                scores(&materials, source.as_ref())
            };
            let after = as_variant(variant);
            let (mean, error) = gain(&after, &before);
            assert!(mean > 4.0 * error && mean > 0.02, "{variant:?} gains {mean} +- {error}");
            let other = as_variant(if variant == Variant::S { Variant::I } else { Variant::S });
            let apart = after.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart > 1e-3, "S and I of one network differ by {apart} at most");
        }
    }
}

#[test]
fn the_regulariser_alone_lowers_the_denoising_loss() {
    for (base, _) in bases() {
        let materials = materials_of(base);
        let mut settings = settings();
        settings.method.reward_weight = 0.0;
        let dir = tempfile::tempdir().unwrap();
        let aligned = align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
        let objective = materials.method(settings.method.clone(), 1);
        let losses = |adapter: &Adapter| -> Vec<f64> {
            let loss = |update| {
                let losses = objective.losses(adapter, update, Shard { index: 0, count: 1 });
                let [part] = losses.parts.try_into().unwrap();
                part.loss.into_scalar()
            };
            (0..12).map(loss).collect()
        };
        // A fresh adapter is the base.
        let fresh = aligned.meta.init(0, &materials.device).unwrap();
        let (mean, error) = gain(&losses(&aligned.adapter), &losses(&fresh));
        assert!(mean < -5.0 * error && mean < -0.05, "the loss changes by {mean} +- {error}");
    }
}

#[test]
fn the_reward_of_some_updates_has_its_weight_on_average() {
    let (base, _) = bases().into_iter().next().unwrap();
    let materials = materials_of(base);
    let meta = AdapterMeta::new(
        materials.base.name(),
        "",
        Variant::S,
        settings().network.kind(materials.base.as_ref()).unwrap(),
    );
    let adapter = meta.init(0, &materials.device.clone().autodiff()).unwrap();
    let weights = |every, regulariser_weight| -> Vec<Vec<(&str, f64)>> {
        let mut method = settings().method;
        (method.reward_every, method.regulariser_weight) = (every, regulariser_weight);
        method.reward_weight = 0.5;
        let objective = materials.method(method, 1);
        let parts = |update| {
            let losses = objective.losses(&adapter, update, Shard { index: 0, count: 1 });
            losses.parts.iter().map(|part| (part.name, part.weight)).collect()
        };
        (0..4).map(parts).collect()
    };
    let alone = vec![("regulariser", 1.0)];
    let both = |reward| vec![("reward", reward), ("regulariser", 1.0)];
    assert_eq!(weights(1, 1.0), [both(0.5), both(0.5), both(0.5), both(0.5)]);
    assert_eq!(weights(3, 1.0), [both(1.5), alone.clone(), alone, both(1.5)]);
    // Without the regulariser there would be updates of nothing.
    assert_eq!(weights(3, 0.0), vec![vec![("reward", 0.5)]; 4]);
}

#[test]
fn updates_without_trajectories_know_their_variation_too() {
    for (base, _) in bases() {
        let materials = materials_of(base);
        let variation = |reward_weight: f64, trajectories| {
            let mut settings = settings();
            settings.training.updates = 30;
            settings.method.reward_weight = reward_weight;
            settings.method.trajectories = trajectories;
            let dir = tempfile::tempdir().unwrap();
            align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
            let text = std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
            let row: serde_json::Value =
                serde_json::from_str(text.lines().last().unwrap()).unwrap();
            ["variation_over_prompts", "variation_over_steps"]
                .map(|name| row["metrics"][name].as_f64().unwrap())
        };
        // No reward, and a reward with one trajectory in each of two shards.
        for values in [variation(0.0, 4), variation(0.05, 2)] {
            assert!(values.iter().all(|value| *value > 1e-3), "{values:?}");
        }
    }
}

#[test]
fn an_encoder_of_a_u_net_may_end_sooner() {
    let materials = materials_of(Arc::new(small_base(1, &testing::device())));
    let with = |depth| {
        let mut settings = settings();
        settings.training.updates = 1;
        if let NetworkSettings::Hypernet { encoder_depth, .. } = &mut settings.network {
            *encoder_depth = depth;
        }
        let dir = tempfile::tempdir().unwrap();
        align(&materials, &settings, &[], &Run::new(dir.path(), "")).map(|aligned| aligned.meta)
    };
    let depths = hyperalign_models::hypernet::Perception::depths(materials.base.as_ref());
    for depth in 1..=depths {
        let meta = with(Some(depth)).unwrap();
        let AdapterKind::Hypernet(config) = meta.network else { panic!("not a hypernetwork") };
        assert_eq!(config.encoder_depth, Some(depth));
        assert_eq!(config.feature_dim, materials.base.feature_dim(Some(depth)));
    }
    let error = with(Some(depths + 1)).unwrap_err().to_string();
    assert!(error.contains(&format!("has {depths} blocks")), "{error}");
}

#[test]
fn the_encoder_and_the_text_stream_of_a_flow_are_a_choice() {
    let materials = materials_of(Arc::new(small_flux(true, &testing::device())));
    let with = |depth, stream| {
        let mut settings = settings();
        settings.training.updates = 1;
        if let NetworkSettings::Hypernet { encoder_depth, text_stream, .. } = &mut settings.network
        {
            (*encoder_depth, *text_stream) = (depth, stream);
        }
        let dir = tempfile::tempdir().unwrap();
        align(&materials, &settings, &[], &Run::new(dir.path(), "")).map(|aligned| aligned.meta)
    };
    let targets = |meta: &AdapterMeta| match &meta.network {
        AdapterKind::Hypernet(config) => config.targets.len(),
        AdapterKind::StaticLora(config) => config.targets.len(),
    };
    let default = with(None, TextStream::Frozen).unwrap();
    assert_eq!((default.encoder_depth(), targets(&default)), (None, 2 * 4 + 3));
    let other = with(Some(1), TextStream::Adapted).unwrap();
    assert_eq!((other.encoder_depth(), targets(&other)), (Some(1), 2 * 8 + 3));
    let error = with(Some(3), TextStream::Frozen).unwrap_err().to_string();
    assert!(error.contains("has 2 blocks"), "{error}");
}

/// A reward that asks for the end of the run when it has been computed so many times.
struct Interrupting {
    calls: AtomicUsize,
    at: usize,
    stop: Stop,
}

impl Reward for Interrupting {
    fn name(&self) -> &str {
        "colour"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.stop.request();
        }
        Colour.score(images, prompts)
    }
    fn differentiable(&self) -> bool {
        true
    }
}

#[test]
fn an_interrupted_run_ends_with_the_bytes_of_a_whole_one() {
    let materials = materials();
    for network in [
        settings().network,
        NetworkSettings::StaticLora { rank: 2, text_stream: TextStream::Frozen, targets: None },
    ] {
        let mut settings = AlignSettings { network, ..settings() };
        settings.training.updates = 6;
        settings.samples.every = 4;
        let whole = tempfile::tempdir().unwrap();
        let aligned = align(&materials, &settings, &[], &Run::new(whole.path(), "")).unwrap();
        assert_eq!((aligned.end, aligned.updates), (End::Finished, 6));

        let cut = tempfile::tempdir().unwrap();
        let run = Run::new(cut.path(), "");
        let reward = Interrupting { calls: Default::default(), at: 5, stop: run.stop.clone() };
        let interrupting = Materials { reward: Arc::new(reward), ..materials.clone() };
        let aligned = align(&interrupting, &settings, &[], &run).unwrap();
        assert_eq!((aligned.end, aligned.updates, aligned.path), (End::Interrupted, 3, None));
        assert!(!cut.path().join("adapter.safetensors").exists());
        let run = Run { resume: Resume::Continue, ..Run::new(cut.path(), "") };
        align(&materials, &settings, &[], &run).unwrap();
        for name in ["adapter.safetensors", "samples/step-000000.png", "samples/step-000004.png"] {
            let file = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
            assert!(file(whole.path()) == file(cut.path()), "{name} differs");
        }
        let (_, meta) =
            Adapter::load(&cut.path().join("adapter.safetensors"), &materials.device).unwrap();
        meta.check_base("small", materials.base.hash()).unwrap();
    }
}
