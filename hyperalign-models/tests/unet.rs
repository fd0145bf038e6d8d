//! What holds for every U-Net, whatever its weights.

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor, TensorData, Tolerance},
};
use hyperalign_core::{
    lora::{LoraDelta, LoraSet, LoraTarget},
    noise::{Purpose, Stream, normal},
    testing,
};
use hyperalign_models::{
    unet::{BlockKind, PerBlock, Unet, UnetConfig},
    weights::{self, Tensors},
};

fn config() -> UnetConfig {
    UnetConfig {
        block_out_channels: vec![8, 16],
        down_block_types: vec![BlockKind::CrossAttnDown, BlockKind::Down],
        up_block_types: vec![BlockKind::Up, BlockKind::CrossAttnUp],
        layers_per_block: 1,
        norm_num_groups: 4,
        cross_attention_dim: 6,
        attention_head_dim: PerBlock::All(2),
        ..UnetConfig::default()
    }
}

/// Random everywhere: the layers that begin at zero would hide what comes before them.
fn unet(config: &UnetConfig, device: &Device) -> Unet {
    struct Noise(u32);
    impl burn::module::ModuleMapper for Noise {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            self.0 += 1;
            let index = self.0;
            param.map(|value| {
                let value = value.clone() + noise(value.dims(), index, &value.device()) * 0.2;
                if value.is_autodiff() { value.detach().require_grad() } else { value }
            })
        }
    }
    weights::reinit(config.init(device), 5).map(&mut Noise(0))
}

fn noise<const D: usize>(shape: [usize; D], index: u32, device: &Device) -> Tensor<D> {
    let rows = (0..shape[0]).map(|row| Stream::new(9, Purpose::Start, index, row as u32));
    let mut row = shape;
    row[0] = 1;
    normal(row, rows, device)
}

struct Input {
    sample: Tensor<4>,
    timesteps: Tensor<1>,
    context: Tensor<3>,
}

impl Input {
    fn new(batch: usize, device: &Device) -> Self {
        let timesteps: Vec<f32> = (0..batch).map(|row| 10.0 + 300.0 * row as f32).collect();
        Self {
            sample: noise([batch, 4, 8, 8], 1000, device),
            timesteps: Tensor::from_data(TensorData::new(timesteps, [batch]), device),
            context: noise([batch, 5, 6], 1001, device),
        }
    }

    fn run(&self, unet: &Unet, lora: Option<&LoraSet>) -> Tensor<4> {
        let Self { sample, timesteps, context } = self;
        unet.forward(sample.clone(), timesteps.clone(), context.clone(), lora)
    }

    fn row(&self, row: usize) -> Self {
        Self {
            sample: self.sample.clone().narrow(0, row, 1),
            timesteps: self.timesteps.clone().narrow(0, row, 1),
            context: self.context.clone().narrow(0, row, 1),
        }
    }
}

/// A low-rank update of `batch` rows for each of `targets`.
fn lora(targets: &[LoraTarget], batch: usize, device: &Device) -> LoraSet {
    LoraSet::new(targets.iter().enumerate().map(|(i, target)| {
        let delta = LoraDelta {
            down_aux: None,
            down: noise([batch, target.d_input, 2], 2000 + i as u32, device),
            up: Some(noise([batch, 2, target.d_output], 3000 + i as u32, device)),
            up_aux: None,
            scale: 0.3,
        };
        (target.path.clone(), delta)
    }))
}

fn assert_close<const D: usize>(a: Tensor<D>, b: Tensor<D>, tolerance: f32) {
    let tolerance = Tolerance::<f32>::absolute(tolerance);
    a.into_data().assert_approx_eq::<f32>(&b.into_data(), tolerance);
}

/// Adds the updates of a shared row to the weights that they adapt.
struct Merge<'a> {
    lora: &'a LoraSet,
    path: Vec<String>,
    merged: usize,
}

impl burn::module::ModuleMapper for Merge<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        let variant = container.starts_with("Enum:");
        self.path.push(if variant { String::new() } else { name.to_owned() });
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<D>>,
    ) -> burn::module::Param<Tensor<D>> {
        let path: Vec<&str> =
            self.path.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let path = path.join(".");
        let Some(delta) = path.strip_suffix(".weight").and_then(|path| self.lora.at(path).first())
        else {
            return param;
        };
        self.merged += 1;
        let update = delta.change();
        param.map(|weight| weight.clone() + update.reshape(weight.dims()))
    }
}

#[test]
fn an_update_of_activations_is_the_update_of_weights() {
    let device = testing::device();
    let unet = unet(&config(), &device);
    let targets = config().lora_targets();
    let lora = lora(&targets, 1, &device);
    let input = Input::new(2, &device);
    let mut merge = Merge { lora: &lora, path: Vec::new(), merged: 0 };
    let merged = unet.clone().map(&mut merge);
    assert_eq!(merge.merged, targets.len(), "every target is the path of a linear layer");
    let adapted = input.run(&unet, Some(&lora));
    let change = (adapted.clone() - input.run(&unet, None)).abs().max().into_scalar::<f32>();
    assert!(change > 0.1, "an update that changes nothing proves nothing: {change}");
    assert_close(adapted, input.run(&merged, None), 1e-4);
}

#[test]
fn every_target_matters_and_is_looked_up() {
    let device = testing::device();
    let unet = unet(&config(), &device);
    let input = Input::new(1, &device);
    let base = input.run(&unet, None);
    for target in config().lora_targets() {
        let lora = lora(std::slice::from_ref(&target), 1, &device);
        let change =
            (input.run(&unet, Some(&lora)) - base.clone()).abs().max().into_scalar::<f32>();
        assert!(change > 1e-5, "{} is not applied", target.path);
    }
}

#[test]
fn a_zero_update_is_the_base_bit_for_bit() {
    let device = testing::device();
    let unet = unet(&config(), &device);
    let input = Input::new(2, &device);
    let zero =
        LoraSet::new(lora(&config().lora_targets(), 2, &device).iter().map(|(path, delta)| {
            let up = delta.up.as_ref().map(Tensor::zeros_like);
            (path.to_owned(), LoraDelta { up, ..delta.clone() })
        }));
    let base = input.run(&unet, None).into_data();
    assert_eq!(base, input.run(&unet, Some(&zero)).into_data());
    assert_eq!(base, input.run(&unet, Some(&LoraSet::default())).into_data());
}

#[test]
fn a_row_does_not_see_its_batch() {
    let device = testing::device();
    let unet = unet(&config(), &device);
    let input = Input::new(4, &device);
    let lora = lora(&config().lora_targets(), 4, &device);
    let batch = input.run(&unet, Some(&lora));
    for row in 0..4 {
        let alone = input.row(row).run(&unet, Some(&lora.slice(row..row + 1)));
        assert_close(batch.clone().narrow(0, row, 1), alone, 1e-5);
    }
}

#[test]
fn an_odd_picture_keeps_its_size() {
    let device = testing::device();
    let unet = unet(&config(), &device);
    let input = Input { sample: noise([1, 4, 7, 5], 1000, &device), ..Input::new(1, &device) };
    assert_eq!(input.run(&unet, None).dims(), [1, 4, 7, 5]);
}

#[test]
fn a_fresh_network_predicts_zero() {
    let device = testing::device();
    let unet = weights::reinit(config().init(&device), 1);
    let output = Input::new(1, &device).run(&unet, None);
    assert_eq!(output.abs().max().into_scalar::<f32>(), 0.0);
}

#[test]
fn the_encoder_ends_after_any_block_or_the_middle() {
    let device = testing::device();
    let unet = unet(&config(), &device);
    let encode =
        |input: Input, depth| unet.encode(input.sample, input.timesteps, input.context, depth);
    let features: Vec<_> =
        (1..=unet.depths()).map(|depth| encode(Input::new(2, &device), depth)).collect();
    let dims: Vec<_> = features.iter().map(Tensor::dims).collect();
    assert_eq!(dims, [[2, 8, 4, 4], [2, 16, 4, 4], [2, 16, 4, 4]]);
    assert_ne!(features[1].to_data(), features[2].to_data());
    // The tape takes another way through attention and must arrive at the same place.
    for (depth, map) in (1..).zip(&features) {
        let on_tape = encode(Input::new(2, &device.clone().autodiff()), depth);
        assert_close(map.clone(), on_tape.inner(), 1e-5);
    }
    // The text is read on the way down already.
    let input = Input::new(2, &device);
    let other = Input { context: input.context.clone() * -1.0, ..input };
    let change = (encode(other, 1) - features[0].clone()).abs().max();
    assert!(change.into_scalar::<f32>() > 1e-3);
}

#[test]
fn gradients_reach_every_parameter() {
    let device = testing::device().autodiff();
    let unet = unet(&config(), &device);
    let gradients = Input::new(1, &device).run(&unet, None).square().mean().backward();
    let gradients = weights::gradients(&unet, &gradients);
    for key in weights::keys(&unet) {
        let gradient = gradients.get(&key.name).expect("every parameter is read");
        assert_eq!(gradient.shape, key.shape);
        assert!(gradient.values.iter().all(|value| value.is_finite()), "{}", key.name);
        assert!(gradient.values.iter().any(|value| *value != 0.0), "{}", key.name);
    }
}

#[test]
fn the_numbers_of_stable_diffusion() {
    let config = UnetConfig::sd15();
    let unet = config.init(&testing::device());
    let keys = weights::keys(&unet);
    assert_eq!((keys.len(), weights::parameters(&unet)), (686, 859_520_964));
    let shape = |name: &str| &keys.iter().find(|key| key.name == name).unwrap().shape;
    assert_eq!(shape("down_blocks.0.attentions.0.proj_in.weight"), &[320, 320, 1, 1]);
    let context = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    assert_eq!(shape(context), &[1280, 768]);
    let ff = "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj.weight";
    assert_eq!(shape(ff), &[2560, 320]);
    assert_eq!(shape("up_blocks.1.resnets.2.conv_shortcut.weight"), &[1280, 1920, 1, 1]);

    let targets = config.lora_targets();
    assert_eq!(targets.len(), 128);
    assert_eq!(targets[0].path, "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q");
    assert_eq!(targets[5].d_input, 768);
    for target in &targets {
        assert_eq!(shape(&format!("{}.weight", target.path)), &[target.d_output, target.d_input]);
    }
}

#[test]
fn linear_projections_are_the_same_function_in_another_shape() {
    let device = testing::device();
    let base = unet(&config(), &device);
    let bytes = weights::to_bytes(&base, weights::FileFloat::F32, &Default::default()).unwrap();
    let mut tensors = Tensors::embedded("base", bytes.leak()).unwrap();
    let linear = UnetConfig { use_linear_projection: true, ..config() };
    for key in weights::keys(&linear.init(&device)) {
        tensors = tensors.reshape(&key.name, key.shape);
    }
    let linear = weights::load(linear.init(&device), &tensors).unwrap();
    let input = Input::new(1, &device);
    assert_eq!(input.run(&base, None).into_data(), input.run(&linear, None).into_data());
}

#[test]
fn configurations_round_trip_and_name_what_is_not_implemented() {
    let text = serde_json::to_string(&config()).unwrap();
    assert_eq!(serde_json::from_str::<UnetConfig>(&text).unwrap(), config());
    let with = |setting: &str| {
        let text = text.replacen('{', &format!("{{{setting},"), 1);
        serde_json::from_str::<UnetConfig>(&text).map_err(|error| error.to_string())
    };
    assert_eq!(with(r#""dropout": 0, "class_embed_type": null"#), Ok(config()));
    let time = with(r#""resnet_time_scale_shift": "scale_shift""#).unwrap_err();
    assert!(time.contains("`resnet_time_scale_shift` is \"scale_shift\""), "{time}");
    let typo = with(r#""norm_esp": 1"#).unwrap_err();
    assert!(typo.contains("norm_esp"), "{typo}");
    let heads = text.replace(r#""attention_head_dim":2"#, r#""attention_head_dim":3"#);
    let heads = serde_json::from_str::<UnetConfig>(&heads).unwrap_err().to_string();
    assert!(heads.contains("number of heads (3"), "{heads}");
}

#[test]
fn linear_layers_are_read_transposed() {
    let device = testing::device();
    let linear = burn::nn::LinearConfig::new(2, 3).init(&device);
    let linear: Linear = weights::reinit(linear, 1);
    let bytes = weights::to_bytes(&linear, weights::FileFloat::F32, &Default::default()).unwrap();
    let file = Tensors::embedded("linear", bytes.leak()).unwrap();
    assert_eq!(file.shape("weight"), Some(&[3, 2][..]));
    let stored =
        Tensor::<2>::from_data(TensorData::new(file.f32("weight").unwrap(), [3, 2]), &device);
    assert_eq!(stored.transpose().into_data(), linear.weight.val().into_data());
}
