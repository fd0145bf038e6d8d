//! Files that are damaged, or made to do harm: an error each, and never a panic.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::{collections::BTreeMap, path::Path};

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
};
use hyperalign_core::noise::{Purpose, Stream};
use hyperalign_core::testing;
use hyperalign_models::{
    blip::BlipConfig,
    clip::{ClipConfig, ClipTextConfig, ClipVisionConfig},
    flux::FluxConfig,
    t5::T5Config,
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{FileFloat, Folder, LoadError, Tensors, load, reinit, save, to_bytes},
};

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    second: Linear,
}

fn fresh() -> Net {
    let layer = |input, output| LinearConfig::new(input, output).init(&testing::device());
    Net { first: layer(3, 4), second: layer(4, 2) }
}

fn bytes() -> Vec<u8> {
    to_bytes(&reinit(fresh(), 1), FileFloat::F32, &BTreeMap::new()).unwrap()
}

/// Reads everything that a file has and fills a network from it.
fn read(path: &Path, bytes: &[u8]) -> Result<Net, LoadError> {
    std::fs::write(path, bytes).unwrap();
    let tensors = Tensors::open(path)?;
    for (key, _) in tensors.iter() {
        // An error of one tensor must not hide a panic of the next.
        let _ = (tensors.f32(key), tensors.i64(key));
    }
    load(fresh(), &tensors)
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let whole = bytes();
    read(&path, &whole).unwrap();
    for length in 0..whole.len() {
        let error = read(&path, &whole[..length]).unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "{length} bytes: {error}");
    }
}

/// A flipped bit in a value is another value; anywhere else it is an error or another name.
#[test]
fn flipped_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let whole = bytes();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut stream = Stream::new(7, Purpose::Data, 0, 0);
    let mut errors = 0;
    for _ in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..1 + stream.below(4) {
            let at = stream.below(header);
            bytes[at] = stream.below(256) as u8;
        }
        errors += usize::from(read(&path, &bytes).is_err());
    }
    assert!(errors > 300, "only {errors} of 400 damaged headers were noticed");
}

/// A file with this header and `data` bytes of values.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

#[test]
fn headers_made_to_do_harm_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let one = |shape: &str, offsets: &str| {
        format!(r#"{{"a": {{"dtype": "F32", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
    };
    let two = |first: &str, second: &str| {
        format!(
            r#"{{"a": {{"dtype": "F32", "shape": [2], "data_offsets": {first}}},
                "b": {{"dtype": "F32", "shape": [2], "data_offsets": {second}}}}}"#
        )
    };
    let max = u64::MAX;
    let cases = [
        ("beyond the end", one("[4]", "[0, 16]"), 8),
        ("backwards", one("[2]", "[8, 0]"), 8),
        ("overlapping", two("[0, 8]", "[4, 12]"), 12),
        ("with a hole", two("[0, 8]", "[12, 20]"), 20),
        ("a product that overflows", one("[4294967296, 4294967296, 16]", "[0, 8]"), 8),
        ("an offset that overflows", one("[2]", &format!("[0, {max}]")), 8),
        ("negative", one("[-2]", "[0, 8]"), 8),
        ("no shape", r#"{"a": {"dtype": "F32", "data_offsets": [0, 8]}}"#.to_owned(), 8),
        ("no such type", one("[2]", "[0, 8]").replace("F32", "F33"), 8),
        ("fewer bytes than numbers", one("[3]", "[0, 8]"), 8),
        ("more bytes than tensors", one("[2]", "[0, 8]"), 16),
        ("a list", "[]".to_owned(), 0),
        ("deeply nested", "[".repeat(100_000), 0),
        ("metadata that are no text", r#"{"__metadata__": {"a": 1}}"#.to_owned(), 0),
    ];
    for (what, header, data) in cases {
        let error = read(&path, &with_header(&header, data)).unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "{what}: {error}");
        assert!(error.to_string().contains("model.safetensors"), "{what}: {error}");
    }
    for length in [0, 1, 1 << 30, u64::MAX / 2, u64::MAX] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{}      ");
        let error = read(&path, &bytes).unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "a header of {length}: {error}");
    }
}

#[test]
fn formats_that_are_not_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for format in ["I64", "U8", "BOOL", "F8_E4M3"] {
        let header = r#"{"first.weight": {"dtype": "?", "shape": [0], "data_offsets": [0, 0]}}"#;
        std::fs::write(&path, with_header(&header.replace('?', format), 0)).unwrap();
        // In the words of the file, whatever we call it.
        let tensors = Tensors::open(&path).unwrap().below("first.");
        let message = tensors.f32("weight").unwrap_err().to_string();
        assert!(message.contains(format) && message.contains("`first.weight`"), "{message}");
    }
}

#[test]
fn pickles_are_refused_by_name_and_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let zip = b"PK\x03\x04and so on".to_vec();
    let pickle = b"\x80\x02}q\x00(X\x05\x00\x00\x00state".to_vec();
    let cases =
        [("a.ckpt", bytes()), ("b.PT", bytes()), ("c.safetensors", zip), ("d.safetensors", pickle)];
    for (name, bytes) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = Tensors::open(&path).unwrap_err();
        assert!(matches!(error, LoadError::Pickle { .. }), "{name}: {error}");
        assert!(error.to_string().contains(".safetensors"), "{error}");
    }
    // A folder that has nothing else.
    std::fs::create_dir(folder.path().join("unet")).unwrap();
    std::fs::write(folder.path().join("unet/diffusion_pytorch_model.bin"), "").unwrap();
    let error = Folder::disk(folder.path()).tensors("unet").unwrap_err();
    assert!(matches!(error, LoadError::Pickle { .. }), "{error}");
    let message = error.to_string();
    let target = "unet/diffusion_pytorch_model.safetensors\")";
    assert!(!message.contains("state_dict") && message.ends_with(target), "{message}");
}

#[test]
fn half_precision_is_read_where_there_is_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = Folder::disk(folder.path());
    let of = |name: &str| folder.path().join(name);
    std::fs::write(of("model.non_ema.safetensors"), bytes()).unwrap();
    let error = root.tensors("").unwrap_err();
    assert!(matches!(error, LoadError::NoWeights { .. }), "{error}");
    assert!(error.to_string().contains("; found was model.non_ema.safetensors;"), "{error}");

    let mut shard = "model.fp16-00001-of-00001.safetensors".to_owned();
    std::fs::write(of(&shard), bytes()).unwrap();
    let keys = ["first.weight", "first.bias", "second.weight", "second.bias"];
    let map: BTreeMap<&str, &str> = keys.map(|key| (key, shard.as_str())).into();
    let index = of("model.safetensors.index.fp16.json");
    std::fs::write(&index, serde_json::json!({"weight_map": map}).to_string()).unwrap();
    assert_eq!(root.tensors("").unwrap().name(), index.display().to_string());

    shard = "diffusion_pytorch_model.fp16.safetensors".to_owned();
    std::fs::write(of(&shard), bytes()).unwrap();
    assert_eq!(root.tensors("").unwrap().name(), of(&shard).display().to_string());
    assert!(load(fresh(), &root.tensors("").unwrap()).is_ok());

    std::fs::write(of("model.safetensors"), bytes()).unwrap();
    let whole = root.tensors("").unwrap();
    assert_eq!(whole.name(), of("model.safetensors").display().to_string());
}

#[test]
fn a_missing_shard_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let of = |part: u32| format!("model-0000{part}-of-00002.safetensors");
    let net = reinit(fresh(), 1);
    save(&net.first, &folder.path().join(of(1)), FileFloat::F32, &BTreeMap::new()).unwrap();
    let index = serde_json::json!({"weight_map": {"weight": of(1), "bias": of(1), "x": of(2)}});
    let path = folder.path().join("model.safetensors.index.json");
    std::fs::write(&path, index.to_string()).unwrap();
    let error = Folder::disk(folder.path()).tensors("").unwrap_err();
    assert!(matches!(error, LoadError::Io { .. }), "{error}");
    assert!(error.to_string().contains(&of(2)), "{error}");
    for index in ["", "[]", r#"{"weight_map": []}"#, r#"{"weight_map": {"x": "/etc/passwd"}}"#] {
        std::fs::write(&path, index).unwrap();
        let error = Folder::disk(folder.path()).tensors("").unwrap_err();
        assert!(error.to_string().contains("index.json"), "{error}");
    }
}

/// Nothing of the size that a config claims is allocated before the file is seen to agree.
#[test]
fn a_config_that_contradicts_the_weights_is_an_error() {
    let device = testing::device();
    let small = r#"{"sample_size": 4, "layers_per_block": 1, "block_out_channels": [4, 8],
        "norm_num_groups": 2, "cross_attention_dim": 8, "attention_head_dim": 2,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("unet")).unwrap();
    let config: UnetConfig = serde_json::from_str(small).unwrap();
    let weights = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    save(&config.init(&device), &weights, FileFloat::F32, &BTreeMap::new()).unwrap();
    let read = |config: &str| {
        std::fs::write(folder.path().join("unet/config.json"), config).unwrap();
        hyperalign_models::unet::Unet::from_folder(&Folder::disk(folder.path()), "unet", &device)
    };
    assert!(read(small).is_ok());
    for (this, that, part) in [
        ("[4, 8]", "[8, 8]", "conv_in.weight (expected [8, 4, 3, 3], found [4, 4, 3, 3])"),
        ("[4, 8]", "[4]", "down_block_types"),
        ("_per_block\": 1", "_per_block\": 2", "missing from the file"),
        ("_dim\": 8", "_dim\": 1000000000", "attn2.to_k"),
        ("_dim\": 8", "_dim\": -8", "config.json"),
        ("groups\": 2", "groups\": 3", "norm_num_groups"),
        ("head_dim\": 2", "head_dim\": 0", "config.json"),
        ("head_dim\": 2", "head_dim\": 3", "config.json"),
        ("\"sample_size\": 4", "\"sample_size\": 0", "sample_size is 0; it must be at least 1"),
        ("_dim\": 8", "_dim\": 18446744073709551615", "cross_attention_dim is 1844"),
        ("_per_block\": 1", "_per_block\": 0", "layers_per_block is 0"),
        ("_per_block\": 1", "_per_block\": 1000000000", "layers_per_block is 4000000002; at most"),
        ("\"sample_size\": 4", "\"transformer_layers_per_block\": 1000000000", "at most 1000"),
        (
            "[4, 8]",
            "[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]",
            "channels is 17; at most",
        ),
        ("\"sample_size\": 4", "\"class_embed_type\": \"timestep\"", "class_embed_type"),
    ] {
        let message = read(&small.replace(this, that)).unwrap_err().to_string();
        assert!(message.contains(part), "{that}: {message}");
    }
}

/// The error of a network of these sizes.
fn refused<T: serde::de::DeserializeOwned>(config: &str) -> String {
    match serde_json::from_str::<T>(config) {
        Ok(_) => panic!("{config} is taken"),
        Err(error) => error.to_string(),
    }
}

/// Each of these would divide by zero, or make blocks without end, before a file is looked at.
#[test]
fn sizes_that_no_network_has_are_refused_when_they_are_read() {
    for (config, part) in [
        (r#"{"block_out_channels": [4, 8], "norm_num_groups": 0}"#, "norm_num_groups is 0"),
        (r#"{"sample_size": 0}"#, "sample_size is 0"),
        (r#"{"layers_per_block": 1000000000}"#, "at most 1000 are read"),
    ] {
        let message = refused::<AutoencoderKlConfig>(config);
        assert!(message.contains(part), "{config}: {message}");
    }
    for (config, part) in [
        (r#"{"num_attention_heads": 0}"#, "num_attention_heads is 0; it must be at least 1"),
        (r#"{"num_attention_heads": 3}"#, "is 3, but hidden_size is 512; the heads must divide it"),
        (r#"{"num_attention_heads": 1000}"#, "num_attention_heads is 1000, but hidden_size is 512"),
        (r#"{"hidden_size": 3}"#, "num_attention_heads is 8, but hidden_size is 3"),
        (r#"{"num_hidden_layers": 100000000}"#, "is 100000000; at most 1000 are read"),
        (r#"{"layer_norm_eps": 0.0}"#, "layer_norm_eps is 0"),
    ] {
        let message = refused::<ClipTextConfig>(config);
        assert!(message.contains(part) && message.contains("text side"), "{config}: {message}");
    }
    for (config, part) in [
        (r#"{"num_attention_heads": 5}"#, "num_attention_heads is 5, but hidden_size is 768"),
        (r#"{"patch_size": 0}"#, "patch_size is 0"),
        (r#"{"image_size": 14}"#, "patch_size is 32; at most 14"),
    ] {
        let message = refused::<ClipVisionConfig>(config);
        assert!(message.contains(part) && message.contains("vision side"), "{config}: {message}");
    }
    for (vision, part) in [
        (r#""head_width": 0, "patch_size": 14"#, "vision_cfg.head_width is 0"),
        (r#""head_width": 100, "patch_size": 14"#, "vision_cfg.head_width is 100"),
        (r#""patch_size": 0"#, "patch_size is 0"),
    ] {
        let config = format!(
            r#"{{"embed_dim": 8, "vision_cfg": {{"image_size": 224, "layers": 1, "width": 128, {vision}}},
                "text_cfg": {{"context_length": 77, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1}}}}"#
        );
        let message = ClipConfig::from_json(&config).unwrap_err().to_string();
        assert!(message.contains(part), "{config}: {message}");
    }
    for (name, value, part) in [
        ("num_heads", "0", "num_heads is 0"),
        ("d_ff", "0", "d_ff is 0"),
        ("num_layers", "0", "num_layers is 0"),
        ("num_layers", "1000000000", "at most 1000"),
        ("relative_attention_num_buckets", "2", "must be at least 4"),
    ] {
        let message = refused::<T5Config>(&format!(r#"{{"{name}": {value}}}"#));
        assert!(message.contains(part), "{name} {value}: {message}");
    }
    for (name, value) in [("num_layers", "100000000"), ("num_single_layers", "1001")] {
        let message = refused::<FluxConfig>(&format!(r#"{{"{name}": {value}}}"#));
        assert_eq!(message, format!("{name} is {value}; at most 1000 are read"));
    }
    for vision in [r#"{"num_heads": 0}"#, r#"{"patch_size": 0}"#, r#"{"depth": 1000000000}"#] {
        refused::<BlipConfig>(&format!(r#"{{"vision": {vision}, "bert": {{}}}}"#));
    }
    for bert in [r#"{"num_attention_heads": 0}"#, r#"{"num_attention_heads": 7}"#] {
        refused::<BlipConfig>(&format!(r#"{{"vision": {{}}, "bert": {bert}}}"#));
    }
}
