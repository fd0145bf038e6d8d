//! Mask2Former over a Swin as mmdetection publishes it.

use super::{Order, Source, numbered};
use crate::weights::{Key, Tensors};

/// Where the parts lie: ours, theirs.
const PARTS: [(&str, &str, Part); 4] = [
    ("model.pixel_level_module.encoder.", "backbone.", Part::Backbone),
    ("model.pixel_level_module.decoder.", "panoptic_head.pixel_decoder.", Part::PixelDecoder),
    ("model.transformer_module.", "panoptic_head.", Part::Queries),
    ("class_predictor.", "panoptic_head.cls_embed.", Part::Classes),
];

/// Of a block of the backbone: ours, theirs, and the place in a stack.
const BLOCK: [(&str, &str, usize); 8] = [
    ("layernorm_before", "norm1", 0),
    ("layernorm_after", "norm2", 0),
    ("attention.attend.query", "attn.w_msa.qkv", 0),
    ("attention.attend.key", "attn.w_msa.qkv", 1),
    ("attention.attend.value", "attn.w_msa.qkv", 2),
    ("attention.output.dense", "attn.w_msa.proj", 0),
    ("intermediate.dense", "ffn.layers.0.0", 0),
    ("output.dense", "ffn.layers.1", 0),
];
/// A parameter of a block that is of no layer.
const BIAS_TABLE: (&str, &str) = ("attention.attend", "attn.w_msa");
/// Of the backbone outside of its blocks.
const AROUND_BLOCKS: [(&str, &str); 6] = [
    ("embeddings.patch_embeddings.projection", "patch_embed.projection"),
    ("embeddings.norm", "patch_embed.norm"),
    ("hidden_states_norms.stage1", "norm0"),
    ("hidden_states_norms.stage2", "norm1"),
    ("hidden_states_norms.stage3", "norm2"),
    ("hidden_states_norms.stage4", "norm3"),
];
/// Of the pixel decoder outside of its layers. Convolution and norm are two there as well.
const AROUND_LEVELS: [(&str, &str); 5] = [
    ("mask_projection", "mask_feature"),
    ("adapter_1.0", "lateral_convs.0.conv"),
    ("adapter_1.1", "lateral_convs.0.gn"),
    ("layer_1.0", "output_convs.0.conv"),
    ("layer_1.1", "output_convs.0.gn"),
];
/// Of the transformer decoder outside of its layers.
const AROUND_QUERIES: [(&str, &str); 7] = [
    ("queries_embedder", "query_embed"),
    ("queries_features", "query_feat"),
    ("level_embed", "level_embed"),
    ("decoder.layernorm", "transformer_decoder.post_norm"),
    ("decoder.mask_predictor.mask_embedder.0.0", "mask_embed.0"),
    ("decoder.mask_predictor.mask_embedder.1.0", "mask_embed.2"),
    ("decoder.mask_predictor.mask_embedder.2.0", "mask_embed.4"),
];
/// Of a layer of either decoder: ours, and the number of theirs. The one of pixels has two norms.
const PIXEL_NORMS: [(&str, usize); 2] = [("self_attn_layer_norm", 0), ("final_layer_norm", 1)];
const QUERY_NORMS: [(&str, usize); 3] =
    [("cross_attn_layer_norm", 0), ("self_attn_layer_norm", 1), ("final_layer_norm", 2)];

/// A weight that all these files hold.
const MARK: &str = "backbone.patch_embed.projection.weight";
/// A buffer of each window attention, which the window's size alone determines.
pub(super) const POSITION_INDEX: &str = ".attn.w_msa.relative_position_index";

#[derive(Clone, Copy)]
enum Part {
    Backbone,
    PixelDecoder,
    Queries,
    Classes,
}

/// What mmdetection calls the parts of a transformer's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MmdetNames {
    /// `attentions.0`, `attentions.1`, `ffns.0`: until 2.28.
    Numbered,
    /// `cross_attn`, `self_attn`, `ffn`: from 3.0 on.
    Named,
}

impl MmdetNames {
    /// Those of the file that `tensors` are of; none if it is in another layout.
    pub fn of(tensors: &Tensors) -> Option<Self> {
        if !tensors.contains(MARK) {
            return None;
        }
        let mut keys = tensors.iter();
        let is_numbered = keys.any(|(key, _)| key.contains(".attentions.0."));
        Some(if is_numbered { Self::Numbered } else { Self::Named })
    }

    /// Where a Mask2Former lies in such a file: queries, keys and values are one matrix in each
    /// attention but that of pixels, and where the backbone joins four neighbours, their channels
    /// are in [another order](Order::Unfolded).
    pub fn mask2former(self, key: &Key) -> Source {
        let found = PARTS.iter().find_map(|(ours, theirs, part)| {
            let rest = key.name.strip_prefix(ours)?;
            let source = match part {
                Part::Backbone => backbone(rest),
                Part::PixelDecoder => self.pixel_decoder(rest),
                Part::Queries => self.queries(rest),
                Part::Classes => Some(Source::named(rest)),
            }?;
            Some(Source { name: format!("{theirs}{}", source.name), ..source })
        });
        found.unwrap_or_else(|| Source::named(&key.name))
    }

    fn pixel_decoder(self, name: &str) -> Option<Source> {
        if name == "level_embed" {
            return Some(Source::named("level_encoding.weight"));
        }
        if let Some((level, rest)) = name.strip_prefix("input_projections.").and_then(numbered) {
            let (part, parameter) = numbered(rest)?;
            let part = ["conv", "gn"].get(part)?;
            return Some(Source::named(format!("input_convs.{level}.{part}.{parameter}")));
        }
        let Some((layer, rest)) = name.strip_prefix("encoder.layers.").and_then(numbered) else {
            return renamed(name, &AROUND_LEVELS);
        };
        let own = match rest.strip_prefix("self_attn.") {
            Some(rest) => format!("{}.{rest}", self.attention(0, "self_attn")),
            None => self.beside_attention(rest, &PIXEL_NORMS)?,
        };
        Some(Source::named(format!("encoder.layers.{layer}.{own}")))
    }

    fn queries(self, name: &str) -> Option<Source> {
        if let Some(rest) = name.strip_prefix("input_projections.") {
            return Some(Source::named(format!("decoder_input_projs.{rest}")));
        }
        let Some((layer, rest)) = name.strip_prefix("decoder.layers.").and_then(numbered) else {
            return renamed(name, &AROUND_QUERIES);
        };
        let (own, place) = if let Some(rest) = rest.strip_prefix("cross_attn.") {
            (format!("{}.attn.{rest}", self.attention(0, "cross_attn")), 0)
        } else if let Some(rest) = rest.strip_prefix("self_attn.") {
            let (projection, parameter) = rest.split_once('.')?;
            let place = ["q_proj", "k_proj", "v_proj"].iter().position(|ours| *ours == projection);
            let own = match place {
                Some(_) => format!("in_proj_{parameter}"),
                None => rest.to_owned(),
            };
            let attention = self.attention(1, "self_attn");
            (format!("{attention}.attn.{own}"), place.unwrap_or(0))
        } else {
            (self.beside_attention(rest, &QUERY_NORMS)?, 0)
        };
        let name = format!("transformer_decoder.layers.{layer}.{own}");
        Some(Source { place, ..Source::named(name) })
    }

    /// The attention that is the `number`th of its layer.
    fn attention(self, number: usize, name: &str) -> String {
        match self {
            Self::Numbered => format!("attentions.{number}"),
            Self::Named => name.to_owned(),
        }
    }

    /// What a layer has beside its attentions: `norms` and the feed-forward layers.
    fn beside_attention(self, name: &str, norms: &[(&str, usize)]) -> Option<String> {
        let (layer, parameter) = name.split_once('.')?;
        if let Some((_, number)) = norms.iter().find(|(ours, _)| *ours == layer) {
            return Some(format!("norms.{number}.{parameter}"));
        }
        let feed_forward = match self {
            Self::Numbered => "ffns.0",
            Self::Named => "ffn",
        };
        let theirs = match layer {
            "fc1" => "layers.0.0",
            "fc2" => "layers.1",
            _ => return None,
        };
        Some(format!("{feed_forward}.{theirs}.{parameter}"))
    }

    /// The keys of `tensors` that are buffers and no weights: the places in the backbone's windows
    /// of `tokens`. One of another shape is none of them.
    pub fn extras(tensors: &Tensors, tokens: usize) -> Vec<String> {
        let extras = tensors
            .iter()
            .filter(|(key, shape)| key.ends_with(POSITION_INDEX) && *shape == [tokens, tokens]);
        extras.map(|(key, _)| key.to_owned()).collect()
    }
}

fn backbone(name: &str) -> Option<Source> {
    let Some((stage, rest)) = name.strip_prefix("encoder.layers.").and_then(numbered) else {
        return renamed(name, &AROUND_BLOCKS);
    };
    if rest.starts_with("downsample.") {
        let source = Source::named(format!("stages.{stage}.{rest}"));
        return Some(Source { order: Order::Unfolded, ..source });
    }
    let (block, rest) = rest.strip_prefix("blocks.").and_then(numbered)?;
    let (layer, parameter) = rest.rsplit_once('.')?;
    let (theirs, place) = match BLOCK.iter().find(|(ours, ..)| *ours == layer) {
        Some((_, theirs, place)) => (*theirs, *place),
        None if layer == BIAS_TABLE.0 => (BIAS_TABLE.1, 0),
        None => return None,
    };
    let name = format!("stages.{stage}.blocks.{block}.{theirs}.{parameter}");
    Some(Source { place, ..Source::named(name) })
}

/// The parameter `name` of a layer that `layers` (ours, theirs) give another name.
fn renamed(name: &str, layers: &[(&str, &str)]) -> Option<Source> {
    let (layer, parameter) = name.rsplit_once('.')?;
    let (_, theirs) = layers.iter().find(|(ours, _)| *ours == layer)?;
    Some(Source::named(format!("{theirs}.{parameter}")))
}
