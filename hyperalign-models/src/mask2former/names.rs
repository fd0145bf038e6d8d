//! The keys of published files.

use burn::tensor::{Device, FloatDType};

use super::{Mask2Former, Mask2FormerConfig};
use crate::weights::{Key, LoadError, Tensors, keys, load_in};

/// The name of theirs that a field cannot have, and ours.
const SELF: (&str, &str) = (".attention.self.", ".attention.attend.");
/// A buffer of the training loss: how much each class counts.
pub(crate) const EMPTY_WEIGHT: &str = "criterion.empty_weight";
/// A buffer of each window attention, which the window's size alone determines.
pub(crate) const POSITION_INDEX: &str = ".attention.self.relative_position_index";
/// The norm after the whole backbone, which nothing uses. transformers 5 writes it into files.
pub(crate) const UNUSED_NORM: [&str; 2] = [
    "model.pixel_level_module.encoder.swin.layernorm.weight",
    "model.pixel_level_module.encoder.swin.layernorm.bias",
];

/// The keys of the published file of a network of these sizes. The buffers of window positions
/// are left out.
pub fn published_keys(config: &Mask2FormerConfig) -> Vec<Key> {
    let networks = keys(&config.init(&Device::default())).into_iter();
    let networks = networks.map(|key| Key { name: key.name.replace(SELF.1, SELF.0), ..key });
    let loss = Key { name: EMPTY_WEIGHT.to_owned(), shape: vec![config.classes() + 1] };
    networks.chain([loss]).collect()
}

/// What `tensors` hold beside the network of these sizes, and reading passes over: buffers of the
/// loss and of window positions, a norm that nothing uses. One of another shape is none of them.
pub fn extras(config: &Mask2FormerConfig, tensors: &Tensors) -> Vec<String> {
    let tokens = config.backbone_config.window_size.pow(2);
    let width = config.backbone_config.widths().last().copied().unwrap_or_default();
    let is_extra = |key: &str, shape: &[usize]| match key {
        EMPTY_WEIGHT => shape == [config.classes() + 1],
        _ if key.ends_with(POSITION_INDEX) => shape == [tokens, tokens],
        _ => UNUSED_NORM.contains(&key) && shape == [width],
    };
    let extras = tensors.iter().filter(|(key, shape)| is_extra(key, shape));
    extras.map(|(key, _)| key.to_owned()).collect()
}

/// Reads the network of the sizes `config` from `tensors`, under the names of
/// `Mask2FormerForUniversalSegmentation`.
///
/// # Errors
///
/// Fails if the tensors are not exactly those of the network; [what is none of its
/// weights](extras) may be there or not.
pub fn load(
    config: &Mask2FormerConfig,
    tensors: &Tensors,
    device: &Device,
    dtype: Option<FloatDType>,
) -> Result<Mask2Former, LoadError> {
    let extras = extras(config, tensors);
    let ours = |key: &str| Some(key.replace(SELF.0, SELF.1));
    load_in(config.init(device), &tensors.clone().without(&extras).rename(ours), dtype)
}
