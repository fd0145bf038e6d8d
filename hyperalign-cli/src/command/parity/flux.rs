//! Reference files of the FLUX transformer.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor};
use hyperalign_models::{
    flux::{FluxConfig, FluxInput, Position, pack},
    scope::Tap,
    weights,
};
use miette::{IntoDiagnostic, miette};

use super::{
    checks::{Checks, GRADIENT},
    golden::{Golden, Values},
};

/// `flux_*`: the packed latents, the prediction, every intermediate result, and gradients of the
/// inputs and weights.
pub(super) fn flux(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: FluxConfig = golden.config()?;
    let device = checks.device.clone();
    if golden.has("in.latent_to_pack") {
        let latents = golden.tensor("in.latent_to_pack", &device)?;
        checks.tensor("out.latent_packed", pack(latents));
    }

    let network = weights::load(config.init(&device), &golden.weights()?).into_diagnostic()?;
    let taps = RefCell::new(Vec::new());
    let output = network.forward_observed(inputs(golden, &device)?, None, &|path, tap| {
        let name = format!("tap.{path}");
        if golden.has(&name) {
            taps.borrow_mut().push((name, tap));
        }
    });
    for (name, tap) in taps.into_inner() {
        match tap {
            Tap::Vector(tensor) => checks.tensor(&name, tensor),
            Tap::Tokens(tensor) => checks.tensor(&name, tensor),
            Tap::Map(tensor) => checks.tensor(&name, tensor),
        }
    }
    let loss = mean_square(output.clone(), golden.tensor("in.target", &device)?);
    checks.tensor("out.mse_loss", loss);
    checks.tensor("out.sample", output);
    if !golden.has_gradients() {
        return Ok(());
    }

    let device = device.autodiff();
    let network = weights::load(config.init(&device), &golden.weights()?).into_diagnostic()?;
    let mut inputs = inputs(golden, &device)?;
    inputs.tokens = inputs.tokens.require_grad();
    inputs.context = inputs.context.require_grad();
    inputs.pooled = inputs.pooled.require_grad();
    let leaves = (inputs.tokens.clone(), inputs.context.clone(), inputs.pooled.clone());
    let output = network.forward(inputs, None);
    let gradients = mean_square(output, golden.tensor("in.target", &device)?).backward();
    if let Some(gradient) = leaves.0.grad(&gradients) {
        checks.tensor("grad.in.hidden_states", gradient);
    }
    if let Some(gradient) = leaves.1.grad(&gradients) {
        checks.tensor("grad.in.encoder_hidden_states", gradient);
    }
    if let Some(gradient) = leaves.2.grad(&gradients) {
        checks.tensor("grad.in.pooled_projections", gradient);
    }
    for (key, gradient) in weights::gradients(&network, &gradients) {
        let values = gradient.values.into_iter().map(f64::from).collect();
        let values = Values { shape: gradient.shape, values };
        checks.values(&format!("grad.w.{key}"), &values, GRADIENT);
    }
    Ok(())
}

pub(super) fn inputs(golden: &Golden, device: &Device) -> miette::Result<FluxInput> {
    let tokens = golden.tensor::<3>("in.hidden_states", device)?;
    let [batch, ..] = tokens.dims();
    // One number for the batch is as good as one for each row.
    let number = |name: &str| -> miette::Result<Tensor<1>> {
        Ok(golden.tensor::<1>(name, device)?.expand([batch]))
    };
    let guidance = golden.has("in.guidance").then(|| number("in.guidance"));
    Ok(FluxInput {
        tokens,
        timesteps: number("in.timestep")?,
        guidance: guidance.transpose()?,
        context: golden.tensor("in.encoder_hidden_states", device)?,
        pooled: golden.tensor("in.pooled_projections", device)?,
        text_positions: positions(golden, "in.txt_ids")?,
        image_positions: positions(golden, "in.img_ids")?,
    })
}

fn positions(golden: &Golden, name: &str) -> miette::Result<Vec<Position>> {
    let Values { shape, values } = golden.values(name)?;
    let (positions, rest) = values.as_chunks::<3>();
    match rest.is_empty() && shape.last() == Some(&3) {
        true => Ok(positions.to_vec()),
        false => Err(miette!("`{name}` has the shape {shape:?}; a position has 3 axes")),
    }
}

fn mean_square(output: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    (output - target).square().mean()
}
