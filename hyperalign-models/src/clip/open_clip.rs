//! The layout of open_clip: other names, and fused or transposed matrices.
//!
//! Its checkpoints (HPSv2, LAION's models) hold the same network as those of `transformers`.
//! They differ in three ways, all of which are undone here without reading a value: keys; one
//! matrix `in_proj` of queries, keys and values stacked by rows; projections stored as
//! `[width, embed]`.

use crate::weights::{Key, Tensors};

/// A key that only this layout has.
const MARK: &str = "visual.conv1.weight";

/// How names begin: ours, theirs.
const BEGINNINGS: [(&str, &str); 10] = [
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_model.final_layer_norm.", "ln_final."),
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
];

/// What the parts of a block are called: ours, theirs.
const PARTS: [(&str, &str); 5] = [
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    (".self_attn.out_proj.", ".attn.out_proj."),
];

/// Matrices stored as `[width, embed]`: ours, theirs.
const TRANSPOSED: [(&str, &str); 2] =
    [("text_projection.weight", "text_projection"), ("visual_projection.weight", "visual.proj")];

/// The stacked projections, in their order.
const STACKED: [&str; 3] = ["q", "k", "v"];

/// Whether `tensors` are in the layout of open_clip.
pub fn is_open_clip(tensors: &Tensors) -> bool {
    tensors.contains(MARK)
}

/// Gives tensors in the layout of open_clip the names and shapes of ours. Tensors that are not
/// of the layout keep their names, so that a strict reader finds them.
pub fn to_transformers(mut tensors: Tensors) -> Tensors {
    let keys: Vec<String> = tensors.iter().map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        if let Some((block, field)) = key.split_once(".attn.in_proj_") {
            let names = STACKED.map(|part| format!("{block}.self_attn.{part}_proj.{field}"));
            tensors = tensors.split_rows(&key, &names);
        } else if TRANSPOSED.iter().any(|(_, theirs)| *theirs == key) {
            tensors = tensors.transpose(&key);
        }
    }
    tensors.rename(|key| Some(our_name(key)))
}

/// The keys that open_clip writes for a network of which ours are `keys`.
pub fn from_transformers(keys: &[Key]) -> Vec<Key> {
    keys.iter().filter_map(their_key).collect()
}

fn our_name(theirs: &str) -> String {
    if let Some((ours, _)) = TRANSPOSED.iter().find(|(_, name)| *name == theirs) {
        return (*ours).to_owned();
    }
    let Some((ours, begin)) = BEGINNINGS.iter().find(|(_, begin)| theirs.starts_with(begin)) else {
        return theirs.to_owned();
    };
    let rest = &theirs[begin.len()..];
    let rest = PARTS.iter().fold(rest.to_owned(), |rest, (ours, part)| rest.replace(part, ours));
    format!("{ours}{rest}")
}

/// Their key for one of ours; nothing for the keys and values, which are stacked below the
/// queries.
fn their_key(key: &Key) -> Option<Key> {
    let Key { name, shape } = key;
    if let Some((_, theirs)) = TRANSPOSED.iter().find(|(ours, _)| ours == name) {
        return Some(Key {
            name: (*theirs).to_owned(),
            shape: shape.iter().rev().copied().collect(),
        });
    }
    let Some((begin, theirs)) = BEGINNINGS.iter().find(|(begin, _)| name.starts_with(begin)) else {
        return Some(key.clone());
    };
    let rest = &name[begin.len()..];
    if let Some((block, part)) = rest.split_once(".self_attn.")
        && let Some((part, field)) = part.split_once("_proj.")
        && STACKED.contains(&part)
    {
        let mut shape = shape.clone();
        shape[0] *= STACKED.len();
        let name = format!("{theirs}{block}.attn.in_proj_{field}");
        return (part == STACKED[0]).then_some(Key { name, shape });
    }
    let rest = PARTS.iter().fold(rest.to_owned(), |rest, (ours, part)| rest.replace(ours, part));
    Some(Key { name: format!("{theirs}{rest}"), shape: shape.clone() })
}
