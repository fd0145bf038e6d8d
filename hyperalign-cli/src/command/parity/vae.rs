//! Reference files of the autoencoder.

use hyperalign_models::vae::AutoencoderKlConfig;
use miette::IntoDiagnostic;

use super::{checks::Checks, golden::Golden};

/// `vae_*`: the distribution of the latents, the decoded picture, and the gradient of its loss
/// with respect to the latents.
pub(super) fn vae(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: AutoencoderKlConfig = golden.config()?;
    let device = checks.device.clone();
    let network = config.init(&device).load(&golden.weights()?).into_diagnostic()?;
    let picture = golden.tensor("in.image", &device)?;
    checks.tensor("out.moments", network.moments(picture.clone()));
    let posterior = network.encode(picture);
    checks.tensor("out.mean", posterior.mean.clone());
    checks.tensor("out.logvar", posterior.logvar.clone());
    checks.tensor("out.std", posterior.std());
    let sample = posterior.sample(golden.tensor("in.noise", &device)?);
    checks.tensor("out.latent_sample", sample.clone());
    checks.tensor("out.latent_scaled", network.scale(sample));

    // From the latents of the file, so that the decoder is judged alone.
    if !golden.has_gradients() {
        checks.tensor("out.decoded", network.decode(golden.tensor("out.latent_scaled", &device)?));
        return Ok(());
    }
    let latents = golden.tensor::<4>("out.latent_scaled", &device.autodiff())?.require_grad();
    let decoded = network.decode(latents.clone());
    checks.tensor("out.decoded", decoded.clone().inner());
    let loss = decoded.clone().clamp(-1.0, 1.0).mean() + decoded.square().mean();
    checks.tensor("out.loss", loss.clone().inner());
    let gradients = loss.backward();
    if let Some(gradient) = latents.grad(&gradients) {
        checks.tensor("grad.in.latent_scaled", gradient);
    }
    Ok(())
}
