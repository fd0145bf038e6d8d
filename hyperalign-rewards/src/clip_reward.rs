//! A CLIP dual encoder as a differentiable reward.

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    image::from_images,
    resize::{Normalization, center_crop, resize},
};
use hyperalign_models::{
    clip::{ClipModel, ClipPreprocess},
    tokenizer::{Tokenizer, TokenizerError},
    weights::{self, Folder, LoadError},
};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::{
    Prompt, Reads, Reward, ScoreError,
    inputs::{Pictures, check_prompts, check_size, ids, plain, score_prepared, unit},
    memory,
};

/// The channel statistics of a `preprocessor_config.json`, for pixels in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Mean of red, green, blue.
    pub image_mean: [f32; 3],
    /// Standard deviation of red, green, blue.
    pub image_std: [f32; 3],
}

impl Default for Preprocessing {
    /// Pixels in `[-1, 1]`, as the decoders of this house make them.
    fn default() -> Self {
        Self { image_mean: [0.5; 3], image_std: [0.5; 3] }
    }
}

impl Preprocessing {
    fn normalization(self) -> Normalization {
        Normalization { mean: self.image_mean.map(f64::from), std: self.image_std.map(f64::from) }
    }
}

/// What the cosine of picture and text is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Nothing.
    One,
    /// `exp(logit_scale)`, which is part of the weights.
    Logit,
}

/// What is done to tensors beyond `[-1, 1]`, as decoders make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// They are clipped as they are when the picture is stored; no gradient leads back from there.
    Clipped,
    /// They are resized as they are, to whole pixels that are rounded and not cut off, and clipped
    /// then, as SPO's code has it.
    ClippedWhenSmall,
    /// They are taken as they are.
    Open,
}

/// Why the files of a CLIP reward could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipRewardError {
    /// Weights, or a file beside them.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A CLIP dual encoder as a reward: the cosine of picture and text (Radford et al. 2021,
/// arXiv:2103.00020, figure 3), scaled as the one who trained it has it.
///
/// The embedded world's preference models are of this type, and HPSv2, PickScore and the CLIP score
/// of the [`registry`](crate::registry).
///
/// The network lies on a plain device and is a constant of every tape; gradients reach the
/// pictures only. Pictures of all sizes are resized to the network's own.
#[derive(Debug)]
pub struct ClipReward {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) model: ClipModel,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) preprocess: ClipPreprocess,
    pub(crate) pictures: Pictures,
    pub(crate) scale: Scale,
    pub(crate) range: Range,
    pub(crate) reads: Reads,
}

impl ClipReward {
    /// A reward called `name`. Its version is the hash of the weights, and its score
    /// exp(logit_scale) cos(image, text).
    ///
    /// The cosine is scaled because preference models are trained so: the difference of two scores
    /// is then the log odds that the first picture is preferred, in the unit that the Bradley-Terry
    /// loss of PickScore and HPSv2 gives it. Tensors are not clipped: a pixel that leaves the range
    /// is led back.
    pub fn new(
        name: impl Into<String>,
        model: ClipModel,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing,
    ) -> Self {
        let preprocess = ClipPreprocess {
            normalization: preprocessing.normalization(),
            ..ClipPreprocess::new(model.config().vision_config.image_size)
        };
        Self {
            name: name.into(),
            version: weights::hash(&model),
            model,
            tokenizer,
            preprocess,
            pictures: Pictures::Pil,
            scale: Scale::Logit,
            range: Range::Open,
            reads: Reads::Pictures,
        }
    }

    /// Reads the folder `sub` of `folder` (empty for the folder itself), in the layout of
    /// `transformers`: `config.json`, `preprocessor_config.json`, `model.safetensors`, and the
    /// files of the tokenizer.
    ///
    /// # Errors
    ///
    /// Fails if a file is missing, damaged, or does not fit the others.
    pub fn from_folder(
        name: impl Into<String>,
        folder: &Folder,
        sub: &str,
        device: &Device,
    ) -> Result<Self, ClipRewardError> {
        let at =
            |file: &str| if sub.is_empty() { file.to_owned() } else { format!("{sub}/{file}") };
        let preprocessing = folder.read_config(&at("preprocessor_config.json"))?;
        let tokenizer = Tokenizer::from_files(|file| read_text(folder, &at(file)))?;
        let model = ClipModel::from_folder(folder, sub, device)?;
        Ok(Self::new(name, model, tokenizer, preprocessing))
    }

    /// The same, which tables show `reads`: decoded tensors suit a network that was trained on them.
    #[must_use]
    pub fn reading(self, reads: Reads) -> Self {
        Self { reads, ..self }
    }

    /// The dual encoder.
    pub fn model(&self) -> &ClipModel {
        &self.model
    }

    /// Pictures in the space that texts and pictures share, not normalised.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, in `[-1, 1]`
    /// - output: `[batch, projection_dim]`
    pub fn image_features(&self, images: Tensor<4>) -> Tensor<2> {
        self.model.image_features(self.prepared(images))
    }

    fn prepared(&self, images: Tensor<4>) -> Tensor<4> {
        match self.range {
            Range::Clipped => self.preprocess.forward(unit(images)),
            Range::ClippedWhenSmall => {
                let [_, _, height, width] = images.dims();
                let ClipPreprocess { size, filter, normalization } = self.preprocess;
                let scale = size as f64 / height.min(width) as f64;
                let [height, width] = [height, width].map(|side| (side as f64 * scale).round());
                let small = resize(images, height as usize, width as usize, filter);
                normalization.forward(unit(center_crop(small, size, size)))
            }
            Range::Open => self.preprocess.signed().forward(images),
        }
    }

    /// The score of prepared pictures, clean ones or estimates at `timesteps`.
    fn of_prepared(
        &self,
        images: Tensor<4>,
        prompts: &[Prompt],
        timesteps: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let ids = ids(&self.tokenizer, prompts, &self.name, &plain(&images));
        let score = match timesteps {
            Some(timesteps) => self.model.score_at(images, timesteps, ids),
            None => self.model.score(images, ids),
        };
        match self.scale {
            Scale::One => score,
            Scale::Logit => score * self.model.logit_scale(),
        }
    }
}

fn read_text(folder: &Folder, path: &str) -> Result<Option<String>, LoadError> {
    if !folder.contains(path) {
        return Ok(None);
    }
    let bytes = folder.read(path)?;
    let text = String::from_utf8(bytes.into_owned()).map_err(|error| LoadError::Config {
        file: folder.display(path),
        reason: error.to_string(),
    })?;
    Ok(Some(text))
}

impl Reward for ClipReward {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    /// # Panics
    ///
    /// Panics if there is not one prompt for each picture, and for a prompt that the tokenizer
    /// refuses; [`check`](Reward::check) tells before.
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        assert_eq!(images.dims()[0], prompts.len(), "one prompt for each picture");
        self.of_prepared(self.prepared(images), prompts, None)
    }

    fn score_at(&self, images: Tensor<4>, prompts: &[Prompt], timesteps: Tensor<1>) -> Tensor<1> {
        assert_eq!(images.dims()[0], prompts.len(), "one prompt for each picture");
        self.of_prepared(self.prepared(images), prompts, Some(timesteps))
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn score_pictures(
        &self,
        pictures: &[RgbImage],
        prompts: &[Prompt],
        device: &Device,
    ) -> Vec<f32> {
        if self.range == Range::ClippedWhenSmall {
            assert_eq!(pictures.len(), prompts.len(), "one prompt for each picture");
            let prepared = pictures
                .iter()
                .map(|picture| self.prepared(from_images(std::slice::from_ref(picture), device)));
            let prepared: Vec<Tensor<4>> = prepared.collect();
            if prepared.is_empty() {
                return Vec::new();
            }
            return self
                .of_prepared(Tensor::cat(prepared, 0), prompts, None)
                .into_data()
                .iter()
                .collect();
        }
        score_prepared(&self.preprocess, self.pictures, pictures, prompts, device, |images| {
            self.of_prepared(images, prompts, None)
        })
    }

    fn reads(&self) -> Reads {
        self.reads
    }

    fn passed_over(&self) -> Vec<String> {
        self.model.passed_over().to_vec()
    }

    fn memory_per_picture(&self) -> u64 {
        memory::of_clip(self.model.config())
    }

    fn check(&self, size: [usize; 2], prompts: &[Prompt]) -> Result<(), ScoreError> {
        check_size(&self.name, size)?;
        check_prompts(&self.tokenizer, prompts)
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;
    use std::collections::BTreeMap;

    use burn::tensor::TensorData;
    use hyperalign_core::image::to_images;
    use hyperalign_models::clip::{ClipConfig, ClipTextConfig, ClipVisionConfig};
    use hyperalign_models::weights::{FileFloat, reinit, save};

    use super::*;
    use crate::emoji::{Picture, World, data, vocabulary};

    const PREPROCESSING: Preprocessing =
        Preprocessing { image_mean: [0.4; 3], image_std: [0.25; 3] };

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
        let preprocessing =
            Preprocessing { image_mean: [0.1, 0.5, 0.6], image_std: [0.2, 0.5, 0.1] };
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
        let of_tensors: Vec<f32> =
            reward.score(images.clone(), &prompts).into_data().iter().collect();
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
}
