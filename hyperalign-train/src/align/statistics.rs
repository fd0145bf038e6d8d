//! What the hypernetwork's inputs are standardised by, measured before training.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::Conditioning,
    noise::{Purpose, Stream, normal},
    sampler::{Sampler, unobserved},
};
use hyperalign_models::base::BaseError;

use crate::method::{Materials, Setup};

/// Pictures that the statistics of features are measured on.
const SAMPLES: u32 = 96;
/// Pictures of one batch.
const CHUNK: usize = 32;

/// The perception encoder's features after `depth` of its blocks and the text states, to
/// standardise by: on the preferred pictures at random times, or on the base's own pictures of the
/// training prompts where there are none.
///
/// # Errors
///
/// Fails if the base does not know a prompt of the data.
///
/// # Shapes
///
/// - features: `[samples, feature_dim, height, width]`
/// - text states: `[samples, tokens, context_dim]`
pub(super) fn measure_statistics(
    setup: &Setup,
    depth: Option<usize>,
) -> Result<(Tensor<4>, Tensor<3>), BaseError> {
    let Setup { seed, materials: Materials { base, device, .. }, .. } = setup;
    let (mut features, mut contexts) = (Vec::new(), Vec::new());
    let indices: Vec<u32> = (0..SAMPLES).collect();
    for chunk in indices.chunks(CHUNK) {
        let (original, conditioning) = pictures(setup, chunk)?;
        let [_, channels, height, width] = original.dims();
        let stream = |purpose, &k: &u32| Stream::new(*seed, purpose, u32::MAX, k);
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

/// Latents of pictures, and what is said of them.
fn pictures(setup: &Setup, indices: &[u32]) -> Result<(Tensor<4>, Conditioning), BaseError> {
    let Setup { materials, trajectory, .. } = setup;
    let Materials { base, device, prompts, data, .. } = materials;
    if let Some(data) = data.pictures() {
        let (images, prompts) = data.batch(indices, device);
        let conditioning = base.encode_prompts(&prompts)?;
        return Ok((base.encode_images(images), conditioning));
    }
    let prompts = indices.iter().map(|&k| prompts[k as usize % prompts.len()].text.clone());
    let conditioning = base.encode_prompts(&prompts.collect::<Vec<String>>())?;
    let scheduler = base.scheduler(trajectory.steps)?;
    let denoiser = setup.guided();
    let sampler = Sampler::new(&denoiser, scheduler.as_ref(), &conditioning);
    // No update has this number.
    let noise = setup.start(u64::from(u32::MAX), indices.iter().map(|&k| k as usize));
    let start = sampler.start(noise);
    let end = sampler.run(start, scheduler.steps(), None, &mut unobserved);
    Ok((end.sample, conditioning))
}
