//! Reference files of the small codecs of Stable Diffusion's latent space.

use hyperalign_models::tiny_codec::{TinyDecoder, TinyEncoder};
use hyperalign_models::weights::Folder;
use miette::IntoDiagnostic;

use super::{checks::Checks, golden::Golden};

/// `real_sd_latent_codecs*`: a picture through the published VAElight, to latents and back. The
/// weights are beside the references, in `assets/vaelight`.
pub(super) fn codecs(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let device = checks.device.clone();
    let folder = Folder::disk(checks.asset("vaelight")?);
    let encoder = TinyEncoder::from_folder(&folder, &device).into_diagnostic()?;
    let decoder = TinyDecoder::from_folder(&folder, &device).into_diagnostic()?;
    checks.tensor("out.vaelight_latent", encoder.forward(golden.tensor("in.image", &device)?));
    // The reference's own latents, so that an error of the encoder does not count twice.
    let latents = golden.tensor("out.vaelight_latent", &device)?;
    for (level, picture) in decoder.levels(latents).into_iter().enumerate() {
        checks.tensor(&format!("out.vaelight_pyramid.{level}"), picture);
    }
    if golden.has("out.vae_approx_x2") {
        checks.left_out("out.vae_approx_x2", "by another network, whose weights are not at hand");
    }
    Ok(())
}
