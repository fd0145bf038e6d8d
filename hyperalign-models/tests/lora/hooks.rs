//! Every layer takes an update.

use burn::tensor::{Int, Tensor, TensorData};
use hyperalign_core::{
    contract::Denoiser,
    lora::LoraSet,
    testing::{self, distance},
};
use hyperalign_models::{
    base::Adaptable,
    lora::{Layers, Part, merged},
    testing::{small_base, small_flux},
    weights::layers_of,
};

use super::{random, tensor};

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
    let expected = run(&merged(base.unet.clone(), &lora), None);
    check(&lora, &[], |lora| run(&base.unet, lora), expected);

    let ids = Tensor::<2, Int>::from_data(TensorData::from([[1, 5, 4, 2, 2, 2]]), &device);
    let lora = set(&layers, Part::TextEncoder, 20);
    let of_merged = merged(base.text_encoder.clone(), &lora).forward(ids.clone()).last_hidden_state;
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
    other.transformer = merged(base.transformer.clone(), &lora);
    check(&lora, &[], |lora| run(&base, lora), run(&other, None));

    let ids = Tensor::<2, Int>::from_data(TensorData::from([[3, 5, 4, 1, 0, 0]]), &device);
    let lora = set(&layers, Part::TextEncoder2, 40);
    let of_merged = merged(base.text_encoder_2.clone(), &lora).forward(ids.clone(), None);
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
