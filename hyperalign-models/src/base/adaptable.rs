//! What can be adapted in a base.

use std::path::Path;

use hyperalign_core::lora::{LoraSet, LoraTarget};

use super::BaseError;
use crate::{hypernet::Perception, lora::Layers};

/// The layers of a base that an adapter changes, and what a hypernetwork sees of it.
pub trait Adaptable: Perception {
    /// The attention projections that an adapter changes, in their stable order.
    fn lora_targets(&self) -> Vec<LoraTarget>;

    /// The attention projections of a text stream, which an adapter changes on demand, in their
    /// stable order.
    fn text_targets(&self) -> Vec<LoraTarget> {
        Vec::new()
    }

    /// All layers that LoRA files of other programs may name; none for a base that is in no such
    /// program.
    fn lora_layers(&self) -> Option<Layers> {
        None
    }

    /// Writes the base with `update` laid into the weights of its denoiser: a folder in diffusers'
    /// layout in f32, which is there whole or not at all.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be written, or the base cannot be written as one.
    fn save_changed(&self, update: &LoraSet, path: &Path) -> Result<(), BaseError>;

    /// Channels of [`Perception::features_at`] this depth.
    fn feature_dim(&self, depth: Option<usize>) -> usize;
}
