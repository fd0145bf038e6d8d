//! Reference files of CLIP.

use hyperalign_models::clip::{ClipConfig, ClipModel, ClipTextConfig, ClipTextModel, normalize};
use miette::IntoDiagnostic;

use super::{checks::Checks, golden::Golden};

/// `clip_text_*`: the text encoder alone, as Stable Diffusion uses it.
pub(super) fn text(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: ClipTextConfig = golden.config()?;
    let model = ClipTextModel::from_tensors(&config, golden.weights()?, &checks.device)
        .into_diagnostic()?;
    let output = model.forward(golden.ids("in.input_ids", &checks.device)?);
    for (i, states) in output.hidden_states.into_iter().enumerate() {
        checks.tensor(&format!("out.hidden_states.{i}"), states);
    }
    checks.tensor("out.last_hidden_state", output.last_hidden_state);
    checks.tensor("out.pooler_output", output.pooled);
    Ok(())
}

/// `clip_hf_*`: both sides, in the layout of transformers.
pub(super) fn transformers(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let model = model(golden, checks)?;
    let ids = golden.ids::<2>("in.input_ids", &checks.device)?;
    let image = golden.tensor::<4>("in.image", &checks.device)?;
    checks.tensor("out.text_embeds", normalize(model.text_features(ids.clone())));
    checks.tensor("out.image_embeds", normalize(model.image_features(image.clone())));
    checks.tensor("out.logits_per_text", model.logits(image.clone(), ids.clone()).transpose());
    checks.tensor("out.logits_per_image", model.logits(image, ids));
    Ok(())
}

/// `clip_step_aware_*`: a network that reads a timestep for each picture, in the layout of SPO.
pub(super) fn step_aware(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let model = model(golden, checks)?;
    let ids = golden.ids::<2>("in.input_ids", &checks.device)?;
    let timesteps = golden.tensor::<1>("in.timesteps", &checks.device)?;
    let image = golden.tensor::<4>("in.image", &checks.device)?;
    let features = model.image_features_at(image.clone(), timesteps.clone());
    checks.tensor("out.image_features", features);
    let score = model.score_at(image, timesteps.clone(), ids.clone());
    checks.tensor("out.score", score.clone());
    checks.tensor("out.scaled", score * model.logit_scale());

    let image = golden.tensor::<4>("in.image", &checks.device.clone().autodiff())?.require_grad();
    let gradients = model.score_at(image.clone(), timesteps, ids).sum().backward();
    if let Some(gradient) = image.grad(&gradients) {
        checks.tensor("grad.in.image", gradient);
    }
    Ok(())
}

/// `open_clip_*`: both sides, in the layout of open_clip, and the gradient of the summed scores.
pub(super) fn open_clip(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let model = model(golden, checks)?;
    let ids = golden.ids::<2>("in.input_ids", &checks.device)?;
    let image = golden.tensor::<4>("in.image", &checks.device)?;
    let text = model.text_features(ids.clone());
    checks.tensor("out.text_features_norm", normalize(text.clone()));
    checks.tensor("out.text_features", text);
    let features = model.image_features(image.clone());
    checks.tensor("out.image_features_norm", normalize(features.clone()));
    checks.tensor("out.image_features", features);
    let score = model.score(image, ids.clone());
    checks.tensor("out.score", score.clone());
    checks.tensor("out.pickscore_style", score * model.logit_scale());

    if !golden.has_gradients() {
        return Ok(());
    }
    let image = golden.tensor::<4>("in.image", &checks.device.clone().autodiff())?.require_grad();
    let gradients = model.score(image.clone(), ids).sum().backward();
    if let Some(gradient) = image.grad(&gradients) {
        checks.tensor("grad.in.image", gradient);
    }
    Ok(())
}

fn model(golden: &Golden, checks: &Checks) -> miette::Result<ClipModel> {
    let config = ClipConfig::from_json(&golden.json().to_string()).into_diagnostic()?;
    ClipModel::from_tensors(&config, golden.weights()?, &checks.device).into_diagnostic()
}
