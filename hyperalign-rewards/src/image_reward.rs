//! ImageReward: BLIP reads picture and prompt together, and a head gives a score that is about
//! standard normal over its training data (Xu et al. 2023, arXiv:2304.05977).

use burn::tensor::{Device, Tensor};
use hyperalign_models::{
    affine::AffineHead,
    blip::{BLIP_MARKS, BlipConfig, BlipReward},
    clip::ClipPreprocess,
    tokenizer::Tokenizer,
    weights::{LoadError, hash_of, reinit},
};
use image::RgbImage;

use crate::{
    OpenError, Prompt, Reward, ScoreError,
    clip_kind::OTHER_SIZES,
    inputs::{check_prompts, check_size, ids, plain, random_tokenizer, score_prepared, unit},
    memory,
    registry::Entry,
    source::{Source, differences},
};

const NAME: &str = "image_reward";
const FILE: &str = "ImageReward.pt";
const CONFIG: &str = "config.json";
/// Tokens of a prompt; the rest is cut off.
const TOKENS: usize = 35;

pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    about: "ImageReward v1.0: BLIP trained on rankings, about standard normal",
    files: "ImageReward.pt of THUDM/ImageReward, and tokenizer.json or vocab.txt of bert-base-uncased",
    open: |source, device| Ok(Box::new(ImageReward::open(source, device)?)),
    random: |device| Ok(Box::new(ImageReward::random(device)?)),
};

/// Tokens of a prompt that a network of these sizes reads.
fn tokens(config: &BlipConfig) -> usize {
    TOKENS.min(config.bert.max_position_embeddings)
}

#[derive(Debug)]
struct ImageReward {
    version: String,
    model: BlipReward,
    tokenizer: Tokenizer,
    preprocess: ClipPreprocess,
    memory_per_picture: u64,
}

impl ImageReward {
    /// A `config.json` beside the weights may state the sizes `vision` and `bert`.
    fn open(source: &Source, device: &Device) -> Result<Self, OpenError> {
        let config = match source.json(CONFIG)? {
            Some(json) => serde_json::from_value(json).map_err(|error| LoadError::Config {
                file: CONFIG.to_owned(),
                reason: error.to_string(),
            })?,
            None => BlipConfig::image_reward(),
        };
        source.check_sizes(NAME, CONFIG, differences(&config, &BlipConfig::image_reward()))?;
        let model = BlipReward::from_tensors(&config, &source.weights(&[FILE])?, device)?;
        let mut tokenizer = source.bert_tokenizer(tokens(&config))?;
        if tokenizer.vocab_size() + BLIP_MARKS.len() <= config.bert.vocab_size {
            tokenizer = tokenizer.with_marks(&BLIP_MARKS)?;
        }
        Ok(Self::new(&config, model, tokenizer))
    }

    fn new(config: &BlipConfig, model: BlipReward, tokenizer: Tokenizer) -> Self {
        let first = |key: &str| key.starts_with("text_encoder.encoder.layer.0.");
        let fingerprint = &hash_of(model.blip(), first)[..12];
        let version = match differences(config, &BlipConfig::image_reward()).is_empty() {
            true => format!("v1.0 {fingerprint}"),
            false => format!("{OTHER_SIZES} {fingerprint}"),
        };
        let preprocess = ClipPreprocess::new(config.vision.img_size);
        let memory_per_picture = memory::of_blip(config, tokens(config));
        Self { version, model, tokenizer, preprocess, memory_per_picture }
    }

    fn random(device: &Device) -> Result<Self, OpenError> {
        let config = BlipConfig::image_reward();
        let head = AffineHead::new(vec![1.0; config.bert.hidden_size], 0.0);
        let model = BlipReward::new(reinit(config.init(device), 1), head);
        Ok(Self::new(&config, model, random_tokenizer(TOKENS)?))
    }

    /// The score of prepared pictures.
    fn of_prepared(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let ids = ids(&self.tokenizer, prompts, NAME, &plain(&images));
        let mask = ids.clone().not_equal_elem(self.tokenizer.pad() as i32).int();
        self.model.score(images, ids, mask)
    }
}

impl Reward for ImageReward {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        self.of_prepared(self.preprocess.forward(unit(images)), prompts)
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
        let prepare = |picture: &RgbImage| self.preprocess.picture(picture, device);
        score_prepared(pictures, prompts, prepare, |images| self.of_prepared(images, prompts))
    }

    fn passed_over(&self) -> Vec<String> {
        self.model.passed_over().to_vec()
    }

    fn memory_per_picture(&self) -> u64 {
        self.memory_per_picture
    }

    fn check(&self, size: [usize; 2], prompts: &[Prompt]) -> Result<(), ScoreError> {
        check_size(NAME, size)?;
        check_prompts(&self.tokenizer, prompts)
    }
}
