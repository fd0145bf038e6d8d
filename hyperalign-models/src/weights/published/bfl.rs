//! FLUX.1 as Black Forest Labs publish it.

use super::{Order, Source, numbered};
use crate::weights::Key;

/// Outside of the blocks: ours, theirs.
const AROUND: [(&str, &str); 7] = [
    ("time_text_embed.timestep_embedder", "time_in"),
    ("time_text_embed.guidance_embedder", "guidance_in"),
    ("time_text_embed.text_embedder", "vector_in"),
    ("context_embedder", "txt_in"),
    ("x_embedder", "img_in"),
    ("proj_out", "final_layer.linear"),
    ("norm_out.linear", "final_layer.adaLN_modulation.1"),
];

/// Of a double block: ours, theirs, and the place in a stack.
const DOUBLE: [(&str, &str, usize); 18] = [
    ("norm1.linear", "img_mod.lin", 0),
    ("norm1_context.linear", "txt_mod.lin", 0),
    ("attn.to_q", "img_attn.qkv", 0),
    ("attn.to_k", "img_attn.qkv", 1),
    ("attn.to_v", "img_attn.qkv", 2),
    ("attn.add_q_proj", "txt_attn.qkv", 0),
    ("attn.add_k_proj", "txt_attn.qkv", 1),
    ("attn.add_v_proj", "txt_attn.qkv", 2),
    ("attn.norm_q", "img_attn.norm.query_norm", 0),
    ("attn.norm_k", "img_attn.norm.key_norm", 0),
    ("attn.norm_added_q", "txt_attn.norm.query_norm", 0),
    ("attn.norm_added_k", "txt_attn.norm.key_norm", 0),
    ("attn.to_out.0", "img_attn.proj", 0),
    ("attn.to_add_out", "txt_attn.proj", 0),
    ("ff.net.0.proj", "img_mlp.0", 0),
    ("ff.net.2", "img_mlp.2", 0),
    ("ff_context.net.0.proj", "txt_mlp.0", 0),
    ("ff_context.net.2", "txt_mlp.2", 0),
];

/// Of a single block: ours, theirs, and the place in a stack.
const SINGLE: [(&str, &str, usize); 8] = [
    ("norm.linear", "modulation.lin", 0),
    ("attn.to_q", "linear1", 0),
    ("attn.to_k", "linear1", 1),
    ("attn.to_v", "linear1", 2),
    ("proj_mlp", "linear1", 3),
    ("attn.norm_q", "norm.query_norm", 0),
    ("attn.norm_k", "norm.key_norm", 0),
    ("proj_out", "linear2", 0),
];

/// Where the transformer of FLUX.1 lies in `flux1-dev.safetensors`: queries, keys and values are
/// one matrix, in a single block together with the way up of its MLP; the last modulation comes
/// as (shift, scale) instead of (scale, shift).
pub fn flux(key: &Key) -> Source {
    let Some((layer, parameter)) = key.name.rsplit_once('.') else {
        return Source::named(&key.name);
    };
    for (ours, theirs, parts) in [
        ("transformer_blocks.", "double_blocks", &DOUBLE[..]),
        ("single_transformer_blocks.", "single_blocks", &SINGLE[..]),
    ] {
        let Some((block, layer)) = layer.strip_prefix(ours).and_then(numbered) else { continue };
        let Some((_, theirs_layer, place)) = parts.iter().find(|(name, ..)| *name == layer) else {
            continue;
        };
        // Their norms call the weight a scale.
        let parameter = if theirs_layer.contains("_norm") { "scale" } else { parameter };
        let name = format!("{theirs}.{block}.{theirs_layer}.{parameter}");
        return Source { place: *place, ..Source::named(name) };
    }
    let embedder = |name: &str| {
        let layers = [(".linear_1", ".in_layer"), (".linear_2", ".out_layer")];
        super::replaced(name, &layers)
    };
    match AROUND.iter().find(|(ours, _)| layer.starts_with(ours)) {
        Some((ours, theirs)) => Source {
            order: match *ours {
                "norm_out.linear" => Order::SwappedHalves,
                _ => Order::Same,
            },
            ..Source::named(format!("{theirs}{}.{parameter}", embedder(&layer[ours.len()..])))
        },
        None => Source::named(&key.name),
    }
}
