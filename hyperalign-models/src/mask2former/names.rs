//! The keys of published files.

use burn::tensor::Device;

use super::{Mask2Former, Mask2FormerConfig};
use crate::{
    swin,
    weights::{
        self, Key, LoadError, Tensors, keys,
        published::{MmdetNames, read_as},
    },
};

/// A buffer of the training loss: how much each class counts.
pub(crate) const EMPTY_WEIGHT: &str = "criterion.empty_weight";
/// Where the backbone lies.
const BACKBONE: &str = "model.pixel_level_module.encoder.";

/// The keys of the published file of a network of these sizes. The lists of places in the
/// backbone's windows are left out.
pub fn published_keys(config: &Mask2FormerConfig) -> Vec<Key> {
    let loss = Key { name: EMPTY_WEIGHT.to_owned(), shape: vec![config.classes() + 1] };
    weight_keys(config).into_iter().chain([loss]).collect()
}

/// The keys of a file of mmdetection of a network of these sizes, without the lists of places in the
/// backbone's windows.
pub fn mmdet_keys(config: &Mask2FormerConfig, names: MmdetNames) -> Vec<Key> {
    let ours = keys(&config.init(&Device::default()));
    weights::published::published_keys(&ours, |key| names.mask2former(key))
}

/// Those of [`published_keys`] that a file must have.
pub fn weight_keys(config: &Mask2FormerConfig) -> Vec<Key> {
    let keys = keys(&config.init(&Device::default())).into_iter();
    keys.map(|key| Key { name: swin::their_name(&key.name), ..key }).collect()
}

/// What `tensors` hold beside the network of these sizes, and reading passes over: a buffer of the
/// loss, and [what backbones come with](swin::extras). One of another shape is none of them.
pub fn extras(config: &Mask2FormerConfig, tensors: &Tensors) -> Vec<String> {
    if MmdetNames::of(tensors).is_some() {
        return MmdetNames::extras(tensors, config.backbone_config.window_size.pow(2));
    }
    let is_loss = tensors.shape(EMPTY_WEIGHT) == Some(&[config.classes() + 1]);
    let loss = is_loss.then(|| EMPTY_WEIGHT.to_owned());
    let backbone = swin::extras(&config.backbone_config, tensors, BACKBONE);
    loss.into_iter().chain(backbone).collect()
}

/// Reads the network of the sizes `config` from `tensors`, under the names of
/// `Mask2FormerForUniversalSegmentation` or those of mmdetection.
///
/// # Errors
///
/// Fails if the tensors are not exactly those of the network; [what is none of its
/// weights](extras) may be there or not.
pub fn load(
    config: &Mask2FormerConfig,
    tensors: &Tensors,
    device: &Device,
) -> Result<Mask2Former, LoadError> {
    let network = config.init(device);
    let names = MmdetNames::of(tensors);
    let tensors = tensors.clone().without(&extras(config, tensors));
    if let Some(names) = names {
        let tensors = read_as(&tensors, &keys(&network), |key| names.mask2former(key))?;
        return weights::load(network, &tensors);
    }
    weights::load(network, &tensors.rename(|key| Some(swin::our_name(key))))
}
