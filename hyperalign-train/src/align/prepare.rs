//! What a run is made of, and what is measured before it starts.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::Decoder,
    noise::{Purpose, Stream, normal},
};
use hyperalign_models::base::{Base, BaseError};
use hyperalign_rewards::Reward;

use crate::{
    data::PreferredData,
    method::{HyperAlign, HyperAlignSettings},
};

/// What a run is made of.
#[derive(Clone)]
pub struct Materials {
    /// The frozen base, on the plain device.
    pub base: Arc<dyn Base>,
    /// The reward to maximise.
    pub reward: Arc<dyn Reward>,
    /// What makes the pictures that the reward is shown, in place of the base's own decoder.
    pub reward_decoder: Option<Arc<dyn Decoder + Send + Sync>>,
    /// Prompts to learn from.
    pub prompts: Vec<String>,
    /// Preferred pictures.
    pub preferred: Arc<dyn PreferredData>,
    /// Prompts of the sample grids.
    pub sample_prompts: Vec<String>,
    /// Whom pictures of this base have to name, where the licence of its data asks for it.
    pub attribution: Option<&'static str>,
    /// The plain device.
    pub device: Device,
}

impl Materials {
    /// The objective of these settings on them.
    pub fn method(&self, settings: HyperAlignSettings, seed: u64) -> HyperAlign {
        HyperAlign {
            seed,
            base: self.base.clone(),
            reward: self.reward.clone(),
            reward_decoder: self.reward_decoder.clone(),
            prompts: self.prompts.clone(),
            preferred: self.preferred.clone(),
            settings,
            device: self.device.clone(),
        }
    }
}

/// Pictures that the statistics of features are measured on.
const SAMPLES: u32 = 96;
/// Of these at a time.
const CHUNK: usize = 32;

/// The perception encoder's features after `depth` of its blocks and the text states on noised data, to standardise by.
///
/// # Errors
///
/// Fails if the base does not know a prompt of the data.
///
/// # Shapes
///
/// - features: `[samples, feature_dim, height, width]`
/// - text states: `[samples, tokens, context_dim]`
pub fn measure_statistics(
    materials: &Materials,
    depth: Option<usize>,
    seed: u64,
) -> Result<(Tensor<4>, Tensor<3>), BaseError> {
    let Materials { base, preferred, device, .. } = materials;
    let (mut features, mut contexts) = (Vec::new(), Vec::new());
    let indices: Vec<u32> = (0..SAMPLES).collect();
    for chunk in indices.chunks(CHUNK) {
        let (images, prompts) = preferred.batch(chunk, device);
        let conditioning = base.encode_prompts(&prompts)?;
        let original = base.encode_images(images);
        let [_, channels, height, width] = original.dims();
        let stream = |purpose, &k: &u32| Stream::new(seed, purpose, u32::MAX, k);
        let noise = normal(
            [1, channels, height, width],
            chunk.iter().map(|k| stream(Purpose::Forward, k)),
            device,
        );
        let timesteps: Vec<f64> =
            chunk.iter().map(|k| base.draw_timestep(&mut stream(Purpose::Timestep, k))).collect();
        let sample = base.process().levels(&timesteps, device).mix(original, noise);
        let times: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        let times = Tensor::from_data(&times[..], device);
        features.push(base.features_at(depth, sample, times, &conditioning));
        contexts.push(conditioning.context);
    }
    Ok((Tensor::cat(features, 0), Tensor::cat(contexts, 0)))
}
