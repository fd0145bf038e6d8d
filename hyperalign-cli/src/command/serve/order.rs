//! What a request wants, and what it orders once that has been checked.

use std::sync::Arc;

use hyperalign_core::schedule::SolverChoice;
use hyperalign_models::{
    generate::{Sampling, Shot},
    hypernet::Variant,
};

/// What a request asks for, in whatever protocol; what it does not say is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wish {
    pub prompt: String,
    pub negative_prompt: String,
    /// Number of pictures.
    pub pictures: Option<u64>,
    /// Height and width in pixels.
    pub size: Option<[usize; 2]>,
    /// Seed of the first picture; each further one has the next.
    pub seed: Option<u64>,
    pub steps: Option<u64>,
    pub guidance: Option<f64>,
    pub solver: SolverChoice,
    /// `base`, `s`, `p` or `i`.
    pub variant: Option<String>,
    /// LoRA files by their names, each with its scale.
    pub loras: Option<Vec<(String, f64)>>,
    /// Previews of each picture on the way.
    pub previews: u64,
    /// Whether a negative prompt that has no meaning is told rather than refused: there are clients
    /// that always send one.
    pub is_lenient: bool,
}

/// What pictures must have in common to be made together.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// How they are sampled; its batch is not read.
    pub sampling: Sampling,
    /// How the adapter is used; `None` is the base as it is.
    pub variant: Option<Variant>,
    /// Which LoRA files are laid over the base, by their place at the start, and how strongly.
    pub loras: Vec<(usize, f64)>,
}

/// A wish that can be fulfilled.
#[derive(Debug, Clone)]
pub struct Order {
    /// How.
    pub recipe: Arc<Recipe>,
    /// What.
    pub shots: Vec<Shot>,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Previews of each picture on the way.
    pub previews: usize,
    /// What the client may want to know.
    pub warnings: Vec<String>,
}
