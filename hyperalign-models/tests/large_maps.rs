//! Blocks of frozen networks whose feature maps are too large to keep: they are computed again in
//! the backward pass, and nothing else may change.

use burn::{
    module::Module,
    tensor::{Device, Gradients, Tensor},
};
use hyperalign_core::{
    lora::{LoraDelta, LoraSet, LoraTarget},
    noise::{Purpose, Stream, normal},
    testing,
};
use hyperalign_models::{
    flux::{FluxConfig, FluxInput, FluxTransformer, image_positions, text_positions},
    testing::shaken,
    unet::{BlockKind, PerBlock, Unet, UnetConfig},
    vae::AutoencoderKlConfig,
    weights::{Key, layers_of, reinit},
};

fn noise<const D: usize>(shape: [usize; D], index: u32) -> Tensor<D> {
    let mut row = shape;
    row[0] = 1;
    let rows = (0..shape[0]).map(|row| Stream::new(9, Purpose::Start, index, row as u32));
    normal(row, rows, &testing::cpu())
}

/// The network on the plain device, and with weights that ask for gradients: the latter keeps
/// everything.
fn frozen_and_trained<M: Module>(init: impl Fn(&Device) -> M, deviation: f64) -> [M; 2] {
    let device = testing::cpu();
    [device.clone(), device.autodiff()].map(|device| shaken(reinit(init(&device), 3), deviation))
}

fn assert_same<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    let scale: f32 = expected.clone().abs().max().into_scalar();
    let difference: f32 = (found - expected).abs().max().into_scalar();
    assert!(scale > 0.0 && difference <= tolerance * scale, "{difference} of {scale}");
}

/// An update of two factors, or of all four, whose factors ask for gradients.
fn lora(targets: Vec<LoraTarget>, aux: bool) -> LoraSet {
    let leaf = |tensor: Tensor<3>| tensor.autodiff().require_grad();
    let shared = |tensor: Tensor<2>| tensor.autodiff().require_grad();
    LoraSet::new((0..).zip(targets).map(|(k, target)| {
        let (input, output) = if aux { (3, 3) } else { (target.d_input, target.d_output) };
        let delta = LoraDelta {
            down_aux: aux.then(|| shared(noise([target.d_input, 3], 4 * k))),
            down: leaf(noise([1, input, 2], 4 * k + 1)),
            up: Some(leaf(noise([1, 2, output], 4 * k + 2))),
            up_aux: aux.then(|| shared(noise([3, target.d_output], 4 * k + 3))),
            scale: 0.01,
        };
        (target.path, delta)
    }))
}

/// All layers of the blocks, convolutions too.
fn layers(network: &impl Module, block: &str) -> Vec<LoraTarget> {
    let own = layers_of(network).into_iter().filter(|layer| layer.name.contains(block));
    let target = |layer: Key| LoraTarget {
        path: layer.name,
        d_input: layer.shape[1..].iter().product(),
        d_output: layer.shape[0],
    };
    own.map(target).collect()
}

#[test]
fn an_update_has_the_same_gradient() {
    // 256 x 33 x 32 numbers, in 1056 tokens: more scores than a chunk of attention has, too.
    let config = UnetConfig {
        block_out_channels: vec![256, 32],
        down_block_types: vec![BlockKind::CrossAttnDown, BlockKind::Down],
        up_block_types: vec![BlockKind::Up, BlockKind::CrossAttnUp],
        layers_per_block: 1,
        norm_num_groups: 4,
        cross_attention_dim: 6,
        attention_head_dim: PerBlock::All(2),
        ..UnetConfig::default()
    };
    let [frozen, trained] = frozen_and_trained(|device| config.init(device), 0.02);
    let (sample, context) = (noise([1, 4, 33, 32], 1000), noise([1, 5, 6], 1001));
    let run = |unet: &Unet, lora: &LoraSet| {
        let timesteps = Tensor::from_data([300.0], &testing::cpu());
        unet.forward(sample.clone(), timesteps, context.clone(), Some(lora))
    };
    for aux in [false, true] {
        // Four factors in the attention only: all layers would take minutes.
        let targets = match aux {
            true => frozen.config().lora_targets(),
            false => layers(&frozen, "_block"),
        };
        let lora = lora(targets, aux);
        let (found, expected) = (run(&frozen, &lora), run(&trained, &lora));
        assert_same(found.clone().inner(), expected.clone().inner(), 1e-5);
        let gradient = |output: Tensor<4>| (output * noise([1, 4, 33, 32], 1002)).sum().backward();
        assert_same_gradients(&lora, &gradient(found), &gradient(expected));
    }
}

fn assert_same_gradients(lora: &LoraSet, found: &Gradients, expected: &Gradients) {
    for (_, delta) in lora.iter() {
        let of = |gradients: &Gradients, leaf: &Tensor<3>| leaf.grad(gradients).expect("read");
        for leaf in std::iter::once(&delta.down).chain(&delta.up) {
            assert_same(of(found, leaf), of(expected, leaf), 1e-3);
        }
        for leaf in [&delta.down_aux, &delta.up_aux].into_iter().flatten() {
            let of = |gradients: &Gradients| leaf.grad(gradients).expect("read");
            assert_same(of(found), of(expected), 1e-3);
        }
    }
}

#[test]
fn an_update_of_a_flow_has_the_same_gradient() {
    // 1024 image tokens and 5 of text, of 256 numbers each.
    let config = FluxConfig {
        in_channels: 8,
        num_layers: 1,
        num_single_layers: 1,
        attention_head_dim: 64,
        num_attention_heads: 4,
        joint_attention_dim: 6,
        pooled_projection_dim: 4,
        axes_dims_rope: [8, 28, 28],
        ..FluxConfig::default()
    };
    let [frozen, trained] = frozen_and_trained(|device| config.init(device), 0.02);
    let tokens = noise([1, 1024, 8], 1000);
    let run = |network: &FluxTransformer, lora: &LoraSet| {
        let input = FluxInput {
            tokens: tokens.clone(),
            timesteps: Tensor::from_data([0.3], &testing::cpu()),
            guidance: None,
            context: noise([1, 5, 6], 1001),
            pooled: noise([1, 4], 1003),
            text_positions: text_positions(5),
            image_positions: image_positions([64, 64]),
        };
        network.forward(input, Some(lora))
    };
    let lora = lora(layers(&frozen, "transformer_blocks"), true);
    let (found, expected) = (run(&frozen, &lora), run(&trained, &lora));
    assert_same(found.clone().inner(), expected.clone().inner(), 1e-5);
    let gradient = |output: Tensor<3>| (output * noise([1, 1024, 8], 1002)).sum().backward();
    assert_same_gradients(&lora, &gradient(found), &gradient(expected));
}

#[test]
fn latents_have_the_same_gradient() {
    let config = AutoencoderKlConfig {
        block_out_channels: vec![16, 32, 128],
        layers_per_block: 1,
        norm_num_groups: 2,
        latent_channels: 3,
        ..AutoencoderKlConfig::default()
    };
    let [frozen, trained] = frozen_and_trained(|device| config.init(device), 0.02);
    let latents = noise([1, 3, 48, 48], 0).autodiff().require_grad();
    let cotangent = noise([1, 3, 192, 192], 1);
    let gradient = |picture: Tensor<4>| {
        let gradients = (picture * cotangent.clone()).sum().backward();
        latents.grad(&gradients).expect("the decoder reads its latents")
    };
    let (found, expected) = (frozen.decode(latents.clone()), trained.decode(latents.clone()));
    assert_same(found.clone().inner(), expected.clone().inner(), 1e-5);
    assert_same(gradient(found), gradient(expected), 1e-4);
}
