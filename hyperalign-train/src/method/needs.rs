//! What a method cannot do without.

use std::fmt;

/// What a method needs, so that nothing else is asked of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// What it asks a reward for.
    pub reward: RewardNeed,
    /// What it learns from beside prompts.
    pub data: DataNeed,
    /// Whether its trajectories draw noise in their steps; the others must not.
    pub stochastic: bool,
}

/// What a method asks a reward for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewardNeed {
    /// The gradient by the pixels.
    Gradient,
    /// The number alone.
    Score,
    /// Nothing: it needs no reward.
    None,
}

/// What a method learns from beside prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataNeed {
    /// Pictures that people prefer.
    Pictures,
    /// Pairs of pictures of which people prefer one.
    Pairs,
    /// Single pictures that people like or do not.
    Labels,
    /// Nothing.
    None,
}

impl fmt::Display for DataNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pictures => "preferred pictures",
            Self::Pairs => "pairs of pictures",
            Self::Labels => "labelled pictures",
            Self::None => "no data",
        })
    }
}
