//! The contracts between the rooms of the house: what a network, a decoder, a source of updates
//! and a reward are to everything that uses them, and what a prompt is.
//!
//! Search, guidance, methods and measurements speak through these alone. Networks and rewards
//! themselves are in other crates.

mod adapter;
mod decoder;
mod denoiser;
mod prompt;
mod reward;
mod row;

pub use adapter::{AdapterSource, Fresh, Held, NoAdapter, StaticAdapter};
pub use decoder::Decoder;
pub use denoiser::{Answer, Conditioning, Correction, Denoiser, PassStart, Prediction, TextWatch};
pub use prompt::Prompt;
pub use reward::{Reads, Reward, RewardTerm, ScoreError, ScoreThose};
pub use row::{Exclude, Include, Relation, Row, RowError, Task};
