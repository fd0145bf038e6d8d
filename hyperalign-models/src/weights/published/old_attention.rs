//! The autoencoder under the names that its attention had until diffusers 0.11.

use super::{Source, replaced};
use crate::weights::Key;

/// What the projections are called: ours, theirs.
const PROJECTIONS: [(&str, &str); 4] = [
    (".to_q.", ".query."),
    (".to_k.", ".key."),
    (".to_v.", ".value."),
    (".to_out.0.", ".proj_attn."),
];

/// Where an autoencoder lies in a file of that time, such as the published one of SD 1.5.
pub fn old_attention(key: &Key) -> Source {
    if !key.name.contains("mid_block.attentions.") {
        return Source::named(&key.name);
    }
    Source::named(replaced(&key.name, &PROJECTIONS))
}
