//! A reward, pictures and settings that train in seconds.

use hyperalign_core::testing;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::AdapterSource,
    noise::{Purpose, Stream, normal},
    sampler::{Sampler, unobserved},
};
use hyperalign_models::{
    base::Base,
    hypernet::Variant,
    testing::{small_base, small_flux},
};
use hyperalign_rewards::{Prompt, Reward};
use hyperalign_train::{
    align::{AlignSettings, NetworkSettings, SampleSettings, TextStream},
    data::{PreferredData, TrainingData},
    learner::{AdamW, Schedule, Settings},
    method::{HyperAlignSettings, Materials, TrajectorySettings, guided},
};

pub const STEPS: usize = 4;

/// How much more red there is than blue where the prompt says red, and less where it says blue:
/// no one update serves both.
pub struct Colour;

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
pub struct Plain;

impl PreferredData for Plain {
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        let streams = indices.iter().map(|&k| Stream::new(5, Purpose::Data, 0, k));
        let images = normal([1, 3, 1, 1], streams, device).tanh().repeat(&[1, 1, 8, 8]);
        (images, indices.iter().map(|_| "a blue heart".to_owned()).collect())
    }
}

pub fn materials() -> Materials {
    materials_of(Arc::new(small_base(1, &testing::device())))
}

/// A diffusion and a flow, each with the variants that are trained on it.
pub fn bases() -> [(Arc<dyn Base>, &'static [Variant]); 2] {
    let device = testing::device();
    [
        (Arc::new(small_base(1, &device)), &[Variant::S, Variant::I]),
        (Arc::new(small_flux(false, &device)), &[Variant::S]),
    ]
}

pub fn materials_of(base: Arc<dyn Base>) -> Materials {
    let device = testing::device();
    let prompts = ["a red dog", "a blue heart", "red heart", "blue"].map(str::to_owned).to_vec();
    Materials {
        base,
        reward: Some(Arc::new(Colour)),
        reward_decoder: None,
        sample_prompts: prompts.clone(),
        attribution: None,
        prompts,
        data: TrainingData::Pictures(Arc::new(Plain)),
        device,
    }
}

pub fn method() -> HyperAlignSettings {
    HyperAlignSettings {
        trajectories: 4,
        supervised_steps: 2,
        updates_per_rollout: Some(2),
        preferred_batch: 8,
        ..HyperAlignSettings::default()
    }
}

pub fn settings() -> AlignSettings {
    AlignSettings {
        method: method().into(),
        trajectory: TrajectorySettings {
            steps: STEPS,
            guidance_scale: 2.0,
            ..TrajectorySettings::default()
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
pub fn scores(materials: &Materials, source: &dyn AdapterSource) -> Vec<f64> {
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
    Colour.score(images, &Prompt::of(&prompts)).into_data().iter::<f64>().collect()
}

/// Mean and standard error of the paired differences.
pub fn gain(after: &[f64], before: &[f64]) -> (f64, f64) {
    let gains: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
