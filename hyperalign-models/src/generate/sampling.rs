//! How pictures are sampled, and which.

use hyperalign_core::{contract::Prompt, schedule::SolverChoice};
use serde::{Deserialize, Serialize};

/// How pictures are sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Sampling steps.
    pub steps: usize,
    /// Weight of guidance; 1 is none.
    pub guidance_scale: f64,
    /// The most pictures that are made at once. It changes speed and memory only.
    pub batch: usize,
    /// The solver, and how much noise it draws.
    #[serde(default)]
    pub solver: SolverChoice,
    /// Height and width of the pictures in pixels; those that the base was made for if nothing is
    /// said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// What guidance leads away from; the empty prompt if nothing is said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub negative_prompt: String,
}

impl Sampling {
    /// Pictures of the base's own size by its own solver, eight at once, away from the empty
    /// prompt.
    pub const fn new(steps: usize, guidance_scale: f64) -> Self {
        Self {
            steps,
            guidance_scale,
            batch: 8,
            solver: SolverChoice { solver: None, eta: None },
            size: None,
            negative_prompt: String::new(),
        }
    }
}

/// One picture to make. It depends on these two alone, not on what else is in its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// The prompt, with the rules that a judge may want to know.
    pub prompt: Prompt,
    /// The seed of the noise that the picture starts from.
    pub seed: u64,
}

impl Shot {
    /// A picture of `prompt`.
    pub fn new(prompt: impl Into<Prompt>, seed: u64) -> Self {
        Self { prompt: prompt.into(), seed }
    }
}
