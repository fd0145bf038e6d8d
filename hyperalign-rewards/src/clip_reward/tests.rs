use hyperalign_core::testing;
use std::collections::BTreeMap;

use burn::tensor::TensorData;
use hyperalign_core::image::to_images;
use hyperalign_models::clip::{ClipConfig, ClipTextConfig, ClipVisionConfig};
use hyperalign_models::weights::{FileFloat, reinit, save};

use super::*;
use crate::emoji::{Picture, World, data, vocabulary};

const PREPROCESSING: Preprocessing = Preprocessing { image_mean: [0.4; 3], image_std: [0.25; 3] };

fn config(vocab_size: usize) -> ClipConfig {
    ClipConfig {
        text_config: ClipTextConfig {
            vocab_size,
            hidden_size: 16,
            intermediate_size: 32,
            projection_dim: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            max_position_embeddings: 12,
            eos_token_id: u32::try_from(vocab_size).unwrap() - 1,
            ..ClipTextConfig::default()
        },
        vision_config: ClipVisionConfig {
            hidden_size: 16,
            intermediate_size: 32,
            projection_dim: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            image_size: 64,
            patch_size: 16,
            ..ClipVisionConfig::default()
        },
        projection_dim: 8,
        ..ClipConfig::default()
    }
}

fn tiny(device: &Device) -> (ClipReward, ClipConfig) {
    let words = vocabulary();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let tokenizer = Tokenizer::from_words(&words, 12).unwrap();
    let config = config(tokenizer.vocab_size());
    let model = reinit(config.init(device), 5);
    (ClipReward::new("tiny", model, tokenizer, PREPROCESSING), config)
}

fn items(count: u32, device: &Device) -> (Tensor<4>, Vec<Prompt>) {
    let items = data::collect(0..count, |index| World::SMALL.preferred_item(1, index));
    let images: Vec<&Picture> = items.iter().map(|item| &item.image).collect();
    let shape = [items.len(), 3, 64, 64];
    let values = TensorData::new(data::batch(images), shape);
    let prompts = items.iter().map(|item| item.caption.as_str().into()).collect();
    (Tensor::from_data(values, device), prompts)
}

#[test]
fn gradients_reach_the_pictures() {
    let device = testing::device();
    let (reward, _) = tiny(&device);
    let (images, prompts) = items(2, &device.clone().autodiff());
    let images = images.require_grad();
    let scores = reward.score(images.clone(), &prompts);
    assert_eq!(scores.dims(), [2]);
    let gradients = scores.sum().backward();
    let gradient = images.grad(&gradients).expect("pictures are on the tape");
    assert!(gradient.abs().sum().into_scalar::<f32>() > 0.0);
}

#[test]
fn what_cannot_be_scored_is_said_before() {
    let (reward, _) = tiny(&testing::device());
    assert!(reward.check([64, 64], &["a dog".into()]).is_ok());
    let message =
        |size, prompt: &str| reward.check(size, &[prompt.into()]).unwrap_err().to_string();
    assert!(message([6400, 64], "a dog").contains("6400x64"));
    assert!(message([64, 64], "a gryphon").contains("gryphon"));
}

#[test]
fn preprocessing_is_that_of_pixels_between_0_and_1() {
    let device = testing::device();
    let preprocessing = Preprocessing { image_mean: [0.1, 0.5, 0.6], image_std: [0.2, 0.5, 0.1] };
    let black_and_white =
        Tensor::<4>::from_floats([[[[-1.0, 1.0]], [[-1.0, 1.0]], [[-1.0, 1.0]]]], &device);
    let found = preprocessing.normalization().signed().forward(black_and_white);
    let expected = [-0.5, 4.5, -1.0, 1.0, -6.0, 4.0];
    for (found, expected) in found.into_data().iter::<f32>().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}

#[test]
fn pictures_of_any_size_are_resized() {
    let device = testing::device();
    let (reward, _) = tiny(&device);
    let (images, prompts) = items(2, &device);
    let large = images.clone().repeat_dim(3, 2);
    let middle = images.clone().slice_dim(3, 32..64);
    let middle = Tensor::cat(vec![middle, images.slice_dim(3, 0..32)], 3);
    let difference = reward.score(large, &prompts) - reward.score(middle, &prompts);
    assert_eq!(difference.abs().max().into_scalar::<f32>(), 0.0);
}

#[test]
fn a_stored_picture_scores_as_its_tensor() {
    let device = testing::device();
    let (reward, _) = tiny(&device);
    let (images, prompts) = items(3, &device);
    let of_tensors: Vec<f32> = reward.score(images.clone(), &prompts).into_data().iter().collect();
    let of_pictures = reward.score_pictures(&to_images(images), &prompts, &device);
    for (a, b) in of_tensors.into_iter().zip(of_pictures) {
        assert!((a - b).abs() < 0.01, "{a} and {b}");
    }
}

#[test]
fn files_make_the_same_reward() {
    let device = testing::device();
    let (reward, config) = tiny(&device);
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("config.json", serde_json::to_string(&config).unwrap());
    write("preprocessor_config.json", serde_json::to_string(&PREPROCESSING).unwrap());
    write("tokenizer.json", reward.tokenizer.to_json().unwrap());
    let path = dir.path().join("model.safetensors");
    save(&reward.model, &path, FileFloat::F32, &BTreeMap::new()).unwrap();

    let folder = Folder::disk(dir.path());
    let again = ClipReward::from_folder("tiny", &folder, "", &device).unwrap();
    assert_eq!(again.version(), reward.version());
    let (images, prompts) = items(3, &device);
    assert_eq!(
        again.score(images.clone(), &prompts).into_data(),
        reward.score(images, &prompts).into_data()
    );

    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    let error = ClipReward::from_folder("tiny", &folder, "", &device).unwrap_err();
    assert!(matches!(error, ClipRewardError::Tokenizer(_)), "{error}");
}
