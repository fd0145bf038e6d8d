//! Every layer takes an update.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Int, Tensor, TensorData},
};
use hyperalign_core::{
    contract::Denoiser,
    lora::LoraSet,
    testing::{self, distance},
};
use hyperalign_models::{
    base::Adaptable,
    lora::{Layers, Part},
    testing::{small_base, small_flux},
    weights::layers_of,
};

use super::{random, tensor};

/// Lays the updates of one row into the weights of a network.
struct Merge<'a> {
    lora: &'a LoraSet,
    path: Vec<String>,
    merged: usize,
}

fn merged<M: Module>(module: &M, lora: &LoraSet) -> M {
    let mut merge = Merge { lora, path: Vec::new(), merged: 0 };
    let module = module.clone().map(&mut merge);
    assert_eq!(merge.merged, lora.len(), "every update is for a weight");
    module
}

impl ModuleMapper for Merge<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        let variant = container.starts_with("Enum:");
        self.path.push(if variant { String::new() } else { name.to_owned() });
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path: Vec<&str> =
            self.path.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let path = path.join(".");
        let deltas = path.strip_suffix(".weight").map_or(&[][..], |path| self.lora.at(path));
        let [delta] = deltas else { return param };
        self.merged += 1;
        let change = delta.change();
        // `[d_input, d_output]` here as in a linear layer; a kernel is the other way round.
        let change = if D == 4 { change.swap_dims(1, 2) } else { change };
        param.map(|weight| weight.clone() + change.reshape(weight.dims()))
    }
}

/// The updates of `part`, all layers of it.
fn set(layers: &Layers, part: Part, seed: u64) -> LoraSet {
    let set = random(layers, &[part], 0.3, seed).set(layers, part, 1.0, &testing::device());
    let of_part = layers.all().iter().filter(|layer| layer.part == part).count();
    assert_eq!(set.len(), of_part);
    set
}

/// What `run` gives with the updates is what it gives with other weights; and each update by itself
/// changes something.
fn check<const D: usize>(
    lora: &LoraSet,
    unheard: &[&str],
    run: impl Fn(Option<&LoraSet>) -> Tensor<D>,
    of_merged: Tensor<D>,
) {
    let (bare, adapted) = (run(None), run(Some(lora)));
    let size: f32 = of_merged.clone().abs().max().into_scalar();
    assert!(distance(adapted.clone(), bare.clone()) > 0.01 * size);
    let apart = distance(adapted, of_merged);
    assert!(apart < 2e-4 * size.max(1.0), "{apart} of {size}");
    for (path, delta) in lora.iter() {
        let one = LoraSet::new([(path.to_owned(), delta.clone())]);
        let change = distance(run(Some(&one)), bare.clone());
        let is_heard = !unheard.iter().any(|end| path.ends_with(end));
        assert_eq!(change > 1e-7, is_heard, "{path}: {change}");
    }
}

#[test]
fn every_layer_of_stable_diffusion() {
    let device = testing::device();
    let base = small_base(1, &device);
    let layers = base.lora_layers().unwrap();
    let sample = tensor([2, 2, 4, 4], 1);
    let timesteps = Tensor::from_data(TensorData::from([40.0f32, 700.0]), &device);
    let context = tensor([2, 6, 8], 2);
    let lora = set(&layers, Part::Denoiser, 10);
    let run = |unet: &hyperalign_models::unet::Unet, lora: Option<&LoraSet>| {
        unet.forward(sample.clone(), timesteps.clone(), context.clone(), lora)
    };
    let expected = run(&merged(&base.unet, &lora), None);
    check(&lora, &[], |lora| run(&base.unet, lora), expected);

    let ids = Tensor::<2, Int>::from_data(TensorData::from([[1, 5, 4, 2, 2, 2]]), &device);
    let lora = set(&layers, Part::TextEncoder, 20);
    let of_merged = merged(&base.text_encoder, &lora).forward(ids.clone()).last_hidden_state;
    let run = |lora: Option<&LoraSet>| {
        base.text_encoder.forward_with(ids.clone(), lora).last_hidden_state
    };
    check(&lora, &[], run, of_merged);
}

#[test]
fn every_layer_of_flux() {
    let device = testing::device();
    let base = small_flux(true, &device);
    let layers = base.lora_layers().unwrap();
    let prompts = ["a red dog".to_owned(), "a heart".to_owned()];
    let conditioning = base.encode_prompts(&prompts).unwrap();
    let [channels, height, width] = base.latent_shape();
    let sample = tensor([2, channels, height, width], 3);
    let timesteps = Tensor::from_data(TensorData::from([0.9f32, 0.2]), &device);
    let lora = set(&layers, Part::Denoiser, 30);
    let run = |base: &hyperalign_models::pipeline::Flux, lora: Option<&LoraSet>| {
        base.predict(sample.clone(), timesteps.clone(), &conditioning, lora)
    };
    let mut other = small_flux(true, &device);
    other.transformer = merged(&base.transformer, &lora);
    check(&lora, &[], |lora| run(&base, lora), run(&other, None));

    let ids = Tensor::<2, Int>::from_data(TensorData::from([[3, 5, 4, 1, 0, 0]]), &device);
    let lora = set(&layers, Part::TextEncoder2, 40);
    let of_merged = merged(&base.text_encoder_2, &lora).forward(ids.clone(), None);
    let run = |lora: Option<&LoraSet>| base.text_encoder_2.forward_with(ids.clone(), None, lora);
    check(&lora, &[], run, of_merged);
}

#[test]
fn layers_are_linear_layers_and_convolutions_and_nothing_else() {
    let base = small_base(1, &testing::device());
    let layers = layers_of(&base.text_encoder);
    assert!(layers.iter().all(|layer| layer.name.contains(".layers.0.")), "{layers:?}");
    assert_eq!(layers.len(), 6);
    let convolutions = layers_of(&base.unet).iter().filter(|layer| layer.shape.len() == 4).count();
    assert!(convolutions > 10);
}
