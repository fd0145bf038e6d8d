//! Low-rank updates of linear layers and convolutions, applied to activations.
//!
//! An update is a value that travels beside the input, never a change of a weight. A network
//! looks its updates up by the path of the adapted layer ([`LoraScope`]), so the order of the
//! layers is a matter of the adapter file alone. Updates of one layer add up: a hypernetwork's and
//! those of any number of files.

mod apply;
mod delta;
mod packed;
mod scope;
mod set;

pub use apply::{conv_with_lora, linear_with_lora};
pub use delta::LoraDelta;
pub use packed::LoraLayout;
pub use scope::LoraScope;
pub use set::{LoraSet, LoraTarget};
