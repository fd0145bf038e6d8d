//! The autoencoder of latent diffusion as its authors publish it, and Black Forest Labs theirs.

use super::{Source, count, numbered, replaced};
use crate::weights::Key;

/// What parts are called: ours, theirs.
const PARTS: [(&str, &str); 14] = [
    ("mid_block.resnets.0.", "mid.block_1."),
    ("mid_block.resnets.1.", "mid.block_2."),
    ("mid_block.attentions.0.", "mid.attn_1."),
    ("attn_1.group_norm.", "attn_1.norm."),
    ("attn_1.to_q.", "attn_1.q."),
    ("attn_1.to_k.", "attn_1.k."),
    ("attn_1.to_v.", "attn_1.v."),
    ("attn_1.to_out.0.", "attn_1.proj_out."),
    (".resnets.", ".block."),
    (".downsamplers.0.", ".downsample."),
    (".upsamplers.0.", ".upsample."),
    (".conv_shortcut.", ".nin_shortcut."),
    ("conv_norm_out.", "norm_out."),
    ("down_blocks.", "down."),
];

/// Where the autoencoder whose keys are `ours` lies in an ldm file (below `first_stage_model.`)
/// or in FLUX's `ae.safetensors`: the decoder's blocks are counted from the finest, and the
/// attention consists of convolutions of one pixel.
pub fn vae(ours: &[Key]) -> impl Fn(&Key) -> Source {
    let blocks = count(ours, "decoder.up_blocks.");
    move |key| {
        let up = key.name.strip_prefix("decoder.up_blocks.").and_then(numbered);
        let turned = match up {
            Some((block, rest)) if block < blocks => {
                format!("decoder.up.{}.{rest}", blocks - 1 - block)
            }
            _ => key.name.clone(),
        };
        let name = replaced(&turned, &PARTS);
        let pixel = name.contains(".attn_1.") && key.shape.len() == 2;
        Source { pixel, ..Source::named(name) }
    }
}
