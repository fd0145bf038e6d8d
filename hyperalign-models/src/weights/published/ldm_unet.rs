//! The U-Net of Stable Diffusion as its authors publish it (github.com/CompVis).

use super::{Source, count, numbered, replaced};
use crate::weights::Key;

/// Outside of the blocks: ours, theirs.
const AROUND: [(&str, &str); 5] = [
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
];

/// Of a residual block: ours, theirs.
const RESNET: [(&str, &str); 6] = [
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
];

/// Where the U-Net whose keys are `ours` lies in an ldm file, below `model.diffusion_model.`.
///
/// Theirs is one list of steps: every residual block with the attention after it, every halving,
/// every doubling in the last step of its block.
pub fn unet(ours: &[Key]) -> impl Fn(&Key) -> Source + use<> {
    let layers = count(ours, "down_blocks.0.resnets.");
    let attends = |side: &str| -> Vec<bool> {
        let blocks = 0..count(ours, side);
        let has = |part: &str| ours.iter().any(|key| key.name.starts_with(part));
        blocks.map(|i| has(&format!("{side}{i}.attentions."))).collect()
    };
    let up_attends = attends("up_blocks.");
    move |key| {
        let place = |side: &str, rest: &str| {
            let (block, rest) = numbered(rest)?;
            let (kind, rest) = rest.split_once('.')?;
            let (i, rest) = numbered(rest)?;
            let down = side == "input_blocks";
            // The first of theirs is our `conv_in`; every block ends with its halving.
            let step = if down { 1 + block * (layers + 1) + i } else { block * (layers + 1) + i };
            Some(match kind {
                "resnets" => format!("{side}.{step}.0.{}", replaced(rest, &RESNET)),
                "attentions" => format!("{side}.{step}.1.{rest}"),
                "downsamplers" => {
                    format!("{side}.{}.0.{}", step + layers, replaced(rest, &[("conv.", "op.")]))
                }
                "upsamplers" => {
                    let after = 1 + usize::from(up_attends.get(block) == Some(&true));
                    format!("{side}.{}.{after}.{rest}", step + layers)
                }
                _ => return None,
            })
        };
        let middle = |rest: &str| {
            let (kind, rest) = rest.split_once('.')?;
            let (i, rest) = numbered(rest)?;
            match kind {
                "resnets" => Some(format!("middle_block.{}.{}", 2 * i, replaced(rest, &RESNET))),
                "attentions" => Some(format!("middle_block.{}.{rest}", 2 * i + 1)),
                _ => None,
            }
        };
        let name = key.name.as_str();
        let found = if let Some(rest) = name.strip_prefix("down_blocks.") {
            place("input_blocks", rest)
        } else if let Some(rest) = name.strip_prefix("up_blocks.") {
            place("output_blocks", rest)
        } else if let Some(rest) = name.strip_prefix("mid_block.") {
            middle(rest)
        } else {
            Some(replaced(name, &AROUND))
        };
        Source::named(found.unwrap_or_else(|| name.to_owned()))
    }
}
