//! A CLIP dual encoder as a differentiable reward.

use burn::tensor::{Device, Tensor, TensorData};
use hyperalign_models::clip::{ClipConfig, ClipModel, ConfigError};
use hyperalign_models::tokenizer::{Tokenizer, TokenizerError};
use hyperalign_models::weights::{self, Folder, LoadError};
use serde::{Deserialize, Serialize};

use crate::{Reward, ScoreError};

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
    /// Normalises pixels in `[-1, 1]`: with p = (x + 1) / 2, (p - mean) / std.
    ///
    /// # Shapes
    ///
    /// - `images` and output: `[batch, 3, height, width]`
    fn apply(&self, images: Tensor<4>) -> Tensor<4> {
        let device = images.device();
        let channels = |values: [f32; 3]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 1]), &device)
        };
        let factor = channels(self.image_std.map(|std| 0.5 / std));
        let mut shift = self.image_mean;
        for (mean, std) in shift.iter_mut().zip(self.image_std) {
            *mean = (0.5 - *mean) / std;
        }
        images * factor + channels(shift)
    }
}

/// Why the files of a CLIP reward could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipRewardError {
    /// Weights, or a file beside them.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The sizes of the network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// CLIP's score of a picture and its prompt, exp(logit_scale) cos(image, text)
/// (Radford et al. 2021, arXiv:2103.00020, figure 3).
///
/// The cosine is scaled because preference models are trained so: the difference of two scores
/// is then the log odds that the first picture is preferred, in the unit that the Bradley-Terry
/// loss of PickScore and HPSv2 gives it.
///
/// The network lies on a plain device and is a constant of every tape; gradients reach the
/// pictures only.
#[derive(Debug)]
pub struct ClipReward {
    name: String,
    version: String,
    model: ClipModel,
    tokenizer: Tokenizer,
    preprocessing: Preprocessing,
    image_size: usize,
}

impl ClipReward {
    /// A reward called `name`. Its version is the hash of the weights.
    pub fn new(
        name: impl Into<String>,
        config: &ClipConfig,
        model: ClipModel,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing,
    ) -> Self {
        Self {
            name: name.into(),
            version: weights::hash(&model),
            model,
            tokenizer,
            preprocessing,
            image_size: config.vision_config.image_size,
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
        let config: serde_json::Value = folder.read_config(&at("config.json"))?;
        let config = ClipConfig::from_json(&config.to_string())?;
        let preprocessing = folder.read_config(&at("preprocessor_config.json"))?;
        let tokenizer = Tokenizer::from_files(|file| read_text(folder, &at(file)))?;
        let model = weights::load(config.init(device), &folder.tensors(sub)?)?;
        Ok(Self::new(name, &config, model, tokenizer, preprocessing))
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
        self.model.image_features(self.preprocessing.apply(images))
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
    /// Panics if the pictures do not have the network's size, or if a prompt has a word that its
    /// vocabulary lacks; the tokenizer tells before.
    fn score(&self, images: Tensor<4>, prompts: &[String]) -> Tensor<1> {
        let [batch, _, height, width] = images.dims();
        assert_eq!([height, width], [self.image_size; 2], "pictures for `{}`", self.name);
        assert_eq!(batch, prompts.len(), "one prompt for each picture");
        let device = images.device().inner();
        let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let ids = self
            .tokenizer
            .encode(&texts)
            .unwrap_or_else(|error| panic!("`{}` cannot score these prompts: {error}", self.name))
            .to_tensor(&device);
        self.model.score(self.preprocessing.apply(images), ids) * self.model.logit_scale()
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn check(&self, [height, width]: [usize; 2], prompts: &[String]) -> Result<(), ScoreError> {
        if [height, width] != [self.image_size; 2] {
            let (name, expected) = (self.name.clone(), self.image_size);
            return Err(ScoreError::PictureSize { name, expected, height, width });
        }
        let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        self.tokenizer.encode(&texts)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hyperalign_models::clip::{ClipTextConfig, ClipVisionConfig};
    use hyperalign_models::weights::{FileFloat, reinit, save};

    use super::*;
    use crate::emoji::{Picture, data, preferred_item, vocabulary};

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
        let preprocessing = Preprocessing { image_mean: [0.4; 3], image_std: [0.25; 3] };
        (ClipReward::new("tiny", &config, model, tokenizer, preprocessing), config)
    }

    fn items(count: u32, device: &Device) -> (Tensor<4>, Vec<String>) {
        let items = data::collect(0..count, |index| preferred_item(1, index));
        let images: Vec<&Picture> = items.iter().map(|item| &item.image).collect();
        let shape = [items.len(), 3, 64, 64];
        let values = TensorData::new(data::batch(images), shape);
        let prompts = items.into_iter().map(|item| item.caption).collect();
        (Tensor::from_data(values, device), prompts)
    }

    #[test]
    fn gradients_reach_the_pictures() {
        let device = Device::flex();
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
        let (reward, _) = tiny(&Device::flex());
        assert!(reward.check([64, 64], &["a dog".to_owned()]).is_ok());
        let message =
            |size, prompt: &str| reward.check(size, &[prompt.to_owned()]).unwrap_err().to_string();
        assert!(message([224, 64], "a dog").contains("224x64"));
        assert!(message([64, 64], "a gryphon").contains("gryphon"));
    }

    #[test]
    fn preprocessing_is_that_of_pixels_between_0_and_1() {
        let device = Device::flex();
        let preprocessing =
            Preprocessing { image_mean: [0.1, 0.5, 0.6], image_std: [0.2, 0.5, 0.1] };
        let black_and_white =
            Tensor::<4>::from_floats([[[[-1.0, 1.0]], [[-1.0, 1.0]], [[-1.0, 1.0]]]], &device);
        let found = preprocessing.apply(black_and_white).into_data().convert::<f32>();
        let expected = [-0.5, 4.5, -1.0, 1.0, -6.0, 4.0];
        for (found, expected) in found.as_slice::<f32>().unwrap().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
    }

    #[test]
    fn files_make_the_same_reward() {
        let device = Device::flex();
        let (reward, config) = tiny(&device);
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        write("config.json", serde_json::to_string(&config).unwrap());
        write("preprocessor_config.json", serde_json::to_string(&reward.preprocessing).unwrap());
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
