//! Reference files of the U-Net, bare and with a low-rank update.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor, TensorData};
use hyperalign_core::lora::{LoraDelta, LoraSet, LoraTarget};
use hyperalign_models::{
    timestep_embedding::{Sinusoids, sinusoidal},
    unet::{Tap, UnetConfig},
    weights,
};
use miette::{IntoDiagnostic, miette};

use super::{
    checks::{Checks, GRADIENT},
    golden::{Golden, Values},
};

/// What the network is run on.
struct Inputs {
    sample: Tensor<4>,
    timesteps: Tensor<1>,
    context: Tensor<3>,
    target: Tensor<4>,
}

impl Inputs {
    fn read(golden: &Golden, device: &Device) -> miette::Result<Self> {
        let sample = golden.tensor::<4>("in.sample", device)?;
        let [batch, ..] = sample.dims();
        // One timestep for the batch is as good as one for each row.
        let timesteps = golden.tensor::<1>("in.timestep", device)?.expand([batch]);
        Ok(Self {
            sample,
            timesteps,
            context: golden.tensor("in.encoder_hidden_states", device)?,
            target: golden.tensor("in.target", device)?,
        })
    }
}

fn mean_square(output: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    (output - target).square().mean()
}

/// `unet_*`: the output, every intermediate result, and gradients of the inputs and weights.
pub(super) fn unet(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: UnetConfig = golden.config()?;
    let device = checks.device.clone();
    let network = weights::load(config.init(&device), &golden.weights()?).into_diagnostic()?;
    let inputs = Inputs::read(golden, &device)?;
    let Inputs { sample, timesteps, context, target } = inputs;
    let taps = RefCell::new(Vec::new());
    let output = network.forward_observed(sample, timesteps, context, None, &|path, tap| {
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
    checks.tensor("out.mse_loss", mean_square(output.clone(), target));
    checks.tensor("out.sample", output);
    if !golden.has_gradients() {
        return Ok(());
    }

    let device = device.autodiff();
    let network = weights::load(config.init(&device), &golden.weights()?).into_diagnostic()?;
    let Inputs { sample, timesteps, context, target } = Inputs::read(golden, &device)?;
    let (sample, context) = (sample.require_grad(), context.require_grad());
    let output = network.forward(sample.clone(), timesteps, context.clone(), None);
    let gradients = mean_square(output, target).backward();
    if let Some(gradient) = sample.grad(&gradients) {
        checks.tensor("grad.in.sample", gradient);
    }
    if let Some(gradient) = context.grad(&gradients) {
        checks.tensor("grad.in.encoder_hidden_states", gradient);
    }
    for (key, gradient) in weights::gradients(&network, &gradients) {
        let values = gradient.values.into_iter().map(f64::from).collect();
        let values = Values { shape: gradient.shape, values };
        checks.values(&format!("grad.w.{key}"), &values, GRADIENT);
    }
    Ok(())
}

/// `unet_lora_*`: the network of the file beside it with an update of PEFT's layout, and the
/// update's gradients.
pub(super) fn lora(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let mut config = golden.json().clone();
    let lora = config
        .as_object_mut()
        .and_then(|config| config.remove("lora"))
        .ok_or_else(|| miette!("the config says nothing of `lora`"))?;
    let number = |name: &str| {
        lora[name].as_f64().ok_or_else(|| miette!("`lora.{name}` of the config is no number"))
    };
    let scale = number("alpha")? / number("r")?;
    let config: UnetConfig = serde_json::from_value(config).into_diagnostic()?;
    let device = checks.device.clone();
    let weights = golden.beside("unet")?.weights()?;
    let network = weights::load(config.init(&device), &weights).into_diagnostic()?;

    let autodiff = device.clone().autodiff();
    let mut factors = Vec::new();
    for target in config.lora_targets() {
        let name = |factor: &str| format!("lora.{}.lora_{factor}.weight", target.path);
        // The file may adapt some of the layers only.
        if golden.has(&name("A")) {
            let factor = |which: &str| golden.tensor::<2>(&name(which), &autodiff);
            let (a, b) = (factor("A")?.require_grad(), factor("B")?.require_grad());
            factors.push((target, a, b));
        }
    }
    let delta = |a: &Tensor<2>, b: &Tensor<2>| LoraDelta {
        down_aux: None,
        down: a.clone().transpose().unsqueeze(),
        up: Some(b.clone().transpose().unsqueeze()),
        up_aux: None,
        scale,
    };
    let set = LoraSet::new(factors.iter().map(|(target, a, b)| (target.path.clone(), delta(a, b))));

    let Inputs { sample, timesteps, context, target } = Inputs::read(golden, &device)?;
    let base = network.forward(sample.clone(), timesteps.clone(), context.clone(), None);
    checks.tensor("out.sample_base", base);
    let output = network.forward(sample, timesteps, context, Some(&set));
    checks.tensor("out.sample", output.clone().inner());
    let loss = mean_square(output, target);
    checks.tensor("out.mse_loss", loss.clone().inner());
    let gradients = loss.backward();
    for (target, a, b) in &factors {
        let LoraTarget { path, d_input, d_output } = target;
        for (which, factor) in [("A", a), ("B", b)] {
            if let Some(gradient) = factor.grad(&gradients) {
                checks.tensor(&format!("grad.lora.{path}.lora_{which}.weight"), gradient);
            }
        }
        let weight = weights.f32(&format!("{path}.weight")).into_diagnostic()?;
        let weight = TensorData::new(weight, [*d_output, *d_input]);
        let weight = Tensor::<2>::from_data(weight, &device);
        // The update of the identity is the update of the weight.
        let identity = Tensor::<2>::eye(*d_input, &device).unsqueeze();
        let update: Tensor<3> = delta(a, b).forward(identity).inner();
        let merged = weight + update.squeeze_dim::<2>(0).transpose();
        checks.tensor(&format!("out.merged.{path}.weight"), merged);
    }
    Ok(())
}

/// `timestep_embedding*`: the name of a result says its width and how it departs from the
/// sinusoids of Stable Diffusion, as in `ddpm_32_noflip_shift1`.
pub(super) fn timesteps(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    for result in checks.left() {
        let mut kind = Sinusoids::default();
        let mut width = None;
        for word in result.split(['.', '_']) {
            if let Ok(number) = word.parse::<usize>() {
                width = Some(number);
            } else if let Some(Ok(shift)) = word.strip_prefix("shift").map(str::parse) {
                kind.freq_shift = shift;
            } else if word == "noflip" {
                kind.flip_sin_to_cos = false;
            }
        }
        let width = width.ok_or_else(|| miette!("the name `{result}` says no width"))?;
        let timesteps = golden.tensor("in.t", &checks.device)?;
        checks.tensor(&result, sinusoidal(timesteps, width, kind));
    }
    Ok(())
}
