//! A reward that is shown the pictures of the small codec, on a base with the latents of Stable
//! Diffusion 1.x and all other sizes cut down.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::sync::{Arc, Mutex};

use burn::{module::Module, tensor::Tensor};
use hyperalign_core::contract::Decoder;
use hyperalign_core::testing;
use hyperalign_models::{
    base::Base,
    hypernet::{AdapterKind, AdapterMeta, HypernetConfig, Variant},
    testing::{shaken, small_sd1},
    tiny_codec::TinyDecoder,
    weights::{gradients, reinit},
};
use hyperalign_rewards::{Prompt, Reward};
use hyperalign_train::{
    data::TrainingData,
    learner::{Emitted, Objective, Shard},
    method::{HyperAlignSettings, Materials, Method, Setup, TrajectorySettings, Views},
};

/// The small codec, which keeps what it made.
struct Kept {
    codec: TinyDecoder,
    made: Mutex<Vec<Tensor<4>>>,
}

impl Decoder for Kept {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let picture = self.codec.decode(latents);
        self.made.lock().unwrap().push(picture.clone().inner());
        picture
    }
}

/// How bright a picture is; keeps what it was shown.
#[derive(Default)]
struct Bright {
    shown: Mutex<Vec<Tensor<4>>>,
}

impl Reward for Bright {
    fn name(&self) -> &str {
        "bright"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        self.shown.lock().unwrap().push(images.clone().inner());
        testing::Brightness.score(images, prompts)
    }
    fn differentiable(&self) -> bool {
        true
    }
}

#[test]
fn the_reward_is_shown_the_pictures_of_its_codec_and_has_gradients_through_it() {
    let device = testing::device();
    let base: Arc<dyn Base> = Arc::new(small_sd1(1, &device));
    assert!(base.autoencoder().is_some_and(TinyDecoder::fits));
    let codec = shaken(reinit(TinyDecoder::new(&device), 2), 0.05);
    let codec = Arc::new(Kept { codec, made: Mutex::default() });
    let reward = Arc::new(Bright::default());
    let config = HypernetConfig {
        rank: 2,
        a: 4,
        b: 4,
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    let meta = AdapterMeta::new("small", "", Variant::S, AdapterKind::Hypernet(config));
    let adapter = shaken(meta.init(1, &device.clone().autodiff()).unwrap(), 0.3);
    let mut materials = Materials {
        base,
        reward: Some(reward.clone()),
        reward_decoder: Some(codec.clone()),
        prompts: Prompt::of(&["a red dog"]),
        data: TrainingData::None,
        sample_prompts: Vec::new(),
        held_out: None,
        attribution: None,
        device,
    };
    let objective = |materials: &Materials| {
        let trajectory = TrajectorySettings { steps: 3, ..TrajectorySettings::default() };
        HyperAlignSettings {
            trajectories: 2,
            supervised_steps: 1,
            updates_per_rollout: Some(1),
            lambda: Some(0.0),
            views: Views { count: 0, ..Views::default() },
            min_signal: 0.0,
            max_signal: 1.0,
            ..HyperAlignSettings::default()
        }
        .objective(Setup {
            seed: 3,
            materials: materials.clone(),
            trajectory,
            threads: 1,
            micro_steps: 1,
        })
    };
    let shard = Shard { index: 0, count: 1 };
    let mut emitted = Emitted::default();
    let losses = |materials: &Materials, emitted: &mut Emitted| {
        let objective = objective(materials);
        let batch = objective.prepare(&adapter.valid(), 0);
        objective.losses(&adapter, &batch, 0, shard, emitted);
    };
    losses(&materials, &mut emitted);
    let [part] = emitted.parts.try_into().unwrap();
    let far = |a: &Tensor<4>, b: &Tensor<4>| -> f32 {
        (a.clone() - b.clone()).abs().max().into_scalar::<f32>()
    };
    let made = codec.made.lock().unwrap().remove(0).clamp(-1.0, 1.0);
    let shown = reward.shown.lock().unwrap().remove(0);
    assert_eq!(shown.dims(), [2, 3, 64, 64]);
    assert_eq!(far(&made, &shown), 0.0);
    let gradients = gradients(&adapter, &part.loss.backward());
    let largest = gradients.values().flat_map(|gradient| &gradient.values);
    let largest = largest.fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0 && largest.is_finite(), "{largest}");

    materials.reward_decoder = None;
    losses(&materials, &mut Emitted::default());
    let own = reward.shown.lock().unwrap().remove(0);
    assert!(far(&own, &shown) > 1e-3, "the base's own decoder makes the same picture");
    assert!(codec.made.lock().unwrap().is_empty());
}
