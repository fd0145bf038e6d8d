//! What networks take for each picture that they score, counted from their sizes.
//!
//! Counted are numbers in f32 that are held at once, off the tape and with fused attention, which
//! never holds the scores of all heads. The estimate is to be above what is taken: where one tensor
//! may be freed before another is made, both count.

use hyperalign_models::{
    bert::BertConfig,
    blip::BlipConfig,
    clip::{ClipConfig, ClipTextConfig, ClipVisionConfig},
};

/// Bytes of an f32.
const FLOAT: usize = 4;
/// Channels of a picture.
const CHANNELS: usize = 3;
/// Prepared pictures that are held at once: each by itself, all in one tensor, and the patches that
/// the first convolution copies out of them, before and after they are laid out for a product.
const PREPARED: usize = 4;

/// The transformer blocks of a network, one of which runs at a time.
struct Blocks {
    /// Of the sequence.
    tokens: usize,
    /// Of the states.
    width: usize,
    /// Between the two linear layers of the perceptron.
    intermediate: usize,
    /// States of the whole sequence that stay while the block runs.
    kept: usize,
}

impl Blocks {
    /// States that attention holds: the norm's result, queries, keys and values, these three again
    /// with a head's numbers side by side, and what was attended to before and after the last layer.
    const ATTENTION: usize = 9;
    /// Tensors of the perceptron's width: before, in and after the activation.
    const PERCEPTRON: usize = 3;

    /// Numbers that are held at most. Attention is over when the perceptron begins, which has the
    /// norm's result and its own beside its hidden states.
    fn numbers(&self) -> usize {
        let attention = Self::ATTENTION * self.width;
        let perceptron = 2 * self.width + Self::PERCEPTRON * self.intermediate;
        self.tokens * (self.kept * self.width + attention.max(perceptron))
    }
}

/// A prepared picture of `size` x `size`.
fn prepared(size: usize) -> usize {
    PREPARED * CHANNELS * size * size
}

/// The way of a picture through CLIP's vision side, which keeps the states before the first block
/// and after each.
fn clip_vision(config: &ClipVisionConfig) -> usize {
    let blocks = Blocks {
        tokens: config.patches() + 1,
        width: config.hidden_size,
        intermediate: config.intermediate_size,
        kept: config.num_hidden_layers + 1,
    };
    prepared(config.image_size) + blocks.numbers()
}

/// The way of a prompt through CLIP's text side, which keeps states as the other side does. Its
/// pictures are prepared and stay.
fn clip_text(config: &ClipTextConfig) -> usize {
    let blocks = Blocks {
        tokens: config.max_position_embeddings,
        width: config.hidden_size,
        intermediate: config.intermediate_size,
        kept: config.num_hidden_layers + 1,
    };
    blocks.numbers()
}

/// Bytes for each picture that a CLIP looks at without a prompt.
pub(crate) fn of_clip_pictures(config: &ClipConfig) -> u64 {
    (FLOAT * clip_vision(&config.vision_config)) as u64
}

/// Bytes for each picture that a CLIP scores against a prompt: the larger of its sides, which run
/// one after the other.
pub(crate) fn of_clip(config: &ClipConfig) -> u64 {
    let picture = clip_vision(&config.vision_config);
    let prompt = prepared(config.vision_config.image_size) + clip_text(&config.text_config);
    (FLOAT * picture.max(prompt)) as u64
}

/// Bytes for each picture that ImageReward's BLIP scores against a prompt of `tokens`: the larger of
/// its two networks, the second of which holds what the first one saw, and its keys and values.
pub(crate) fn of_blip(config: &BlipConfig, tokens: usize) -> u64 {
    let BlipConfig { vision, bert } = config;
    let patches = (vision.img_size / vision.patch_size).pow(2) + 1;
    let picture = Blocks {
        tokens: patches,
        width: vision.embed_dim,
        intermediate: 4 * vision.embed_dim,
        // The block's input.
        kept: 1,
    };
    // Keys and values of the patches, each twice.
    let seen = patches * (vision.embed_dim + 4 * bert.hidden_size);
    let second = bert_text(bert, tokens) + seen;
    (FLOAT * (prepared(vision.img_size) + picture.numbers().max(second))) as u64
}

/// The way of a prompt through BERT.
fn bert_text(config: &BertConfig, tokens: usize) -> usize {
    let blocks = Blocks {
        tokens,
        width: config.hidden_size,
        intermediate: config.intermediate_size,
        // The block's input, and after attention to the text its result.
        kept: 2,
    };
    // The mask, which is a bias of every head.
    blocks.numbers() + config.num_attention_heads * tokens * tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sizes() {
        let mib = |bytes: u64| bytes >> 20;
        // 257 x 1024 numbers are 1 MiB: 25 states that stay, 2, and 3 of four times the width.
        assert_eq!(mib(of_clip(&ClipConfig::vit_l_14())), 41);
        assert_eq!(of_clip(&ClipConfig::vit_l_14()), of_clip_pictures(&ClipConfig::vit_l_14()));
        assert_eq!(mib(of_clip(&ClipConfig::vit_h_14())), 61);
        assert_eq!(mib(of_blip(&BlipConfig::image_reward(), 35)), 13);
    }

    #[test]
    fn a_large_text_side_counts() {
        let mut config = ClipConfig::vit_l_14();
        config.text_config.max_position_embeddings = 2000;
        assert!(of_clip(&config) > 2 * of_clip_pictures(&config));
    }
}
