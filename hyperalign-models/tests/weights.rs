//! Files of weights: what is written is read, and what does not fit is named.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::{collections::BTreeMap, path::Path};

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, Linear, LinearConfig, conv::*},
};
use hyperalign_core::testing;
use hyperalign_models::weights::{
    self, FileFloat, Folder, Key, LoadError, SaveError, Tensors, hash, keys, load, reinit, save,
};

#[derive(Module, Debug)]
struct Net {
    embedding: Embedding,
    conv: Conv2d,
    norm: GroupNorm,
    layers: Vec<Linear>,
    choice: Choice,
}

#[derive(Module, Debug)]
enum Choice {
    Wide(Linear),
    #[allow(dead_code, reason = "the other variant only has to exist")]
    Narrow(Linear),
}

fn fresh() -> Net {
    let device = testing::device();
    Net {
        embedding: EmbeddingConfig::new(5, 4).init(&device),
        conv: Conv2dConfig::new([2, 3], [3, 3]).init(&device),
        norm: GroupNormConfig::new(2, 4).init(&device),
        layers: (0..2).map(|_| LinearConfig::new(40, 37).init(&device)).collect(),
        choice: Choice::Wide(LinearConfig::new(2, 3).with_bias(false).init(&device)),
    }
}

fn net() -> Net {
    reinit(fresh(), 7)
}

fn metadata() -> BTreeMap<String, String> {
    [("z", "1"), ("a", "2"), ("m", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn write(folder: &Path, name: &str, float: FileFloat) -> std::path::PathBuf {
    let path = folder.join(name);
    save(&net(), &path, float, &metadata()).unwrap();
    path
}

#[test]
fn keys_are_those_of_the_published_layout() {
    let key = |name: &str, shape: &[usize]| Key { name: name.to_owned(), shape: shape.to_vec() };
    let expected = [
        key("embedding.weight", &[5, 4]),
        key("conv.weight", &[3, 2, 3, 3]),
        key("conv.bias", &[3]),
        key("norm.weight", &[4]),
        key("norm.bias", &[4]),
        key("layers.0.weight", &[37, 40]),
        key("layers.0.bias", &[37]),
        key("layers.1.weight", &[37, 40]),
        key("layers.1.bias", &[37]),
        key("choice.weight", &[3, 2]),
    ];
    assert_eq!(keys(&fresh()), expected);
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "model.safetensors", FileFloat::F32);
    let read = Tensors::open(&path).unwrap();
    assert_eq!(read.metadata(), &metadata());
    assert_ne!(hash(&fresh()), hash(&net()));
    assert_eq!(hash(&load(fresh(), &read).unwrap()), hash(&net()));
    // The same weights give the same file, whatever order a hash map would have had.
    let again = write(folder.path(), "again.safetensors", FileFloat::F32);
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(again).unwrap());
    // An independent reader agrees about the layout.
    let bytes = std::fs::read(&path).unwrap();
    let independent = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(independent.tensor("layers.0.weight").unwrap().shape(), [37, 40]);
    // Nothing is left beside the file.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn half_precision_rounds_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "half.safetensors", FileFloat::F16);
    let once = load(fresh(), &Tensors::open(&path).unwrap()).unwrap();
    let (exact, rounded) = (net().layers[0].weight.val(), once.layers[0].weight.val());
    let error = (exact - rounded).abs().max().into_scalar::<f32>();
    assert!(error > 0.0 && error < 1e-4, "{error}");
    save(&once, &path, FileFloat::F16, &metadata()).unwrap();
    let twice = load(fresh(), &Tensors::open(&path).unwrap()).unwrap();
    assert_eq!(hash(&once), hash(&twice));
}

#[test]
fn initial_values_depend_on_seed_and_path_only() {
    assert_eq!(hash(&net()), hash(&net()));
    assert_ne!(hash(&net()), hash(&reinit(fresh(), 8)));
    let net = net();
    let ([first, second], bias) = (
        [0, 1].map(|i| net.layers[i].weight.val().into_data()),
        net.layers[0].bias.as_ref().unwrap().val(),
    );
    assert_ne!(first, second);
    assert_eq!(bias.abs().max().into_scalar::<f32>(), 0.0);
    assert_eq!(net.norm.gamma.as_ref().unwrap().val().min().into_scalar::<f32>(), 1.0);
    let largest = net.layers[0].weight.val().abs().max().into_scalar::<f32>();
    let bound = 40f32.sqrt().recip();
    assert!(largest < bound && largest > 0.95 * bound, "{largest}");
    let spread = net.embedding.weight.val().var(1).mean().sqrt().into_scalar::<f32>();
    assert!(spread > 0.01 && spread < 0.03, "{spread}");
}

/// The file of [`net`] with its keys changed.
fn renamed(rename: impl FnMut(&str) -> Option<String>) -> LoadError {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "model.safetensors", FileFloat::F32);
    load(fresh(), &Tensors::open(&path).unwrap().rename(rename)).unwrap_err()
}

#[test]
fn missing_and_unused_keys_are_named_with_the_nearest() {
    let swap = |key: &str| Some(key.replace("layers.1.bias", "layer.1.bias"));
    let LoadError::Keys { mismatch, .. } = renamed(swap) else { panic!("another error") };
    let (ours, theirs) = ("layers.1.bias".to_owned(), "layer.1.bias".to_owned());
    assert_eq!(mismatch.missing, [(ours.clone(), Some(theirs.clone()))]);
    assert_eq!(mismatch.unused, [(theirs, Some(ours))]);

    let drop = |key: &str| (key != "norm.weight").then(|| key.to_owned());
    let message = renamed(drop).to_string();
    assert!(message.contains("1 missing from the file: norm.weight"), "{message}");
}

#[test]
fn shapes_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "model.safetensors", FileFloat::F32);
    let tensors = Tensors::open(&path).unwrap().reshape("layers.0.weight", vec![40, 37]);
    let message = load(fresh(), &tensors).unwrap_err().to_string();
    let expected = "layers.0.weight (expected [37, 40], found [40, 37])";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "model.safetensors", FileFloat::F32);
    let whole = std::fs::read(&path).unwrap();
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut header = whole.clone();
    header[9] = b'!';
    let cut = |at: usize| whole[..at].to_vec();
    for bytes in [cut(4), cut(20), cut(whole.len() - 1), huge, header] {
        std::fs::write(&path, bytes).unwrap();
        let error = Tensors::open(&path).unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
    std::fs::write(&path, []).unwrap();
    let error = Tensors::open(&path).unwrap_err();
    assert!(matches!(error, LoadError::NoWeightFile { .. }), "{error}");
    assert!(error.to_string().contains("it is empty"), "{error}");
    let error = Tensors::open(&folder.path().join("absent.safetensors")).unwrap_err();
    assert!(matches!(error, LoadError::Io { .. }), "{error}");
}

#[test]
fn values_that_are_not_numbers_are_refused() {
    let mut broken = net();
    broken.norm.gamma = broken.norm.gamma.map(|gamma| gamma.map(|value| value * f32::NAN));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let error = save(&broken, &path, FileFloat::F32, &metadata()).unwrap_err();
    assert!(matches!(&error, SaveError::NotFinite { key, .. } if key == "norm.weight"), "{error}");
    assert!(!path.exists());

    write(folder.path(), "model.safetensors", FileFloat::F32);
    let mut bytes = std::fs::read(&path).unwrap();
    // The last tensor of the file is `norm.weight`: four ones.
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = load(fresh(), &Tensors::open(&path).unwrap()).unwrap_err();
    assert!(matches!(&error, LoadError::NotFinite { key, .. } if key == "norm.weight"), "{error}");
}

#[test]
fn shards_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let unet = folder.path().join("unet");
    std::fs::create_dir(&unet).unwrap();
    let of = |part: &str| format!("diffusion_pytorch_model-0000{part}-of-00002.safetensors");
    // Each layer in a shard of its own.
    let net = net();
    let mut weight_map = BTreeMap::new();
    for (i, part) in ["1", "2"].iter().enumerate() {
        save(&net.layers[i], &unet.join(of(part)), FileFloat::F32, &BTreeMap::new()).unwrap();
    }
    weight_map.insert("weight", of("1"));
    let index = unet.join("diffusion_pytorch_model.safetensors.index.json");
    let put = |map: &BTreeMap<&str, String>| {
        std::fs::write(&index, serde_json::json!({"weight_map": map}).to_string()).unwrap();
        Folder::disk(folder.path()).tensors("unet")
    };
    // The index leaves the bias out, then promises what is not there.
    assert!(matches!(put(&weight_map), Err(LoadError::Shards { .. })));
    weight_map.insert("bias", of("1"));
    let tensors = put(&weight_map).unwrap();
    let read = load(LinearConfig::new(40, 37).init(&testing::device()), &tensors).unwrap();
    assert_eq!(hash(&read), hash(&net.layers[0]));
    weight_map.insert("scale", of("1"));
    let message = put(&weight_map).unwrap_err().to_string();
    assert!(message.contains("`scale` is not in"), "{message}");
    weight_map.insert("scale", "../outside.safetensors".to_owned());
    assert!(matches!(put(&weight_map), Err(LoadError::Shards { .. })));
}

#[test]
fn a_folder_can_be_part_of_the_program() {
    let bytes = weights::to_bytes(&net(), FileFloat::F32, &metadata()).unwrap();
    let files: Vec<(&'static str, &'static [u8])> =
        vec![("net/config.json", b"{\"width\": 3}"), ("net/model.safetensors", bytes.leak())];
    let folder = Folder::Embedded { name: "builtin", files: files.leak() };
    let config: BTreeMap<String, usize> = folder.read_config("net/config.json").unwrap();
    assert_eq!(config["width"], 3);
    let read = load(fresh(), &folder.tensors("net").unwrap()).unwrap();
    assert_eq!(hash(&read), hash(&net()));
    let error = folder.tensors("unet").unwrap_err();
    assert!(matches!(&error, LoadError::NoWeights { folder, .. } if folder == "builtin/unet"));
    let error = folder.read_config::<Vec<u8>>("net/config.json").unwrap_err().to_string();
    assert!(error.contains("builtin/net/config.json"), "{error}");
    let error = folder.read("absent").unwrap_err().to_string();
    assert!(error.contains("builtin/absent"), "{error}");
}
