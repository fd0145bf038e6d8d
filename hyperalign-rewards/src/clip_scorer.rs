//! What the rewards that are a CLIP dual encoder have in common.

use burn::tensor::{Device, Int, Tensor};
use hyperalign_core::image::from_images;
use hyperalign_models::{
    clip::{ClipConfig, ClipModel, ClipPreprocess, open_clip},
    tokenizer::Tokenizer,
    weights::{Tensors, hash_of, reinit},
};
use image::RgbImage;

use crate::{
    OpenError, Reward, ScoreError, emoji,
    source::{Source, differences},
};

/// A picture longer than this many times its width says nothing after a square was cut out of
/// it, and would fill the memory when its shorter side is enlarged.
const MOST_ELONGATED: usize = 64;

/// What versions say of a network that is not the published one.
pub(crate) const OTHER_SIZES: &str = "not of the published sizes,";

/// How the published scorer prepares 8-bit pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pictures {
    /// By PIL: rounded to 8 bits after each axis.
    Pil,
    /// As tensors, by torch's antialiased resize: not rounded.
    Tensor,
}

/// What the cosine of picture and text is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Nothing.
    One,
    /// `exp(logit_scale)`, which is part of the weights.
    Logit,
}

/// One kind of score that a CLIP gives.
#[derive(Debug, Clone)]
pub(crate) struct ClipKind {
    pub name: &'static str,
    /// What tells it from another of the same name, besides its weights.
    pub version: &'static str,
    pub pictures: Pictures,
    pub scale: Scale,
    /// Whether texts go in as OpenAI's code and open_clip's have it.
    pub cleans_texts: bool,
    /// Sizes of the published network.
    pub config: fn() -> ClipConfig,
}

/// A CLIP dual encoder as a reward: the cosine of picture and text, scaled.
#[derive(Debug)]
pub(crate) struct ClipScorer {
    kind: ClipKind,
    version: String,
    model: ClipModel,
    tokenizer: Tokenizer,
    preprocess: ClipPreprocess,
}

impl ClipScorer {
    /// Opens the weights that `weights` gives, with sizes and tokenizer from `source`.
    pub(crate) fn open(
        kind: ClipKind,
        source: &Source,
        weights: Tensors,
        device: &Device,
    ) -> Result<Self, OpenError> {
        let (model, _) = open_clip_model(kind.name, source, (kind.config)(), weights, device)?;
        let tokenizer =
            source.clip_tokenizer(model.config().text_config.max_position_embeddings)?;
        Ok(Self::new(kind, model, tokenizer))
    }

    fn new(kind: ClipKind, model: ClipModel, tokenizer: Tokenizer) -> Self {
        let tokenizer = if kind.cleans_texts { tokenizer.as_open_clip() } else { tokenizer };
        let version = match differences(model.config(), &(kind.config)()).is_empty() {
            true => format!("{} {}", kind.version, fingerprint(&model)),
            false => format!("{OTHER_SIZES} {}", fingerprint(&model)),
        };
        let preprocess = ClipPreprocess::new(model.config().vision_config.image_size);
        Self { kind, version, model, tokenizer, preprocess }
    }

    /// The published sizes with random weights and the embedded world's words.
    pub(crate) fn random(kind: ClipKind, device: &Device) -> Result<Self, OpenError> {
        let config = (kind.config)();
        let model = reinit(config.init(device), 1);
        let words = random_tokenizer(config.text_config.max_position_embeddings)?;
        Ok(Self::new(ClipKind { cleans_texts: false, ..kind }, model, words))
    }

    /// The score of prepared pictures.
    fn of_prepared(&self, images: Tensor<4>, prompts: &[String]) -> Tensor<1> {
        let ids = ids(&self.tokenizer, prompts, self.kind.name, &plain(&images));
        let score = self.model.score(images, ids);
        match self.kind.scale {
            Scale::One => score,
            Scale::Logit => score * self.model.logit_scale(),
        }
    }
}

impl Reward for ClipScorer {
    fn name(&self) -> &str {
        self.kind.name
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn score(&self, images: Tensor<4>, prompts: &[String]) -> Tensor<1> {
        self.of_prepared(self.preprocess.forward(unit(images)), prompts)
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn score_pictures(
        &self,
        pictures: &[RgbImage],
        prompts: &[String],
        device: &Device,
    ) -> Vec<f32> {
        let Self { preprocess, kind, .. } = self;
        score_prepared(preprocess, kind.pictures, pictures, prompts, device, |images| {
            self.of_prepared(images, prompts)
        })
    }

    fn check(&self, size: [usize; 2], prompts: &[String]) -> Result<(), ScoreError> {
        check_size(self.kind.name, size)?;
        check_prompts(&self.tokenizer, prompts)
    }
}

/// Reads the CLIP of the reward called `name`, whose sizes `source` states, or else `published`.
pub(crate) fn open_clip_model(
    name: &str,
    source: &Source,
    published: ClipConfig,
    weights: Tensors,
    device: &Device,
) -> Result<(ClipModel, ClipConfig), OpenError> {
    let config = source.clip_config(name, published)?;
    // The JSON of transformers' models says what their own files need; in open_clip's layout
    // the end token is always the highest.
    let config = match open_clip::is_open_clip(&weights) {
        true => {
            let mut config = config;
            config.text_config.eos_token_id = 2;
            config
        }
        false => config,
    };
    Ok((ClipModel::from_tensors(&config, weights, device)?, config))
}

/// A short hash of what both encoders end in: training changes it, and it is small.
pub(crate) fn fingerprint(model: &ClipModel) -> String {
    let last = |key: &str| key.ends_with("_projection.weight") || key == "logit_scale";
    hash_of(model, last)[..12].to_owned()
}

/// A tokenizer that goes with random weights.
pub(crate) fn random_tokenizer(context_length: usize) -> Result<Tokenizer, OpenError> {
    let words = emoji::vocabulary();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(Tokenizer::from_words(&words, context_length)?)
}

/// The device of `x` without a tape: weights and ids are constants.
pub(crate) fn plain(x: &Tensor<4>) -> Device {
    if x.is_autodiff() { x.device().inner() } else { x.device() }
}

/// Pixels in `[0, 1]` from those in `[-1, 1]`. What a decoder put outside is clipped, as it is
/// when the picture is stored.
pub(crate) fn unit(images: Tensor<4>) -> Tensor<4> {
    images.add_scalar(1.0).div_scalar(2.0).clamp(0.0, 1.0)
}

/// What `score` gives to 8-bit pictures that were prepared as the published scorer does it.
///
/// # Panics
///
/// Panics if there are not as many prompts as pictures.
pub(crate) fn score_prepared(
    preprocess: &ClipPreprocess,
    way: Pictures,
    pictures: &[RgbImage],
    prompts: &[String],
    device: &Device,
    score: impl FnOnce(Tensor<4>) -> Tensor<1>,
) -> Vec<f32> {
    assert_eq!(pictures.len(), prompts.len(), "one prompt for each picture");
    if pictures.is_empty() {
        return Vec::new();
    }
    score(prepared(preprocess, way, pictures, device)).into_data().iter().collect()
}

/// Pictures as the published scorer prepares them, in one batch.
fn prepared(
    preprocess: &ClipPreprocess,
    way: Pictures,
    pictures: &[RgbImage],
    device: &Device,
) -> Tensor<4> {
    let each = pictures.iter().map(|picture| match way {
        Pictures::Pil => preprocess.picture(picture, device),
        Pictures::Tensor => {
            preprocess.forward(unit(from_images(std::slice::from_ref(picture), device)))
        }
    });
    Tensor::cat(each.collect(), 0)
}

/// The ids of prompts.
///
/// # Panics
///
/// Panics for prompts that the tokenizer refuses.
pub(crate) fn ids(
    tokenizer: &Tokenizer,
    prompts: &[String],
    name: &str,
    device: &Device,
) -> Tensor<2, Int> {
    let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    tokenizer
        .encode(&texts)
        .unwrap_or_else(|error| panic!("`{name}` cannot score these prompts: {error}"))
        .to_tensor(device)
}

/// Whether prompts can be encoded.
pub(crate) fn check_prompts(tokenizer: &Tokenizer, prompts: &[String]) -> Result<(), ScoreError> {
    let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    tokenizer.encode(&texts)?;
    Ok(())
}

/// Whether a square can be cut out of a picture.
pub(crate) fn check_size(name: &str, [height, width]: [usize; 2]) -> Result<(), ScoreError> {
    let (shorter, longer) = (height.min(width), height.max(width));
    if shorter == 0 || longer > MOST_ELONGATED * shorter {
        let name = name.to_owned();
        return Err(ScoreError::Elongated { name, height, width, most: MOST_ELONGATED });
    }
    Ok(())
}
