//! The sizes of a network, by the shapes of its weights.

use std::collections::BTreeMap;

use super::COCO;
use crate::{
    mask2former::{Mask2FormerConfig, config::LEVELS, deformable::POINTS},
    swin::{STAGES, SwinConfig},
    weights::{Key, published::MmdetNames},
};

/// Where the parts lie in the file.
const BACKBONE: &str = "backbone.";
const PIXELS: &str = "panoptic_head.pixel_decoder.";
const QUERIES: &str = "panoptic_head.";

/// Shapes by the names of the file.
struct Shapes<'a>(BTreeMap<&'a str, &'a [usize]>);

impl Shapes<'_> {
    /// The extent of an axis; none if there is no such key or axis.
    fn extent(&self, key: &str, axis: usize) -> Option<usize> {
        self.0.get(key)?.get(axis).copied()
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// One more than the highest number that follows `prefix`; none if none does.
    fn count(&self, prefix: &str) -> Option<usize> {
        let number = |key: &&str| key.strip_prefix(prefix)?.split('.').next()?.parse().ok();
        let most: Option<usize> = self.0.keys().filter_map(number).max();
        most?.checked_add(1)
    }
}

/// The sizes of the Mask2Former over a Swin whose file holds `keys`, as mmdetection writes them.
///
/// What the file does not tell is as in the published ones: both decoders have the same number of
/// heads, and norms come behind attention. Where a key is missing, the size is that of Swin-S and
/// COCO, so that a strict reader tells which. Classes have names where there are as many as COCO
/// has of things.
pub fn sizes_of(keys: &[Key], names: MmdetNames) -> Mask2FormerConfig {
    let shapes = keys.iter().map(|key| (key.name.as_str(), key.shape.as_slice()));
    let shapes = Shapes(shapes.collect());
    let published = Mask2FormerConfig::swin_small_coco();
    let (feed_forward, attention) = match names {
        MmdetNames::Numbered => ("ffns.0", "attentions.0"),
        MmdetNames::Named => ("ffn", "self_attn"),
    };
    let extent =
        |key: &str, axis: usize, otherwise: usize| shapes.extent(key, axis).unwrap_or(otherwise);
    let hidden = |part: &str, layers: &str, otherwise: usize| {
        extent(&format!("{part}{layers}.0.{feed_forward}.layers.0.0.weight"), 0, otherwise)
    };
    let pixel_layers = format!("{PIXELS}encoder.layers.");
    let query_layers = format!("{QUERIES}transformer_decoder.layers.");
    let looks = format!("{pixel_layers}0.{attention}.attention_weights.bias");
    let heads = shapes.extent(&looks, 0).map(|looks| looks / (LEVELS * POINTS));
    let masks = format!("{PIXELS}mask_feature.weight");
    let queries = format!("{QUERIES}query_feat.weight");
    let classes = extent(&format!("{QUERIES}cls_embed.bias"), 0, published.classes() + 1);
    let classes = classes.saturating_sub(1);
    let labels = || COCO.iter().map(|label| (*label).to_owned()).enumerate().collect();
    Mask2FormerConfig {
        backbone_config: backbone(&shapes),
        feature_size: extent(&masks, 1, published.feature_size),
        mask_feature_size: extent(&masks, 0, published.mask_feature_size),
        hidden_dim: extent(&queries, 1, published.hidden_dim),
        encoder_feedforward_dim: hidden(
            PIXELS,
            "encoder.layers",
            published.encoder_feedforward_dim,
        ),
        encoder_layers: shapes.count(&pixel_layers).unwrap_or(published.encoder_layers),
        decoder_layers: shapes
            .count(&query_layers)
            .map_or(published.decoder_layers, |layers| layers.saturating_add(1)),
        num_attention_heads: heads.unwrap_or(published.num_attention_heads),
        dim_feedforward: hidden(QUERIES, "transformer_decoder.layers", published.dim_feedforward),
        enforce_input_projection: shapes.has(&format!("{QUERIES}decoder_input_projs.0.weight")),
        num_queries: extent(&queries, 0, published.num_queries),
        num_labels: Some(classes),
        id2label: if classes == COCO.len() { labels() } else { BTreeMap::new() },
        ..published
    }
}

fn backbone(shapes: &Shapes<'_>) -> SwinConfig {
    let published = SwinConfig::default();
    let block = |stage: usize| format!("{BACKBONE}stages.{stage}.blocks.");
    let patches = format!("{BACKBONE}patch_embed.projection.weight");
    let patch = |axis: usize| shapes.extent(&patches, axis);
    let biases = |stage: usize, axis: usize| {
        let table = format!("{}0.attn.w_msa.relative_position_bias_table", block(stage));
        shapes.extent(&table, axis)
    };
    let embed_dim = patch(0).unwrap_or(published.embed_dim);
    let hidden = shapes.extent(&format!("{}0.ffn.layers.0.0.weight", block(0)), 0);
    // Of a window of w tokens a side the table has (2 w - 1)^2 offsets.
    let window = biases(0, 0).map(|offsets| offsets.isqrt().div_ceil(2));
    SwinConfig {
        patch_size: patch(2).unwrap_or(published.patch_size),
        num_channels: patch(1).unwrap_or(published.num_channels),
        embed_dim,
        depths: (0..STAGES)
            .map(|stage| shapes.count(&block(stage)).unwrap_or(published.depths[stage]))
            .collect(),
        num_heads: (0..STAGES)
            .map(|stage| biases(stage, 1).unwrap_or(published.num_heads[stage]))
            .collect(),
        window_size: window.unwrap_or(published.window_size),
        mlp_ratio: hidden
            .map_or(published.mlp_ratio, |hidden| hidden as f64 / embed_dim.max(1) as f64),
        qkv_bias: shapes.has(&format!("{}0.attn.w_msa.qkv.bias", block(0))),
        ..published
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;
    use crate::{
        testing::small_detector,
        weights::{keys, published::published_keys},
    };

    #[test]
    fn sizes_are_those_of_the_network() {
        let published = Mask2FormerConfig::swin_small_coco();
        let small = small_detector(&COCO);
        let projected = Mask2FormerConfig { enforce_input_projection: true, ..small.clone() };
        let labelled = Mask2FormerConfig { id2label: small.id2label.clone(), ..published };
        for config in [labelled, small, projected] {
            let ours = keys(&config.init(&testing::device()));
            for names in [MmdetNames::Numbered, MmdetNames::Named] {
                let theirs = published_keys(&ours, |key| names.mask2former(key));
                let found = sizes_of(&theirs, names);
                assert_eq!(found, Mask2FormerConfig { num_labels: Some(80), ..config.clone() });
            }
        }
    }

    #[test]
    fn other_classes_have_no_names() {
        let key = |name: &str, shape: &[usize]| Key { name: name.into(), shape: shape.into() };
        let panoptic = [key("panoptic_head.cls_embed.bias", &[134])];
        let found = sizes_of(&panoptic, MmdetNames::Numbered);
        assert_eq!((found.classes(), found.id2label.len()), (133, 0));
        let damaged = [key("panoptic_head.cls_embed.bias", &[0])];
        assert!(sizes_of(&damaged, MmdetNames::Numbered).validate().is_err());
    }
}
