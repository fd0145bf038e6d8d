//! Weights of networks: strict reading and writing of safetensors in the published layouts.
//!
//! The fields of our modules carry the names of the published checkpoints, so the path of a
//! parameter is its key and no key table exists. What differs between a module and its file is
//! written down once, in `layout.rs`: a linear layer's weight is transposed, a norm's `gamma`
//! and `beta` are called `weight` and `bias`, and enums of the module leave no trace in a key.
//!
//! Files that were published under other names ([`published`]) are read as rearrangements of
//! theirs, which copy nothing: for each key of ours a rule tells where its values lie.
//!
//! Reading is strict both ways: a parameter without a tensor and a tensor without a parameter
//! are errors. A weight that is silently not applied makes pictures that are only a little
//! worse, and is found weeks later.

mod error;
mod folder;
mod foreign;
mod format;
mod gradients;
mod hash;
mod init;
mod keys;
mod layout;
mod lenient;
mod load;
mod names;
mod pickle;
pub mod published;
mod pytorch;
mod save;
mod settings;
mod tensors;

pub use error::{KeyMismatch, LoadError};
pub use folder::{Folder, parse_config};
pub(crate) use format::is_eight_bit;
pub use format::{Format, Held, UnknownFormat};
pub use gradients::{Gradient, gradients};
pub(crate) use hash::hash_stored;
pub use hash::{hash, hash_of, sha256, sha256_of_file};
pub use init::{reinit, reinit_in};
pub use keys::{Key, keys, layers as layers_of, parameters};
pub(crate) use load::check;
pub(crate) use load::load_in;
pub use load::{compare, load};
#[cfg(feature = "hub")]
pub(crate) use names::Weights;
pub(crate) use save::encode;
pub use save::{FileFloat, SaveError, save, to_bytes};
pub(crate) use settings::{
    MOST_LEVELS, MOST_PIXELS, epsilon, heads, implemented, layers, sizes, validated, within,
};
pub use tensors::Tensors;
