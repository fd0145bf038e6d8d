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
        let prepare = |picture: &RgbImage| match self.pictures {
            Pictures::Pil => self.preprocess.picture(picture, device),
            Pictures::Tensor => self.prepared(from_images(std::slice::from_ref(picture), device)),
        };
        score_prepared(pictures, prompts, prepare, |images| self.of_prepared(images, prompts, None))
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
mod tests;
