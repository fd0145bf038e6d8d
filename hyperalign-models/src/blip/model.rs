//! The two networks together, and the head that makes a score of them.

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, s},
};

use super::{BlipConfig, BlipVision};
use crate::{
    affine::AffineHead,
    bert::{self, BertModel},
    weights::{Key, LoadError, Tensors, keys, load},
};

/// What the head's results are standardised by: mean and deviation that were published with
/// ImageReward v1.0.
const MEAN: f64 = 0.167_173_628_300_525_24;
const STD: f64 = 1.033_339_496_605_407_2;

/// What BLIP was trained with and ImageReward does not use: projections for its contrastive loss.
const UNUSED: [&str; 2] = ["vision_proj.", "text_proj."];
/// Their tensors.
const UNUSED_PARTS: [&str; 2] = ["weight", "bias"];
/// Their width.
const UNUSED_WIDTH: usize = 256;
/// Where the file keeps the two networks, and the head.
const NETWORKS: &str = "blip.";
/// The numbers from 0 on of BERT's positions.
const POSITIONS: &str = "text_encoder.embeddings.position_ids";
const HEAD: &str = "mlp.";

/// A picture and a text, read together.
#[derive(Module, Debug)]
pub struct Blip {
    visual_encoder: BlipVision,
    text_encoder: BertModel,
}

impl BlipConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if the heads do not divide the width on either side.
    pub fn init(&self, device: &Device) -> Blip {
        Blip { visual_encoder: self.vision.init(device), text_encoder: self.bert.init(device) }
    }
}

impl Blip {
    /// States of class token and patches.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, 3, img_size, img_size]`, normalised
    /// - output: `[batch, 1 + patches, embed_dim]`
    pub fn image(&self, image: Tensor<4>) -> Tensor<3> {
        self.visual_encoder.forward(image)
    }

    /// States of texts that look at pictures.
    ///
    /// # Shapes
    ///
    /// - `ids` and `mask`: `[batch, tokens]`; 0 in the mask is padding
    /// - `image`: `[batch, 1 + patches, embed_dim]`, of [`image`](Self::image)
    /// - output: `[batch, tokens, hidden_size]`
    pub fn text(&self, ids: Tensor<2, Int>, mask: Tensor<2, Int>, image: Tensor<3>) -> Tensor<3> {
        self.text_encoder.forward(ids, mask, Some(image))
    }
}

/// ImageReward: [`Blip`] and an affine head on the first token's state (Xu et al. 2023,
/// arXiv:2304.05977, section 2.3).
#[derive(Debug)]
pub struct BlipReward {
    blip: Blip,
    head: AffineHead,
    passed_over: Vec<String>,
}

impl BlipReward {
    /// A reward of these parts; `head` gives what is not standardised yet.
    pub fn new(blip: Blip, head: AffineHead) -> Self {
        Self { blip, head, passed_over: Vec::new() }
    }

    /// Reads the network of the sizes `config` from `tensors`, under the names of the published
    /// `ImageReward.pt`.
    ///
    /// # Errors
    ///
    /// Fails if the tensors are not exactly those of the network. Buffers of positions and the
    /// two projections that nothing uses may be there or not.
    pub fn from_tensors(
        config: &BlipConfig,
        tensors: &Tensors,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let is_extra = |key: &str| {
            key.strip_prefix(NETWORKS).is_some_and(|key| {
                let is_part_of = |unused: &&str| {
                    key.strip_prefix(*unused).is_some_and(|part| UNUSED_PARTS.contains(&part))
                };
                key == POSITIONS || UNUSED.iter().any(is_part_of)
            })
        };
        let extras = tensors.iter().map(|(key, _)| key).filter(|key| is_extra(key));
        let passed_over: Vec<String> = extras.map(str::to_owned).collect();
        let networks = tensors.clone().without(&passed_over).rename(|key| {
            let name = || bert::our_name(key.strip_prefix(NETWORKS).unwrap_or(key));
            (!key.starts_with(HEAD)).then(name)
        });
        let head = AffineHead::from_tensors(&tensors.below(HEAD))?;
        Ok(Self { blip: load(config.init(device), &networks)?, head, passed_over })
    }

    /// What the file held beside the networks and the head, and was not read.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The keys of the published file for a network of these sizes, buffers left out.
    pub fn keys(config: &BlipConfig) -> Vec<Key> {
        let device = Device::default();
        let below = |prefix: &str, key: Key| Key { name: format!("{prefix}{}", key.name), ..key };
        let networks = keys(&config.init(&device))
            .into_iter()
            .map(|key| below(NETWORKS, Key { name: bert::their_name(&key.name), ..key }));
        let widths = [config.vision.embed_dim, config.bert.hidden_size];
        let unused = UNUSED.into_iter().zip(widths).flat_map(|(name, width)| {
            [("weight", vec![UNUSED_WIDTH, width]), ("bias", vec![UNUSED_WIDTH])]
                .map(|(part, shape)| below(NETWORKS, Key { name: format!("{name}{part}"), shape }))
        });
        let head = AffineHead::keys(config.bert.hidden_size);
        networks.chain(unused).chain(head.into_iter().map(|key| below(HEAD, key))).collect()
    }

    /// The networks.
    pub fn blip(&self) -> &Blip {
        &self.blip
    }

    /// The head's result for states of texts, before and after it is standardised.
    ///
    /// # Shapes
    ///
    /// - `states`: `[batch, tokens, hidden_size]`, of [`Blip::text`]
    /// - output: `[batch]` each
    pub fn head(&self, states: Tensor<3>) -> [Tensor<1>; 2] {
        let first: Tensor<2> = states.slice(s![.., 0..1, ..]).squeeze_dim(1);
        let raw = self.head.forward(first);
        [raw.clone(), raw.sub_scalar(MEAN).div_scalar(STD)]
    }

    /// The score of each picture and its text.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, 3, img_size, img_size]`, normalised
    /// - `ids` and `mask`: `[batch, tokens]`; 0 in the mask is padding
    /// - output: `[batch]`
    pub fn score(&self, image: Tensor<4>, ids: Tensor<2, Int>, mask: Tensor<2, Int>) -> Tensor<1> {
        let states = self.blip.text(ids, mask, self.blip.image(image));
        let [_, score] = self.head(states);
        score
    }
}
