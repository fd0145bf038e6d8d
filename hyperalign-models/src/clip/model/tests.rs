use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};
use hyperalign_core::testing;

use super::*;
use crate::{
    clip::{ClipTextConfig, ClipVisionConfig, HiddenAct},
    weights::{FileFloat, keys, reinit, save},
};

fn config() -> ClipConfig {
    ClipConfig {
        text_config: ClipTextConfig {
            vocab_size: 20,
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 5,
            hidden_act: HiddenAct::Gelu,
            eos_token_id: 2,
            ..ClipTextConfig::default()
        },
        vision_config: ClipVisionConfig {
            hidden_size: 12,
            intermediate_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 3,
            image_size: 8,
            patch_size: 4,
            ..ClipVisionConfig::default()
        },
        projection_dim: 6,
        ..ClipConfig::default()
    }
}

fn model(device: &Device) -> ClipModel {
    reinit(config().init(device), 3)
}

fn ids(device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(vec![1_i64, 7, 3, 19, 0, 1, 4, 19, 0, 0], [2, 5]), device)
}

fn image(device: &Device) -> Tensor<4> {
    let values: Vec<f64> = (0..2 * 3 * 8 * 8).map(|i| (f64::from(i) * 0.7).sin()).collect();
    Tensor::from_data(TensorData::new(values, [2, 3, 8, 8]), device)
}

/// A file with these weights in the layout of open_clip, written independently of the reader.
fn open_clip_file(ours: &Tensors) -> Vec<u8> {
    let value = |key: &str| ours.f32(key).unwrap();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    for (side, theirs, layers) in [("text_model", "", 2), ("vision_model", "visual.", 2)] {
        for i in 0..layers {
            let block = format!("{side}.encoder.layers.{i}");
            let to = format!("{theirs}transformer.resblocks.{i}");
            for kind in ["weight", "bias"] {
                let stacked: Vec<f32> = ["q", "k", "v"]
                    .iter()
                    .flat_map(|part| value(&format!("{block}.self_attn.{part}_proj.{kind}")))
                    .collect();
                let mut shape =
                    ours.shape(&format!("{block}.self_attn.q_proj.{kind}")).unwrap().to_vec();
                shape[0] *= 3;
                tensors.insert(format!("{to}.attn.in_proj_{kind}"), (shape, stacked));
                for (from, name) in [
                    ("self_attn.out_proj", "attn.out_proj"),
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ] {
                    let key = format!("{block}.{from}.{kind}");
                    let shape = ours.shape(&key).unwrap().to_vec();
                    tensors.insert(format!("{to}.{name}.{kind}"), (shape, value(&key)));
                }
            }
        }
    }
    for (from, name) in [
        ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        ("text_model.final_layer_norm.weight", "ln_final.weight"),
        ("text_model.final_layer_norm.bias", "ln_final.bias"),
        ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
        ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
        ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
        ("vision_model.pre_layrnorm.weight", "visual.ln_pre.weight"),
        ("vision_model.pre_layrnorm.bias", "visual.ln_pre.bias"),
        ("vision_model.post_layernorm.weight", "visual.ln_post.weight"),
        ("vision_model.post_layernorm.bias", "visual.ln_post.bias"),
    ] {
        tensors.insert(name.to_owned(), (ours.shape(from).unwrap().to_vec(), value(from)));
    }
    tensors.insert("logit_scale".to_owned(), (Vec::new(), value("logit_scale")));
    for (from, name) in
        [("text_projection.weight", "text_projection"), ("visual_projection.weight", "visual.proj")]
    {
        let [rows, columns] = ours.shape(from).unwrap().try_into().unwrap();
        let values = value(from);
        let turned = (0..columns * rows).map(|k| values[k % rows * columns + k / rows]).collect();
        tensors.insert(name.to_owned(), (vec![columns, rows], turned));
    }
    safetensors_of(tensors)
}

fn safetensors_of(tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Vec<u8> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, values))| {
            (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn both_layouts_of_the_same_weights_give_the_same_answers() {
    let device = testing::device();
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("a.safetensors"), dir.path().join("b.safetensors"));
    let model = model(&device);
    save(&model, &ours, FileFloat::F32, &BTreeMap::new()).unwrap();
    let tensors = Tensors::open(&ours).unwrap();
    std::fs::write(&theirs, open_clip_file(&tensors)).unwrap();

    let expected = model.logits(image(&device), ids(&device)).into_data();
    for path in [&ours, &theirs] {
        let tensors = Tensors::open(path).unwrap();
        let read = ClipModel::from_tensors(&config(), tensors, &device).unwrap();
        assert_eq!(read.logits(image(&device), ids(&device)).into_data(), expected, "{path:?}");
    }

    let mut written: Vec<(String, Vec<usize>)> = Tensors::open(&theirs)
        .unwrap()
        .iter()
        .map(|(key, shape)| (key.to_owned(), shape.to_vec()))
        .collect();
    written.sort();
    let mut predicted: Vec<(String, Vec<usize>)> = open_clip::from_transformers(&keys(&model))
        .into_iter()
        .map(|key| (key.name, key.shape))
        .collect();
    predicted.sort();
    assert_eq!(predicted, written);
}

#[test]
fn a_left_over_tensor_of_open_clip_is_named() {
    let device = testing::device();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    save(&model(&device), &path, FileFloat::F32, &BTreeMap::new()).unwrap();
    let tensors = Tensors::open(&path).unwrap();
    std::fs::write(&path, open_clip_file(&tensors)).unwrap();
    let tensors = Tensors::open(&path).unwrap().rename(|key| {
        Some(if key == "visual.ln_pre.bias" { "visual.extra".to_owned() } else { key.to_owned() })
    });
    let error = ClipModel::from_tensors(&config(), tensors, &device).unwrap_err().to_string();
    // Both in the names of the file.
    assert!(error.contains("visual.extra") && error.contains("visual.ln_pre.bias"), "{error}");
}

#[test]
fn logits_are_scaled_cosines_and_scores_their_diagonal() {
    let device = testing::device();
    let model = model(&device);
    let logits = model.logits(image(&device), ids(&device));
    let score: Vec<f32> = model.score(image(&device), ids(&device)).try_into_vec_as().unwrap();
    let scale: f32 = model.logit_scale().into_scalar();
    let logits: Vec<f32> = logits.try_into_vec_as().unwrap();
    assert!((f64::from(scale) - config().logit_scale_init_value.exp()).abs() < 1e-4);
    for (row, score) in score.iter().enumerate() {
        assert!(score.abs() <= 1.0);
        assert!((logits[row * 3] - scale * score).abs() < 1e-4);
    }
}

/// The gradient of the score against central differences, in f64.
#[test]
fn the_score_is_differentiable_to_the_image() {
    let plain = testing::cpu();
    let model = in_f64(model(&plain));
    let ids = ids(&plain);
    let x = image(&plain).cast(DType::F64);
    let tracked = Tensor::<4>::from_data(x.to_data(), (&plain.clone().autodiff(), DType::F64));
    let tracked = tracked.require_grad();
    let gradients = model.score(tracked.clone(), ids.clone()).sum().backward();
    let gradient: Vec<f64> = tracked.grad(&gradients).unwrap().try_into_vec_as().unwrap();

    let values: Vec<f64> = x.try_into_vec_as().unwrap();
    let total = |values: Vec<f64>| -> f64 {
        let data = TensorData::new(values, [2, 3, 8, 8]);
        let x = Tensor::<4>::from_data(data, (&plain, DType::F64));
        model.score(x, ids.clone()).sum().into_scalar()
    };
    let h = 1e-5;
    let largest = gradient.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    assert!(largest > 1e-3, "the gradient vanishes: {largest}");
    for at in (0..values.len()).step_by(29) {
        let moved = |by: f64| {
            let mut values = values.clone();
            values[at] += by;
            total(values)
        };
        let numeric = (moved(h) - moved(-h)) / (2.0 * h);
        let error = (numeric - gradient[at]).abs();
        assert!(error < 1e-7 * largest.max(1.0), "{at}: {numeric} against {}", gradient[at]);
    }
}

/// The same weights in double precision, so that differences have digits left.
fn in_f64(model: ClipModel) -> ClipModel {
    struct Widen;
    impl burn::module::ModuleMapper for Widen {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(DType::F64))
        }
    }
    model.map(&mut Widen)
}
