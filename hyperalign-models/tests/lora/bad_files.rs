//! Files that cannot be applied whole are refused, with what is wrong with them.

use std::collections::BTreeMap;

use hyperalign_core::testing;
use hyperalign_models::{
    base::Adaptable,
    lora::{Convention, Layers, LoraError, LoraFile, Part, Survey},
    testing::{small_base, small_flux},
    weights::Tensors,
};

use super::random;

/// The tensors of a file, to be changed.
type Stored = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn layers() -> Layers {
    small_base(1, &testing::device()).lora_layers().unwrap()
}

fn stored(layers: &Layers, convention: Convention) -> Stored {
    let file = random(layers, &[Part::Denoiser, Part::TextEncoder], 1.0, 5);
    let tensors = Tensors::held("good", file.to_bytes(layers, convention)).unwrap();
    tensors
        .iter()
        .map(|(key, shape)| (key.to_owned(), (shape.to_vec(), tensors.f32(key).unwrap())))
        .collect()
}

/// The bytes of a safetensors file.
fn bytes(stored: &Stored, metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let metadata: BTreeMap<&str, &str> = metadata.iter().copied().collect();
    header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    let mut data: Vec<u8> = Vec::new();
    for (key, (shape, values)) in stored {
        let end = data.len() + 4 * values.len();
        let entry = serde_json::json!({
            "dtype": "F32", "shape": shape, "data_offsets": [data.len(), end],
        });
        header.insert(key.clone(), entry);
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn read(stored: &Stored, layers: &Layers) -> Result<LoraFile, LoraError> {
    LoraFile::read(None, &Tensors::held("bad", bytes(stored, &[])).unwrap(), layers)
}

/// The message for a file of kohya's convention with a change.
fn refused(change: impl FnOnce(&mut Stored), parts: &[&str]) {
    let layers = layers();
    let mut stored = stored(&layers, Convention::Kohya);
    assert!(read(&stored, &layers).is_ok());
    change(&mut stored);
    let error = read(&stored, &layers).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

const LAYER: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";

#[test]
fn values_and_shapes() {
    let key = |end: &str| format!("{LAYER}.{end}");
    let set = |end: &str, value: f32| {
        let key = key(end);
        move |stored: &mut Stored| stored.get_mut(&key).unwrap().1[0] = value
    };
    refused(set("lora_up.weight", f32::NAN), &["not finite", &key("lora_up.weight")]);
    refused(set("alpha", 0.0), &["alpha 0", LAYER, "nothing"]);
    refused(set("alpha", f32::INFINITY), &["not finite"]);
    let remove = |end: &str| {
        let key = key(end);
        move |stored: &mut Stored| drop(stored.remove(&key))
    };
    refused(remove("lora_up.weight"), &[LAYER, "no lora_up"]);
    refused(remove("lora_down.weight"), &[LAYER, "no lora_down"]);
    refused(
        |stored| {
            for (end, shape) in [("lora_down.weight", [2, 9]), ("lora_up.weight", [8, 2])] {
                let size = shape[0] * shape[1];
                stored.insert(key(end), (shape.to_vec(), vec![1.0; size]));
            }
        },
        &[LAYER, "unet.mid_block.attentions.0", "[8, 8]", "[2, 9]", "XL"],
    );
    refused(
        |stored| {
            stored.insert(key("lora_down.weight"), (vec![9, 8], vec![1.0; 72]));
            stored.insert(key("lora_up.weight"), (vec![8, 9], vec![1.0; 72]));
        },
        &[LAYER, "rank 9", "more than 8"],
    );
    // Without alpha, it is the rank.
    let layers = layers();
    let mut stored = stored(&layers, Convention::Kohya);
    stored.remove(&key("alpha"));
    let file = read(&stored, &layers).unwrap();
    assert_eq!(file.updates.values().filter(|update| update.alpha == 2.0).count(), 1);
}

#[test]
fn names() {
    refused(
        |stored| {
            let (shape, values) = stored.remove(&format!("{LAYER}.lora_up.weight")).unwrap();
            let odd = format!("{LAYER}x.lora_up.weight");
            stored.insert(odd, (shape, values));
        },
        &[
            "kohya's sd-scripts",
            "modules",
            "match a layer",
            &format!("`{LAYER}x` (nearest: `{LAYER}`)"),
        ],
    );
    // A weight of the model among them.
    refused(
        |stored| drop(stored.insert("conv_in.weight".to_owned(), (vec![1], vec![1.0]))),
        &["not found: `conv_in.weight`"],
    );
    refused(
        |stored| {
            let layers = layers();
            let peft = self::stored(&layers, Convention::Peft);
            stored.extend(peft.into_iter().filter(|(key, _)| key.contains("mid_block")));
        },
        &["adapts the layer unet.mid_block", "twice", "`lora_unet_mid_block", "`unet.mid_block"],
    );
    refused(Stored::clear, &["no LoRA", "no tensor"]);
    refused(
        |stored| {
            stored.clear();
            stored.insert("conv_in.weight".to_owned(), (vec![1], vec![1.0]));
        },
        &["no LoRA", "1 keys", "`conv_in.weight`"],
    );
}

#[test]
fn other_kinds_are_called_by_their_names() {
    for (end, kind) in [
        ("dora_scale", "DoRA"),
        ("lora_magnitude_vector.weight", "DoRA"),
        ("hada_w1_a", "LoHa"),
        ("lokr_w1", "LoKr"),
        ("lora_mid.weight", "Tucker"),
        ("oft_blocks", "OFT"),
        ("diff", "full difference"),
        ("lora_up.bias", "bias"),
    ] {
        refused(
            |stored| drop(stored.insert(format!("{LAYER}.{end}"), (vec![1], vec![1.0]))),
            &[kind, LAYER],
        );
    }
    let layers = layers();
    let peft = stored(&layers, Convention::Peft);
    let bytes = bytes(&peft, &[("lora_adapter_metadata", r#"{"unet.use_dora": true}"#)]);
    let error = LoraFile::read(None, &Tensors::held("dora", bytes).unwrap(), &layers).unwrap_err();
    assert!(error.to_string().contains("DoRA"), "{error}");
}

#[test]
fn another_family_is_told() {
    let device = testing::device();
    let flux = small_flux(true, &device).lora_layers().unwrap();
    let sd = layers();
    for convention in [Convention::Peft, Convention::Kohya, Convention::Bfl] {
        let of_flux = stored(&flux, convention);
        let error = read(&of_flux, &sd).unwrap_err().to_string();
        assert!(error.contains("looks like a LoRA for FLUX.1"), "{error}");
        let of_sd = stored(&sd, convention);
        let error = read(&of_sd, &flux).unwrap_err().to_string();
        assert!(error.contains("this base is FLUX.1"), "{error}");
    }
    let mut xl = stored(&sd, Convention::Kohya);
    for key in xl.keys().cloned().collect::<Vec<_>>() {
        let more = key.replace("transformer_blocks_0", "transformer_blocks_1");
        xl.insert(more, xl[&key].clone());
    }
    let error = read(&xl, &sd).unwrap_err().to_string();
    assert!(error.contains("Stable Diffusion XL"), "{error}");
}

#[test]
fn a_file_that_was_cut_off_is_no_file() {
    let bytes = bytes(&stored(&layers(), Convention::Peft), &[]);
    for end in [4, 100, bytes.len() - 1] {
        assert!(Tensors::held("cut", bytes[..end].to_vec()).is_err());
    }
}

#[test]
fn a_survey_needs_no_base() {
    let device = testing::device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    let survey = |stored: &Stored| {
        std::fs::write(&path, bytes(stored, &[])).unwrap();
        Survey::of(&path, &Tensors::open(&path).unwrap(), None, &device).unwrap()
    };
    let found = survey(&stored(&layers(), Convention::Kohya));
    assert_eq!(found.made_for, Some("Stable Diffusion 1.x"));
    assert_eq!(found.matched, found.modules);
    assert_eq!(found.alphas.keys().collect::<Vec<_>>(), ["3"]);
    assert_eq!(found.targets["unet"]["attn1.to_out.0"], 4);
    assert_eq!(found.targets["text_encoder"]["mlp.fc1"], 1);
    let flux = small_flux(true, &device).lora_layers().unwrap();
    let found = survey(&stored(&flux, Convention::Bfl));
    assert_eq!(found.made_for, Some("FLUX.1"));
    assert_eq!(found.conventions, [Convention::Bfl].into());
}
