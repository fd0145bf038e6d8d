//! What a method cannot do without.

use std::fmt;

/// What a method needs, so that nothing else is asked of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// What it asks a reward for.
    pub reward: RewardNeed,
    /// What it learns from beside prompts.
    pub data: DataNeed,
    /// Whether its trajectories draw noise in their steps.
    pub noise: NoiseNeed,
    /// The bases that it is defined for.
    pub base: BaseNeed,
}

impl Needs {
    /// A method of this reward and data, for any base, whose trajectories draw no noise.
    pub const fn new(reward: RewardNeed, data: DataNeed) -> Self {
        Self { reward, data, noise: NoiseNeed::Never, base: BaseNeed::Any }
    }
}

/// Whether the steps of a method's trajectories draw noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseNeed {
    /// It follows deterministic trajectories.
    Never,
    /// It learns from what was drawn.
    Always,
    /// It may be either.
    Either,
}

/// The bases that a method is defined for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseNeed {
    /// Diffusions and flows.
    Any,
    /// Rectified flows.
    Flow,
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
