//! Reference files of ImageReward.

use burn::tensor::{Device, Tensor};
use hyperalign_models::blip::{BlipConfig, BlipReward};
use miette::IntoDiagnostic;

use super::{checks::Checks, golden::Golden};

/// `blip_reward_*`: the networks, the head, and the gradient of the summed scores.
pub(super) fn reward(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: BlipConfig = golden.config()?;
    let model =
        BlipReward::from_tensors(&config, &golden.weights()?, &checks.device).into_diagnostic()?;
    let ids = golden.ids::<2>("in.input_ids", &checks.device)?;
    let mask = golden.ids::<2>("in.attention_mask", &checks.device)?;
    let image = |device: &Device| golden.tensor::<4>("in.image", device);

    let seen = model.blip().image(image(&checks.device)?);
    checks.tensor("out.image_embeds", seen.clone());
    let states = model.blip().text(ids.clone(), mask.clone(), seen);
    checks.tensor("out.last_hidden_state", states.clone());
    let [raw, score] = model.head(states).map(|x: Tensor<1>| x.unsqueeze_dim::<2>(1));
    checks.tensor("out.reward_raw", raw);
    checks.tensor("out.reward", score);

    if !golden.has_gradients() {
        return Ok(());
    }
    let image = image(&checks.device.clone().autodiff())?.require_grad();
    let gradients = model.score(image.clone(), ids, mask).sum().backward();
    if let Some(gradient) = image.grad(&gradients) {
        checks.tensor("grad.in.image", gradient);
    }
    Ok(())
}
