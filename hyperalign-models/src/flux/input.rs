//! What the network reads, and the beginning of a pass for whoever goes on from it.

use burn::tensor::Tensor;

use super::Position;

/// What the network reads.
#[derive(Debug, Clone)]
pub struct FluxInput {
    /// Packed noisy latents, `[batch, image_tokens, in_channels]`.
    pub tokens: Tensor<3>,
    /// Noise levels in `[0, 1]`, `[batch]`.
    pub timesteps: Tensor<1>,
    /// Weights of the guidance that the network was distilled from, `[batch]`, where it reads
    /// them.
    pub guidance: Option<Tensor<1>>,
    /// Token states of the text encoder, `[batch, text_tokens, joint_attention_dim]`.
    pub context: Tensor<3>,
    /// Pooled text features, `[batch, pooled_projection_dim]`.
    pub pooled: Tensor<2>,
    /// Positions of the text tokens.
    pub text_positions: Vec<Position>,
    /// Positions of the image tokens.
    pub image_positions: Vec<Position>,
}

impl FluxInput {
    /// The first `rows` of the batch.
    pub(super) fn first(&self, rows: usize) -> Self {
        Self {
            tokens: self.tokens.clone().narrow(0, 0, rows),
            timesteps: self.timesteps.clone().narrow(0, 0, rows),
            guidance: self.guidance.clone().map(|guidance| guidance.narrow(0, 0, rows)),
            context: self.context.clone().narrow(0, 0, rows),
            pooled: self.pooled.clone().narrow(0, 0, rows),
            text_positions: self.text_positions.clone(),
            image_positions: self.image_positions.clone(),
        }
    }
}

/// What the first double blocks made of some rows, without any update.
#[derive(Debug, Clone)]
pub struct FluxStart {
    /// Blocks that are done.
    pub(super) blocks: usize,
    /// Text and image tokens after them, `[rows, text_tokens + image_tokens, dim]`.
    pub(super) x: Tensor<3>,
}
