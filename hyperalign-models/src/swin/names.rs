//! The keys of published files.

use burn::tensor::Device;

use super::{SwinBackbone, SwinConfig};
use crate::weights::{LoadError, Tensors};

/// The name of theirs that a field cannot have, and ours.
const SELF: (&str, &str) = (".attention.self.", ".attention.attend.");
/// A buffer of each window attention, which the window's size alone determines.
pub(crate) const POSITION_INDEX: &str = ".attention.self.relative_position_index";
/// The norm after the whole backbone, which nothing uses. transformers 5 writes it into files.
pub(crate) const UNUSED_NORM: &str = "swin.layernorm.";

/// Our name of a published key.
pub(crate) fn our_name(key: &str) -> String {
    key.replace(SELF.0, SELF.1)
}

/// The published name of one of our keys.
pub(crate) fn their_name(key: &str) -> String {
    key.replace(SELF.1, SELF.0)
}

/// What `tensors` hold beside the network of these sizes, below `prefix`, and reading passes over:
/// the lists of places in windows, a norm that nothing uses. One of another shape is none of them.
pub fn extras(config: &SwinConfig, tensors: &Tensors, prefix: &str) -> Vec<String> {
    let tokens = config.window_size.pow(2);
    let width = config.widths().last().copied().unwrap_or_default();
    let is_extra = |key: &str, shape: &[usize]| {
        let Some(key) = key.strip_prefix(prefix) else { return false };
        let is_norm =
            ["weight", "bias"].iter().any(|part| key.strip_prefix(UNUSED_NORM) == Some(part));
        (key.ends_with(POSITION_INDEX) && shape == [tokens, tokens])
            || (is_norm && shape == [width])
    };
    let extras = tensors.iter().filter(|(key, shape)| is_extra(key, shape));
    extras.map(|(key, _)| key.to_owned()).collect()
}

/// Reads a backbone of the sizes `config` that has a file of its own.
///
/// # Errors
///
/// Fails if the tensors are not exactly those of the network; [what is none of its
/// weights](extras) may be there or not.
pub fn load(
    config: &SwinConfig,
    tensors: &Tensors,
    device: &Device,
) -> Result<SwinBackbone, LoadError> {
    let tensors = tensors.clone().without(&extras(config, tensors, ""));
    crate::weights::load(config.init(device), &tensors.rename(|key| Some(our_name(key))))
}
