//! Reference files of a whole pipeline: prompt ids and noise to a picture.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::Conditioning,
    guidance::ClassifierFreeGuidance,
    image::to_images,
    sampler::{Sampler, Trajectory},
    schedule::{Scheduler, SchedulerConfig},
};
use hyperalign_models::{
    clip::{ClipTextConfig, ClipTextModel},
    unet::{UnetConfig, UnetDenoiser},
    vae::AutoencoderKlConfig,
    weights,
};
use miette::IntoDiagnostic;

use super::{
    checks::{Checks, FORWARD, SCHEDULE},
    golden::{Golden, Values},
};

#[derive(serde::Deserialize)]
struct Config {
    clip: ClipTextConfig,
    unet: UnetConfig,
    vae: AutoencoderKlConfig,
    /// The guidance scale.
    cfg: f64,
    steps: usize,
    /// Stable Diffusion's, where the file does not say.
    #[serde(default = "SchedulerConfig::stable_diffusion")]
    scheduler: SchedulerConfig,
}

/// `pipeline_sd_*`: the first row of the ids is the unconditional one; the weights are in the
/// files of the parts beside this one.
pub(super) fn stable_diffusion(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let Config { clip, unet, vae, cfg, steps, scheduler } = golden.config()?;
    let device = checks.device.clone();
    let part = |name| golden.beside(name)?.weights();
    let text_encoder =
        ClipTextModel::from_tensors(&clip, part("clip_text")?, &device).into_diagnostic()?;
    let unet = weights::load(unet.init(&device), &part("unet")?).into_diagnostic()?;
    let vae = vae.init(&device).load(&part("vae")?).into_diagnostic()?;

    let context = text_encoder.forward(golden.ids("in.input_ids", &device)?).last_hidden_state;
    checks.tensor("out.text_states", context.clone());
    let rows = Conditioning { context, pooled: None };
    let (unconditional, conditional) = (rows.slice(0..1), rows.slice(1..rows.batch()));

    let plan = scheduler.ddim(steps, 0.0).into_diagnostic()?;
    let timesteps: Vec<f64> = (0..plan.steps()).map(|i| plan.timestep(i)).collect();
    let timesteps = Values { shape: vec![timesteps.len()], values: timesteps };
    checks.values("out.timesteps", &timesteps, SCHEDULE);

    let network = UnetDenoiser { unet, prediction: scheduler.prediction_type };
    let guided = ClassifierFreeGuidance::new(&network, unconditional, cfg);
    let start = golden.tensor::<4>("in.x_T", &device)?;
    let mut trajectory = vec![start.clone()];
    let mut outputs = Vec::new();
    let sampler = Sampler::new(&guided, &plan, &conditional);
    let end = sampler.run(Trajectory::at(0, start), plan.steps(), None, &mut |state| {
        outputs.push(state.model_output.clone());
        trajectory.push(state.prev_sample.clone());
        ControlFlow::Continue(())
    });
    checks.tensor("out.noise_pred", Tensor::stack::<5>(outputs, 0));
    checks.tensor("out.trajectory", Tensor::stack::<5>(trajectory, 0));
    let image = vae.decode(end.sample);
    checks.tensor("out.image", image.clone());

    let [_, channels, height, width] = image.dims();
    let mut pixels = Vec::new();
    for picture in to_images(image.clone()) {
        for channel in 0..channels {
            pixels.extend(picture.pixels().map(|pixel| f64::from(pixel.0[channel])));
        }
    }
    let shape = vec![image.dims()[0], channels, height, width];
    checks.values("out.image_u8", &Values { shape, values: pixels }, FORWARD);
    Ok(())
}
