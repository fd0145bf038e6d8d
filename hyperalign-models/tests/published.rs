//! Published layouts: where every value lies, and that it arrives.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::{collections::BTreeMap, path::Path};

use hyperalign_core::testing;
use hyperalign_models::{
    base::Identity,
    clip::ClipTextConfig,
    flux::FluxConfig,
    mask2former,
    pipeline::{Beside, Formats, PipelineError, Sizes, StableDiffusion},
    testing::{File, checkpoint, mmdet_file, published_file, small_detector, write_file as write},
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{
        FileFloat, Key, LoadError, Tensors, hash, keys,
        published::{self, MmdetNames, Order, Source, parts},
        reinit, to_bytes,
    },
};
use sha2::{Digest, Sha256};

/// A line for each key: ours, theirs, the first row, the number of rows, whether halves are
/// swapped. The constants are hashes of the same lines made from the conversions of diffusers.
fn fingerprint(ours: &[Key], rule: impl Fn(&Key) -> Source) -> String {
    let parts = parts(ours, rule).into_iter();
    let mut lines: Vec<String> = parts
        .map(|(name, part)| {
            let (source, first, rows) = (part.source, part.first_row, part.shape[0]);
            let swapped = part.order == Order::SwappedHalves;
            format!("{name} {source} {first} {rows} {swapped}\n")
        })
        .collect();
    lines.sort();
    let digest = Sha256::digest(lines.concat());
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_value_of_the_published_files_lies_where_diffusers_finds_it() {
    let device = testing::device();
    let unet = keys(&UnetConfig::sd15().init(&device));
    assert_eq!(fingerprint(&unet, published::unet(&unet)), "274160fcdb2a321b");
    let vae = keys(&AutoencoderKlConfig::sd15().init(&device));
    assert_eq!(fingerprint(&vae, published::vae(&vae)), "368349f1be95a519");
    let vae = keys(&AutoencoderKlConfig::flux1().init(&device));
    assert_eq!(fingerprint(&vae, published::vae(&vae)), "5a59973296675c5a");
    let flux = keys(&FluxConfig::dev().init(&device));
    assert_eq!(fingerprint(&flux, published::flux), "593076e53180bb22");
}

fn small_unet() -> UnetConfig {
    serde_json::from_str(
        r#"{"sample_size": 4, "layers_per_block": 2, "block_out_channels": [4, 8],
            "norm_num_groups": 2, "cross_attention_dim": 8, "attention_head_dim": 2,
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}"#,
    )
    .unwrap()
}

fn small_vae() -> AutoencoderKlConfig {
    AutoencoderKlConfig {
        sample_size: 8,
        block_out_channels: vec![4, 8],
        layers_per_block: 2,
        norm_num_groups: 2,
        ..AutoencoderKlConfig::default()
    }
}

fn small_text() -> ClipTextConfig {
    ClipTextConfig {
        vocab_size: 8,
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 6,
        eos_token_id: 2,
        ..ClipTextConfig::default()
    }
}

#[test]
fn autoencoders_arrive_from_all_three_layouts() {
    let device = testing::device();
    let folder = tempfile::tempdir().unwrap();
    let vae = reinit(small_vae().init(&device), 3);
    let ours = keys(&vae);
    let path = folder.path().join("ae.safetensors");
    for file in [
        published_file(&vae, |key| Source::named(&key.name), ""),
        published_file(&vae, published::old_attention, ""),
        published_file(&vae, published::vae(&ours), ""),
    ] {
        write(&path, &file);
        let read = small_vae().init(&device).load(&Tensors::open(&path).unwrap()).unwrap();
        assert_eq!(hash(&read), hash(&vae));
    }
}

#[test]
fn flux_arrives_from_the_file_of_its_authors() {
    let device = testing::device();
    let config: FluxConfig = serde_json::from_str(
        r#"{"in_channels": 4, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 8,
            "num_attention_heads": 2, "joint_attention_dim": 6, "pooled_projection_dim": 5,
            "guidance_embeds": true, "axes_dims_rope": [2, 2, 4]}"#,
    )
    .unwrap();
    let flux = reinit(config.init(&device), 5);
    let mut file = published_file(&flux, published::flux, "");
    // The last modulation begins at zero, which would hide a wrong half.
    let (_, values) = file.get_mut("final_layer.adaLN_modulation.1.bias").unwrap();
    values.iter_mut().enumerate().for_each(|(i, value)| *value = i as f32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flux.safetensors");
    write(&path, &file);
    let tensors = Tensors::open(&path).unwrap();
    let read = config.init(&device).load(&tensors).unwrap();
    let again = published_file(&read, published::flux, "");
    assert!(again == file, "the file does not come back");
    let bytes = to_bytes(&read, FileFloat::F32, &BTreeMap::new()).unwrap();
    let ours = Tensors::embedded("ours", bytes.leak()).unwrap().f32("norm_out.linear.bias");
    assert_eq!(ours.unwrap()[0], 16.0, "scale comes before shift");

    // An error speaks the language of the file.
    file.remove("double_blocks.1.img_attn.qkv.bias").unwrap();
    write(&path, &file);
    let error = config.init(&device).load(&Tensors::open(&path).unwrap()).unwrap_err();
    let LoadError::Keys { mismatch, .. } = &error else { panic!("another error: {error}") };
    assert_eq!(mismatch.missing[0].0, "double_blocks.1.img_attn.qkv.bias");
}

#[test]
fn detectors_arrive_from_mmdetections_checkpoints() {
    let device = testing::device();
    let labels = ["person", "dog", "car"];
    let config = small_detector(&labels);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("detector.pth");
    let mut hashes = Vec::new();
    for names in [MmdetNames::Numbered, MmdetNames::Named] {
        let file = mmdet_file(&labels, 1, names);
        std::fs::write(&path, checkpoint(&file)).unwrap();
        let tensors = Tensors::open_pytorch(&path).unwrap();
        assert_eq!(MmdetNames::of(&tensors), Some(names));
        // Five lists of places in windows, one for each block.
        assert_eq!(mask2former::extras(&config, &tensors).len(), 5);
        let network = mask2former::load(&config, &tensors, &device).unwrap();
        let again = published_file(&network, |key| names.mask2former(key), "");
        assert!(again.iter().all(|(key, values)| file[key] == *values), "it does not come back");
        assert_eq!(again.len() + 5, file.len());
        hashes.push(hash(&network));
    }
    assert_eq!(hashes[0], hashes[1], "the same weights under other names");

    // An error speaks the language of the file, and no key is passed over.
    let mut file = mmdet_file(&labels, 1, MmdetNames::Numbered);
    let gone = "panoptic_head.transformer_decoder.layers.1.attentions.1.attn.in_proj_bias";
    file.remove(gone).unwrap();
    file.insert("panoptic_head.loss.weight".to_owned(), (vec![1], vec![0.0]));
    std::fs::write(&path, checkpoint(&file)).unwrap();
    let tensors = Tensors::open_pytorch(&path).unwrap();
    let error = mask2former::load(&config, &tensors, &device).unwrap_err();
    let LoadError::Keys { mismatch, .. } = &error else { panic!("another error: {error}") };
    assert_eq!(mismatch.missing[0].0, gone);
    assert_eq!(mismatch.unused[0].0, "panoptic_head.loss.weight");
}

/// A single file of small networks in `folder`, with what such files hold beside the model.
fn single_file(folder: &Path) -> (Sizes, File) {
    let device = testing::device();
    let sizes = Sizes { unet: small_unet(), vae: small_vae(), text_encoder: small_text() };
    let unet = reinit(sizes.unet.init(&device), 1);
    let vae = reinit(sizes.vae.init(&device), 2);
    let text = reinit(sizes.text_encoder.init(&device), 3);
    let (unet_keys, vae_keys) = (keys(&unet), keys(&vae));
    let mut file = published_file(&unet, published::unet(&unet_keys), "model.diffusion_model.");
    file.extend(published_file(&vae, published::vae(&vae_keys), "first_stage_model."));
    let same = |key: &Key| Source::named(&key.name);
    file.extend(published_file(&text, same, "cond_stage_model.transformer."));
    for extra in ["betas", "logvar", "model_ema.decay", "model_ema.diffusion_modelout0weight"] {
        file.insert(extra.to_owned(), (vec![2], vec![0.0; 2]));
    }
    let position_ids = "cond_stage_model.transformer.text_model.embeddings.position_ids";
    file.insert(position_ids.to_owned(), (vec![1, 6], vec![0.0; 6]));
    write(&folder.join("model.safetensors"), &file);
    // Two letters, their word ends, and the marks.
    let vocab = r#"{"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, "c": 5,
        "<|startoftext|>": 6, "<|endoftext|>": 7}"#;
    std::fs::create_dir(folder.join("tokenizer")).unwrap();
    std::fs::write(folder.join("tokenizer/vocab.json"), vocab).unwrap();
    std::fs::write(folder.join("tokenizer/merges.txt"), "a b</w>\n").unwrap();
    (sizes, file)
}

fn from_single_file(
    path: &Path,
    sizes: &Sizes,
    tokenizer: Option<&Path>,
) -> Result<StableDiffusion, PipelineError> {
    let formats = Formats::default();
    let beside = Beside { tokenizer, ..Beside::default() };
    StableDiffusion::from_single_file(path, sizes, beside, &formats, &testing::device())
}

#[test]
fn a_single_file_is_the_same_base_as_its_folder() {
    let device = testing::device();
    let folder = tempfile::tempdir().unwrap();
    let (sizes, _) = single_file(folder.path());
    let path = folder.path().join("model.safetensors");
    let base = from_single_file(&path, &sizes, None).unwrap();
    assert_eq!(hash(&base.unet), hash(&reinit(sizes.unet.init(&device), 1)));
    assert_eq!(hash(&base.vae), hash(&reinit(sizes.vae.init(&device), 2)));
    assert_eq!(hash(&base.text_encoder), hash(&reinit(sizes.text_encoder.init(&device), 3)));
    let extras = published::summary(Identity::passed_over(&base));
    let expected = "2 buffers of the schedule, 2 weights of model_ema.*, 1 list position_ids";
    assert_eq!(extras.unwrap(), expected);
    assert_eq!(base.tokenizer.pad(), 7);
    assert_eq!(base.tokenizer.context_length(), 6);
    base.save(&folder.path().join("diffusers"), FileFloat::F32).unwrap();
    let disk = hyperalign_models::weights::Folder::disk(folder.path().join("diffusers"));
    let again = StableDiffusion::from_folder(&disk, &device).unwrap();
    assert_eq!(again.hash(), base.hash());
}

/// What trainers and mergers make of such files.
#[test]
fn single_files_in_the_wild() {
    let device = testing::device();
    let folder = tempfile::tempdir().unwrap();
    let (sizes, whole) = single_file(folder.path());
    let path = folder.path().join("model.safetensors");
    let expected = from_single_file(&path, &sizes, None).unwrap().hash().to_owned();
    let mut file = whole.clone();
    for extra in [
        "cond_stage_model.logit_scale",
        "cond_stage_model.transformer.text_projection.weight",
        "first_stage_model.loss.logvar",
        "first_stage_model.loss.discriminator.main.0.weight",
        "embedding_manager.embedder.transformer.x",
        "denoiser.sigmas",
    ] {
        file.insert(extra.to_owned(), (vec![2], vec![0.0; 2]));
    }
    // The level that other versions of transformers leave out.
    let level = "cond_stage_model.transformer.text_model.";
    let file: File = file
        .into_iter()
        .map(|(key, value)| (key.replace(level, "cond_stage_model.transformer."), value))
        .collect();
    write(&path, &file);
    let base = from_single_file(&path, &sizes, None).unwrap();
    assert_eq!(base.hash(), expected);
    let told = published::summary(Identity::passed_over(&base)).unwrap();
    assert!(told.contains("6 tensors of trainers and mergers"), "{told}");

    // Without an autoencoder, and with one from elsewhere.
    let is_vae = |key: &str| key.starts_with("first_stage_model.");
    let (vae, rest): (File, File) = file.into_iter().partition(|(key, _)| is_vae(key));
    write(&path, &rest);
    let message = from_single_file(&path, &sizes, None).unwrap_err().to_string();
    assert!(message.contains("--vae"), "{message}");
    let elsewhere = folder.path().join("vae.safetensors");
    let bare = |key: String| key.trim_start_matches("first_stage_model.").to_owned();
    let with_vae = |at: &Path| {
        let beside = Beside { vae: Some(at), ..Beside::default() };
        let formats = Formats::default();
        StableDiffusion::from_single_file(&path, &sizes, beside, &formats, &device)
    };
    for named in [vae.clone(), vae.into_iter().map(|(key, value)| (bare(key), value)).collect()] {
        write(&elsewhere, &named);
        assert_eq!(with_vae(&elsewhere).unwrap().hash(), expected);
    }
    base.save(&folder.path().join("diffusers"), FileFloat::F32).unwrap();
    for at in ["diffusers", "diffusers/vae"] {
        assert_eq!(with_vae(&folder.path().join(at)).unwrap().hash(), expected, "{at}");
    }
    // A folder of that age has the text encoder without the level, too.
    let encoder = folder.path().join("diffusers/text_encoder/model.safetensors");
    let tensors = Tensors::open(&encoder).unwrap();
    let bare: File = tensors
        .iter()
        .map(|(key, shape)| {
            let values = (shape.to_vec(), tensors.f32(key).unwrap());
            (key.trim_start_matches("text_model.").to_owned(), values)
        })
        .collect();
    drop(tensors);
    write(&encoder, &bare);
    let disk = hyperalign_models::weights::Folder::disk(folder.path().join("diffusers"));
    assert_eq!(StableDiffusion::from_folder(&disk, &device).unwrap().hash(), expected);
}

#[test]
fn what_is_wrong_with_a_single_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (sizes, file) = single_file(folder.path());
    let path = folder.path().join("model.safetensors");
    let open = |path: &Path, tokenizer: Option<&Path>| {
        from_single_file(path, &sizes, tokenizer).unwrap_err()
    };
    let with = |change: &dyn Fn(&mut File)| {
        let mut file = file.clone();
        change(&mut file);
        write(&path, &file);
        open(&path, None).to_string()
    };
    let message = with(&|file| {
        file.insert("model.surprise".to_owned(), (vec![1], vec![0.0]));
    });
    assert!(message.contains("in the file but not in the network: model.surprise"), "{message}");
    // In the names of the file, and never alone.
    for (key, near) in [
        ("model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.input_blocks."),
        (
            "model.diffusion_model.output_blocks.2.1.conv.weight",
            "model.diffusion_model.output_blocks.",
        ),
        ("first_stage_model.decoder.conv_in.bias", "first_stage_model."),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "cond_stage_model."),
    ] {
        let message = with(&|file| {
            file.remove(key).unwrap();
        });
        let expected = format!("1 missing from the file: {key} (nearest key of the file: {near}");
        assert!(message.contains(&expected), "{message}");
    }
    let message = with(&|file| {
        let tensor = file.remove("model.diffusion_model.out.0.weight").unwrap();
        file.insert("model.difusion_model.out.0.weight".to_owned(), tensor);
    });
    let expected = "model.difusion_model.out.0.weight (nearest parameter: \
                    model.diffusion_model.out.0.weight)";
    assert!(message.contains(expected), "{message}");
    let message = with(&|file| {
        file.insert("first_stage_model.decoder.conv_in.bias2".to_owned(), (vec![1], vec![0.0]));
    });
    let expected = "bias2 (nearest parameter: first_stage_model.decoder.conv_in.bias)";
    assert!(message.contains(expected), "{message}");
    let message = with(&|file| {
        let (_, values) = file.get_mut("model.diffusion_model.input_blocks.0.0.weight").unwrap();
        values[0] = f32::NAN;
    });
    assert!(message.starts_with("`model.diffusion_model.input_blocks.0.0.weight` of"), "{message}");
    let message = with(&|file| file.retain(|key, _| key.starts_with("first_stage")));
    assert!(message.contains("tensors of no model"), "{message}");
    let message = with(&|file| {
        file.insert("conditioner.embedders.0.x".to_owned(), (vec![1], vec![0.0]));
    });
    assert!(message.contains("Stable Diffusion XL"), "{message}");
    let message = with(&|file| {
        let (shape, _) = file.get_mut("model.diffusion_model.out.2.weight").unwrap();
        shape.reverse();
    });
    assert!(message.contains("model.diffusion_model.out.2.weight (expected"), "{message}");

    write(&path, &file);
    let error = open(&path, Some(folder.path()));
    assert!(matches!(error, PipelineError::NoVocabulary { .. }), "{error}");
    assert!(error.to_string().contains("--tokenizer DIR"), "{error}");
    let pickle = folder.path().join("model.ckpt");
    std::fs::write(&pickle, b"PK\x03\x04").unwrap();
    let error = open(&pickle, None);
    assert!(matches!(error, PipelineError::Load(LoadError::Pickle { .. })), "{error}");
}
