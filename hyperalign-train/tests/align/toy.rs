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
    data::{LabelData, Labelled, PairData, Pairs, PreferredData, TrainingData},
    learner::{AdamW, Schedule, Settings},
    method::{
        AlignPropSettings, DanceGrpoSettings, DiffusionDpoSettings, DiffusionKtoSettings,
        DraftLvSettings, DraftSettings, FineTuningSettings, FlowGrpoSettings, HyperAlignSettings,
        Materials, MethodSettings, MixGrpoSettings, RaftSettings, ReflSettings, SpoSettings,
        SrpoSettings, TrajectorySettings,
    },
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

/// Pairs of a bright and a dark picture, of which people prefer the bright one. They are brighter and
/// darker than pictures are, so that a few updates tell one from the other.
pub struct Bright;

impl Bright {
    fn picture(indices: &[u32], device: &Device, is_bright: impl Fn(u32) -> bool) -> Tensor<4> {
        let rows = indices.iter().map(|&k| {
            let stream = Stream::new(6, Purpose::Data, u32::from(is_bright(k)), k);
            let noise = normal([1, 3, 8, 8], [stream], device) * 0.2;
            noise + if is_bright(k) { 4.0 } else { -4.0 }
        });
        Tensor::cat(rows.collect(), 0)
    }

    fn prompts(indices: &[u32]) -> Vec<String> {
        let of = |k: &u32| if k.is_multiple_of(2) { "a red dog" } else { "blue" };
        indices.iter().map(|k| of(k).to_owned()).collect()
    }
}

impl PreferredData for Bright {
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        (Self::picture(indices, device, |_| true), Self::prompts(indices))
    }
}

impl PairData for Bright {
    fn pairs(&self, indices: &[u32], device: &Device) -> Pairs {
        let picture = |is_bright: bool| Self::picture(indices, device, |_| is_bright);
        let (preferred, rejected) = (picture(true), picture(false));
        Pairs { preferred, rejected, prompts: Self::prompts(indices) }
    }
}

impl LabelData for Bright {
    fn labelled(&self, indices: &[u32], device: &Device) -> Labelled {
        // A bright dog is liked, a dark blue something is not.
        let is_bright = |k: u32| k.is_multiple_of(2);
        let desirable = indices.iter().map(|k| is_bright(*k)).collect();
        let images = Self::picture(indices, device, is_bright);
        Labelled { images, prompts: Self::prompts(indices), desirable }
    }
}

/// Every method, small.
pub fn methods() -> Vec<MethodSettings> {
    vec![
        method().into(),
        FineTuningSettings { batch: 8, ..FineTuningSettings::default() }.into(),
        DiffusionDpoSettings { batch: 8, ..DiffusionDpoSettings::default() }.into(),
        DiffusionKtoSettings { batch: 8, ..DiffusionKtoSettings::default() }.into(),
        DraftSettings { trajectories: 4, last_steps: 2 }.into(),
        DraftLvSettings { trajectories: 4, noises: 2 }.into(),
        AlignPropSettings { trajectories: 4, eta: 1.0, ..AlignPropSettings::default() }.into(),
        ReflSettings { trajectories: 4, preferred_batch: 4, ..ReflSettings::default() }.into(),
        DanceGrpoSettings { group_size: 4, updates_per_rollout: 2, ..Default::default() }.into(),
        FlowGrpoSettings { group_size: 4, ..Default::default() }.into(),
        MixGrpoSettings { group_size: 4, window: 2, ..Default::default() }.into(),
        RaftSettings { prompts: 4, candidates: 2, updates_per_round: 2, ..Default::default() }
            .into(),
        SpoSettings { trajectories: 4, candidates: 2, ..SpoSettings::default() }.into(),
        SrpoSettings::default().into(),
    ]
}

/// A LoRA that is the same for every prompt and step.
pub fn static_lora() -> NetworkSettings {
    NetworkSettings::StaticLora {
        rank: 2,
        frozen_blocks: 0,
        text_stream: TextStream::Frozen,
        targets: None,
    }
}

/// The weights themselves.
pub fn full() -> NetworkSettings {
    NetworkSettings::Full { targets: None }
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
    let prompts = ["a red dog", "a blue heart", "red heart", "blue"];
    Materials {
        base,
        reward: Some(Arc::new(Colour)),
        reward_decoder: None,
        sample_prompts: prompts.map(str::to_owned).to_vec(),
        held_out: None,
        attribution: None,
        prompts: Prompt::of(&prompts),
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
            frozen_blocks: 0,
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
    let prompts: Vec<Prompt> = materials.prompts.iter().cycle().take(ROWS).cloned().collect();
    let streams = (0..ROWS as u32).map(|row| Stream::new(99, Purpose::Start, 0, row));
    let scheduler = base.scheduler(STEPS).unwrap();
    let denoiser = base.guided(base.unconditional(), 2.0);
    let conditioning = base.encode_prompts(&Prompt::texts(&prompts)).unwrap();
    let sampler = Sampler::new(&denoiser, scheduler.as_ref(), &conditioning).with_adapter(source);
    let start = sampler.start(normal([1, 2, 4, 4], streams, &materials.device));
    let end = sampler.run(start, STEPS, None, &mut unobserved);
    let images = base.decode(end.sample).clamp(-1.0, 1.0);
    Colour.score(images, &prompts).into_data().iter::<f64>().collect()
}

/// Mean and standard error of the paired differences.
pub fn gain(after: &[f64], before: &[f64]) -> (f64, f64) {
    let gains: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
