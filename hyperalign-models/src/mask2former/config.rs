//! The sizes of a Mask2Former, as `transformers` writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    swin::SwinConfig,
    weights::{heads, layers, sizes, validated, within},
};

/// Resolutions that attention looks at: 1/32, 1/16 and 1/8 of the picture.
pub(super) const LEVELS: usize = 3;
/// Groups of the norms over feature maps, in all published networks.
pub(super) const NORM_GROUPS: usize = 32;
/// Classes of a network that does not name them: the default of transformers.
const CLASSES: usize = 2;
/// The resolution of masks, as a part of the picture's, that is built.
const COMMON_STRIDE: usize = 4;

/// The kinds of networks that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelType {
    /// Mask2Former.
    Mask2Former,
}

/// The activations of the feed-forward layers that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivationFunction {
    /// `max(x, 0)`
    Relu,
}

/// The sizes of a [`Mask2Former`](super::Mask2Former): the `config.json` of
/// `Mask2FormerForUniversalSegmentation`. Absent keys take the values of the published networks of
/// COCO, unknown ones, which are of training, are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct Mask2FormerConfig {
    /// The kind of network.
    pub model_type: ModelType,
    /// The backbone.
    pub backbone_config: SwinConfig,
    /// Width of the pixel decoder.
    pub feature_size: usize,
    /// Width of the features that masks are made of.
    pub mask_feature_size: usize,
    /// Width of the queries.
    pub hidden_dim: usize,
    /// Width inside the feed-forward layers of the pixel decoder.
    pub encoder_feedforward_dim: usize,
    /// Layers of the pixel decoder.
    pub encoder_layers: usize,
    /// Predictions of the transformer decoder, the first of them before its first layer: one more
    /// than it has layers.
    pub decoder_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward layers of the transformer decoder.
    pub dim_feedforward: usize,
    /// The activation of the feed-forward layers.
    pub activation_function: ActivationFunction,
    /// Whether norms come before attention and feed-forward layers of the transformer decoder, not
    /// behind them.
    pub pre_norm: bool,
    /// Whether the pixel decoder's maps are projected though they have the queries' width.
    pub enforce_input_projection: bool,
    /// The resolution of masks, as a part of the picture's.
    pub common_stride: usize,
    /// The most objects that can be found.
    pub num_queries: usize,
    /// The name of each class, by its number.
    #[serde(default)]
    pub id2label: BTreeMap<usize, String>,
    /// Number of classes, where they have no names.
    pub num_labels: Option<usize>,
}

impl Default for Mask2FormerConfig {
    fn default() -> Self {
        Self {
            model_type: ModelType::Mask2Former,
            backbone_config: SwinConfig::default(),
            feature_size: 256,
            mask_feature_size: 256,
            hidden_dim: 256,
            encoder_feedforward_dim: 1024,
            encoder_layers: 6,
            decoder_layers: 10,
            num_attention_heads: 8,
            dim_feedforward: 2048,
            activation_function: ActivationFunction::Relu,
            pre_norm: false,
            enforce_input_projection: false,
            common_stride: COMMON_STRIDE,
            num_queries: 100,
            id2label: BTreeMap::new(),
            num_labels: None,
        }
    }
}

validated!(Mask2FormerConfig);

impl Mask2FormerConfig {
    /// Swin-S for the instances of COCO: 80 classes.
    pub fn swin_small_coco() -> Self {
        Self { num_labels: Some(80), ..Self::default() }
    }

    /// Number of classes, the one for no object not counted.
    pub fn classes(&self) -> usize {
        match (self.id2label.len(), self.num_labels) {
            (0, Some(count)) => count,
            (0, None) => CLASSES,
            (count, _) => count,
        }
    }

    /// The name of each class; those without one are called by their number.
    pub fn labels(&self) -> Vec<String> {
        let label = |class| self.id2label.get(&class).cloned().unwrap_or(format!("LABEL_{class}"));
        (0..self.classes()).map(label).collect()
    }

    /// Layers of the transformer decoder.
    pub fn layers(&self) -> usize {
        self.decoder_layers - 1
    }

    /// Whether the pixel decoder's maps are projected to the queries' width.
    pub fn has_input_projections(&self) -> bool {
        self.enforce_input_projection || self.feature_size != self.hidden_dim
    }

    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        self.backbone_config.validate()?;
        let attention = ("num_attention_heads", self.num_attention_heads);
        heads(("feature_size", self.feature_size), attention)?;
        heads(("hidden_dim", self.hidden_dim), attention)?;
        for (name, size) in [("feature_size", self.feature_size), ("hidden_dim", self.hidden_dim)] {
            if !size.is_multiple_of(2) {
                return Err(format!("{name} is {size}; half of it is for each axis of positions"));
            }
        }
        if !self.feature_size.is_multiple_of(NORM_GROUPS) {
            return Err(format!(
                "feature_size is {}; its norms have {NORM_GROUPS} groups, which must divide it",
                self.feature_size
            ));
        }
        sizes(&[
            ("mask_feature_size", self.mask_feature_size),
            ("encoder_feedforward_dim", self.encoder_feedforward_dim),
            ("dim_feedforward", self.dim_feedforward),
            ("num_queries", self.num_queries),
            ("the number of classes", self.classes()),
        ])?;
        layers(&[("encoder_layers", self.encoder_layers)])?;
        within("decoder_layers", self.decoder_layers, 1, 1000)?;
        if self.common_stride != COMMON_STRIDE || self.backbone_config.patch_size != COMMON_STRIDE {
            return Err(format!(
                "common_stride is {} and patch_size {}, which is not built; only {COMMON_STRIDE} is",
                self.common_stride, self.backbone_config.patch_size
            ));
        }
        match self.id2label.keys().enumerate().find(|(class, key)| class != *key) {
            Some((class, _)) => Err(format!("id2label has no class {class}, but later ones")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Mask2FormerConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn classes_have_names_or_are_counted() {
        let named = read(r#"{"id2label": {"0": "dog", "1": "car", "2": "cat"}}"#).unwrap();
        assert_eq!(
            (named.classes(), named.labels()),
            (3, ["dog", "car", "cat"].map(String::from).into())
        );
        assert_eq!(read(r#"{"num_labels": 2}"#).unwrap().labels(), ["LABEL_0", "LABEL_1"]);
        assert_eq!(read("{}").unwrap().classes(), 2, "as transformers has it");
        assert_eq!(Mask2FormerConfig::swin_small_coco().classes(), 80);
        // More than one digit is a number, not a text.
        let labels: Vec<String> = (0..12).map(|k| format!(r#""{k}": "c{k}""#)).collect();
        let many = read(&format!(r#"{{"id2label": {{{}}}}}"#, labels.join(", "))).unwrap();
        assert_eq!(many.labels()[10], "c10");
    }

    #[test]
    fn sizes_that_cannot_be() {
        for (json, words) in [
            (r#"{"model_type": "maskformer"}"#, "`maskformer`"),
            (r#"{"backbone_config": {"model_type": "resnet"}}"#, "`resnet`"),
            (r#"{"backbone_config": {"hidden_act": "relu"}}"#, "`relu`"),
            (r#"{"backbone_config": {"depths": [2, 2]}}"#, "depths has 2 entries"),
            (r#"{"backbone_config": {"num_heads": [5, 6, 12, 24]}}"#, "num_heads is 5"),
            (r#"{"backbone_config": {"window_size": 0}}"#, "window_size is 0"),
            (r#"{"backbone_config": {"mlp_ratio": 1e9}}"#, "mlp_ratio"),
            (r#"{"backbone_config": {"use_absolute_embeddings": true}}"#, "not built"),
            (r#"{"backbone_config": {"embed_dim": 18446744073709551615}}"#, "embed_dim"),
            (r#"{"feature_size": 48, "num_attention_heads": 4}"#, "32 groups"),
            (r#"{"hidden_dim": 100}"#, "num_attention_heads is 8"),
            (r#"{"common_stride": 8}"#, "common_stride is 8"),
            (r#"{"decoder_layers": 0}"#, "decoder_layers is 0"),
            (r#"{"num_queries": 0}"#, "num_queries is 0"),
            (r#"{"id2label": {"1": "dog"}}"#, "no class 0"),
            (r#"{"activation_function": "gelu"}"#, "`gelu`"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{json}: {message}");
        }
    }
}
