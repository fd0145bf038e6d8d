//! What is written in one convention and read again is the same LoRA.

use hyperalign_core::testing;
use hyperalign_models::{
    base::Adaptable,
    lora::{Convention, Family, Float, Layers, LoraFile, Part},
    testing::{small_base, small_flux},
    weights::Tensors,
};

use super::random;

const ALL: [Part; 3] = [Part::Denoiser, Part::TextEncoder, Part::TextEncoder2];
const CONVENTIONS: [Convention; 3] = [Convention::Peft, Convention::Kohya, Convention::Bfl];

fn again(file: &LoraFile, layers: &Layers, convention: Convention) -> LoraFile {
    let bytes = file.to_bytes(layers, convention);
    let tensors = Tensors::held("written", bytes).unwrap();
    let again = LoraFile::read(None, &tensors, layers).unwrap();
    assert_eq!(again.conventions, [convention].into());
    again
}

#[test]
fn round_trips_are_exact() {
    let device = testing::device();
    for layers in [
        small_base(1, &device).lora_layers().unwrap(),
        small_flux(true, &device).lora_layers().unwrap(),
        small_flux(false, &device).lora_layers().unwrap(),
    ] {
        let mut file = random(&layers, &ALL, 1.0, 7);
        for float in [Float::F32, Float::F16, Float::Bf16] {
            for update in file.updates.values_mut() {
                for factor in [&mut update.down, &mut update.up] {
                    let rounded = factor.values.iter().map(|value| match float {
                        Float::F32 => *value,
                        Float::F16 => half::f16::from_f32(*value).to_f32(),
                        Float::Bf16 => half::bf16::from_f32(*value).to_f32(),
                    });
                    factor.values = rounded.collect();
                    factor.float = float;
                }
            }
            let mut last = file.clone();
            for convention in CONVENTIONS.into_iter().chain([Convention::Peft]) {
                last = again(&last, &layers, convention);
                assert!(last.updates == file.updates, "{float:?} {convention}");
            }
        }
    }
}

/// A LoRA of queries alone is part of a module of three layers in the authors' layout.
#[test]
fn parts_of_fused_modules() {
    let layers = small_flux(true, &testing::device()).lora_layers().unwrap();
    let mut file = random(&layers, &[Part::Denoiser], 1.0, 9);
    file.updates.retain(|layer, _| layers.all()[*layer].path.ends_with("to_k"));
    assert!(!file.updates.is_empty());
    for convention in CONVENTIONS {
        let again = again(&file, &layers, convention);
        assert!(again.updates == file.updates, "{convention}");
    }
    // Scales that differ go into the values, and the product stays.
    let mut file = random(&layers, &[Part::Denoiser], 1.0, 9);
    for (layer, update) in &mut file.updates {
        update.alpha = if layers.all()[*layer].path.ends_with("to_k") { 1.0 } else { 3.0 };
    }
    let again = again(&file, &layers, Convention::Kohya);
    for (layer, update) in &file.updates {
        let other = &again.updates[layer];
        let product = |update: &hyperalign_models::lora::Update| {
            let (down, up) = (&update.down, &update.up);
            (0..update.rank()).map(|k| up.values[k] * down.values[k * down.columns]).sum::<f32>()
                * update.scale() as f32
        };
        assert!((product(update) - product(other)).abs() < 1e-5);
    }
}

/// Names as they are in the wild, of the published sizes.
#[test]
fn names_of_the_published_models() {
    let device = testing::device();
    let keys = |family, convention| {
        let layers = Layers::published(family, &device);
        let wanted = |path: &str| {
            [
                "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
                "down_blocks.1.attentions.0.proj_in",
                "up_blocks.1.resnets.2.conv_shortcut",
                "down_blocks.0.downsamplers.0.conv",
                "mid_block.resnets.1.time_emb_proj",
                "text_model.encoder.layers.3.mlp.fc1",
                "encoder.block.5.layer.1.DenseReluDense.wi_0",
                "single_transformer_blocks.37.proj_mlp",
                "transformer_blocks.0.attn.add_k_proj",
                "transformer_blocks.18.ff_context.net.2",
                "norm_out.linear",
            ]
            .contains(&path)
        };
        // One number stands for a factor: the names do not depend on the values.
        let mut file = random(&layers, &[], 1.0, 1);
        for (i, layer) in layers.all().iter().enumerate().filter(|(_, l)| wanted(&l.path)) {
            let factor = |rows, columns| hyperalign_models::lora::Factor {
                rows,
                columns,
                values: vec![0.5; rows * columns],
                float: Float::F16,
            };
            let (down, up) = (factor(1, layer.d_input()), factor(layer.d_output(), 1));
            file.updates.insert(i, hyperalign_models::lora::Update { down, up, alpha: 1.0 });
        }
        let tensors = Tensors::held("written", file.to_bytes(&layers, convention)).unwrap();
        let mut names: Vec<String> = tensors
            .iter()
            .filter_map(|(key, shape)| Some(format!("{} {shape:?}", key.strip_suffix(".weight")?)))
            .filter(|key| key.contains("down ") || key.contains("lora_A"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        keys(Family::StableDiffusion1, Convention::Kohya),
        [
            "lora_te_text_model_encoder_layers_3_mlp_fc1.lora_down [1, 768]",
            "lora_unet_down_blocks_0_downsamplers_0_conv.lora_down [1, 320, 3, 3]",
            "lora_unet_down_blocks_1_attentions_0_proj_in.lora_down [1, 320, 1, 1]",
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down \
             [1, 640]",
            "lora_unet_mid_block_resnets_1_time_emb_proj.lora_down [1, 1280]",
            "lora_unet_up_blocks_1_resnets_2_conv_shortcut.lora_down [1, 1920, 1, 1]",
        ]
        .map(|name| name.replace("[1, 320, 1, 1]", "[1, 640, 1, 1]"))
    );
    assert_eq!(
        keys(Family::Flux1, Convention::Kohya),
        [
            "lora_te1_text_model_encoder_layers_3_mlp_fc1.lora_down [1, 768]",
            "lora_te3_encoder_block_5_layer_1_DenseReluDense_wi_0.lora_down [1, 4096]",
            "lora_unet_double_blocks_0_txt_attn_qkv.lora_down [1, 3072]",
            "lora_unet_double_blocks_18_txt_mlp_2.lora_down [1, 12288]",
            "lora_unet_final_layer_adaLN_modulation_1.lora_down [1, 3072]",
            "lora_unet_single_blocks_37_linear1.lora_down [1, 3072]",
        ]
    );
    assert_eq!(
        keys(Family::Flux1, Convention::Bfl)[0..3],
        [
            "diffusion_model.double_blocks.0.txt_attn.qkv.lora_A [1, 3072]",
            "diffusion_model.double_blocks.18.txt_mlp.2.lora_A [1, 12288]",
            "diffusion_model.final_layer.adaLN_modulation.1.lora_A [1, 3072]",
        ]
    );
    assert_eq!(
        keys(Family::StableDiffusion1, Convention::Bfl)[0],
        "diffusion_model.input_blocks.3.0.op.lora_A [1, 320, 3, 3]"
    );
}

/// Spellings of other programs and of other years name the same layers.
#[test]
fn names_in_the_wild() {
    let device = testing::device();
    let layers = small_base(1, &device).lora_layers().unwrap();
    let file = random(&layers, &[Part::Denoiser, Part::TextEncoder], 1.0, 11);
    let same = |into: Convention, rename: &dyn Fn(&str) -> String| {
        let written = Tensors::held("written", file.to_bytes(&layers, into)).unwrap();
        let renamed = written.rename(|key| Some(rename(key)));
        LoraFile::read(None, &renamed, &layers).unwrap().updates == file.updates
    };
    // PEFT by itself, with and without the name of the adapter; diffusers of 2023.
    assert!(same(Convention::Peft, &|key| {
        key.replace("unet.", "base_model.model.")
            .replace("text_encoder.", "base_model.model.")
            .replace(".weight", ".default.weight")
    }));
    assert!(same(Convention::Peft, &|key| key.replace("text_encoder.text_model.", "text_encoder.")));
    assert!(same(Convention::Peft, &|key| {
        let processors =
            ["to_q", "to_k", "to_v", "to_out.0"].iter().fold(key.to_owned(), |key, layer| {
                let short = layer.trim_end_matches(".0");
                key.replace(&format!(".{layer}.lora_A."), &format!(".processor.{short}_lora.down."))
                    .replace(&format!(".{layer}.lora_B."), &format!(".processor.{short}_lora.up."))
            });
        let clip = ["q", "k", "v", "out"].iter().fold(processors, |key, layer| {
            key.replace(&format!("{layer}_proj.lora_A."), &format!("to_{layer}_lora.down."))
                .replace(&format!("{layer}_proj.lora_B."), &format!("to_{layer}_lora.up."))
        });
        clip.replace("lora_A.", "lora.down.").replace("lora_B.", "lora.up.").replace("unet.", "")
    }));
    assert!(same(Convention::Kohya, &|key| key.replace("lora_te_", "lora_te1_")));
    assert!(same(Convention::Bfl, &|key| {
        let flat = |module: &str| format!("lora_unet_{}", module.replace('.', "_"));
        match key.strip_prefix("diffusion_model.").and_then(|key| key.split_once(".lora_")) {
            Some((module, role)) => format!("{}.lora_{role}", flat(module)),
            None => match key.strip_prefix("diffusion_model.") {
                Some(key) => format!("{}.alpha", flat(key.trim_end_matches(".alpha"))),
                None => key.to_owned(),
            },
        }
    }));
    let flux = small_flux(true, &device).lora_layers().unwrap();
    let file = random(&flux, &[Part::Denoiser, Part::TextEncoder2], 1.0, 12);
    let same = |into: Convention, rename: &dyn Fn(&str) -> String| {
        let written = Tensors::held("written", file.to_bytes(&flux, into)).unwrap();
        let renamed = written.rename(|key| Some(rename(key)));
        LoraFile::read(None, &renamed, &flux).unwrap().updates == file.updates
    };
    assert!(same(Convention::Kohya, &|key| key.replace("lora_te3_", "lora_te2_")));
    assert!(same(Convention::Bfl, &|key| {
        key.replace("diffusion_model.", "")
            .replace("lora_A", "lora_down")
            .replace("lora_B", "lora_up")
    }));
}
