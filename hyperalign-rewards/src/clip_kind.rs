//! The published rewards that are a CLIP dual encoder.

use burn::tensor::Device;
use hyperalign_core::resize::Filter;
use hyperalign_models::{
    clip::{ClipConfig, ClipModel, ClipPreprocess, open_clip},
    tokenizer::Tokenizer,
    weights::{Tensors, hash_of, reinit},
};

use crate::{
    ClipReward, OpenError, Reads,
    clip_reward::{Range, Scale},
    inputs::{Pictures, random_tokenizer},
    source::{Source, differences},
};

/// What versions say of a network that is not the published one.
pub(crate) const OTHER_SIZES: &str = "not of the published sizes,";

/// One kind of score that a published CLIP gives.
#[derive(Debug, Clone)]
pub(crate) struct ClipKind {
    pub name: &'static str,
    /// What tells it from another of the same name, besides its weights.
    pub version: &'static str,
    pub pictures: Pictures,
    /// How tensors are resized.
    pub filter: Filter,
    pub scale: Scale,
    /// What becomes of values beyond the range.
    pub range: Range,
    /// Whether texts go in as OpenAI's code and open_clip's have it.
    pub cleans_texts: bool,
    /// Sizes of the published network.
    pub config: fn() -> ClipConfig,
}

impl ClipKind {
    /// Opens the weights that `weights` gives, with sizes and tokenizer from `source`.
    pub(crate) fn open(
        self,
        source: &Source,
        weights: Tensors,
        device: &Device,
    ) -> Result<ClipReward, OpenError> {
        let model = open_clip_model(self.name, source, (self.config)(), weights, device)?;
        let tokenizer =
            source.clip_tokenizer(model.config().text_config.max_position_embeddings)?;
        let tokenizer = if self.cleans_texts { tokenizer.as_open_clip() } else { tokenizer };
        Ok(self.reward(model, tokenizer))
    }

    /// The published sizes with random weights and the embedded world's words.
    pub(crate) fn random(self, device: &Device) -> Result<ClipReward, OpenError> {
        let config = (self.config)();
        let model = reinit(config.init(device), 1);
        let words = random_tokenizer(config.text_config.max_position_embeddings)?;
        Ok(self.reward(model, words))
    }

    fn reward(self, model: ClipModel, tokenizer: Tokenizer) -> ClipReward {
        let version = match differences(model.config(), &(self.config)()).is_empty() {
            true => format!("{} {}", self.version, fingerprint(&model)),
            false => format!("{OTHER_SIZES} {}", fingerprint(&model)),
        };
        let size = model.config().vision_config.image_size;
        let step_aware = model.is_step_aware();
        ClipReward {
            name: self.name.to_owned(),
            version,
            model,
            tokenizer,
            preprocess: ClipPreprocess { filter: self.filter, ..ClipPreprocess::new(size) },
            pictures: self.pictures,
            scale: self.scale,
            range: self.range,
            reads: if step_aware { Reads::Tensors } else { Reads::Pictures },
        }
    }
}

/// Reads the CLIP of the reward called `name`, whose sizes `source` states, or else `published`.
pub(crate) fn open_clip_model(
    name: &str,
    source: &Source,
    published: ClipConfig,
    weights: Tensors,
    device: &Device,
) -> Result<ClipModel, OpenError> {
    let step_aware = published.step_aware;
    // The JSON beside a step-aware network is that of the CLIP which it was made of.
    let mut config = source.clip_config(name, ClipConfig { step_aware: false, ..published })?;
    config.step_aware = step_aware;
    // The JSON of transformers' models says what their own files need; in open_clip's layout
    // the end token is always the highest.
    if open_clip::is_open_clip(&weights) {
        config.text_config.eos_token_id = 2;
    }
    Ok(ClipModel::from_tensors(&config, weights, device)?)
}

/// A short hash of what both encoders end in: training changes it, and it is small.
pub(crate) fn fingerprint(model: &ClipModel) -> String {
    let last = |key: &str| key.ends_with("_projection.weight") || key == "logit_scale";
    hash_of(model, last)[..12].to_owned()
}
