//! What shape a hypernetwork has, and what it adapts.

use hyperalign_core::{contract::Held, lora::LoraTarget};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the update is computed anew along a trajectory (arXiv:2601.15968, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// HyperAlign-S: at every step.
    S,
    /// HyperAlign-P: at a few key steps, shared until the next one.
    P,
    /// HyperAlign-I: once, from the initial noise.
    I,
}

impl Variant {
    /// Whether the update changes before sampling step `i`.
    ///
    /// `key_steps` are sampling steps; the first step refreshes in any case.
    pub fn refreshes(self, i: usize, key_steps: &[usize]) -> bool {
        match self {
            Self::S => true,
            Self::P => i == 0 || key_steps.contains(&i),
            Self::I => i == 0,
        }
    }

    /// Whether an update has to be computed at step `i` of a trajectory that samples with `held`:
    /// where it changes, where there is none, and for P where what is held belongs to a later step,
    /// because the trajectory has gone back.
    pub fn is_due(self, i: usize, key_steps: &[usize], held: Option<&Held>) -> bool {
        let behind = |held: &Held| self == Self::P && held.since > i;
        self.refreshes(i, key_steps) || held.is_none_or(behind)
    }

    /// The last step at or before `i` at which the update changed.
    pub fn source_step(self, i: usize, key_steps: &[usize]) -> usize {
        (0..=i).rev().find(|&k| self.refreshes(k, key_steps)).unwrap_or(0)
    }

    /// The name in tables, `hyperalign-s`.
    pub fn label(self) -> &'static str {
        match self {
            Self::S => "hyperalign-s",
            Self::P => "hyperalign-p",
            Self::I => "hyperalign-i",
        }
    }
}

/// Hyper-parameters of a [`Hypernet`](super::Hypernet).
///
/// The paper states none of them; the defaults follow the third-party replication where it
/// names a value (rank 4, a = b = 16, four pre-norm layers) and are smaller where the embedded
/// world needs less.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HypernetConfig {
    /// Rank of the update.
    pub rank: usize,
    /// Inner width of the input side: the outer factor is `[d_input, a]`.
    pub a: usize,
    /// Inner width of the output side: the outer factor is `[b, d_output]`.
    pub b: usize,
    /// Width of the transformer decoder.
    pub width: usize,
    /// Layers of the transformer decoder.
    pub layers: usize,
    /// Attention heads of the transformer decoder.
    pub heads: usize,
    /// `alpha` of LoRA; the update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Standard deviation of the head's outputs at the start, relative to the value that keeps
    /// the scale of activations. Small gains made the update the same for every prompt.
    pub head_gain: f64,
    /// Size of positional encodings beside content of size 1. At 1 the decoder sees mostly
    /// positions, and emits the same update for every prompt.
    pub position_scale: f64,
    /// Blocks of the perception encoder that are run, where there is a choice; all of those that
    /// the base has for it if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder_depth: Option<usize>,
    /// Channels of the perception encoder's output.
    pub feature_dim: usize,
    /// Channels of the text encoder's token states.
    pub context_dim: usize,
    /// The adapted layers. Their order is the order of the query tokens.
    pub targets: Vec<LoraTarget>,
}

impl HypernetConfig {
    /// Defaults for a base with these adapted layers and feature sizes.
    pub fn new(targets: Vec<LoraTarget>, feature_dim: usize, context_dim: usize) -> Self {
        Self {
            rank: 4,
            a: 16,
            b: 16,
            width: 128,
            layers: 4,
            heads: 8,
            alpha: 4.0,
            head_gain: 1.0,
            position_scale: 0.1,
            encoder_depth: None,
            feature_dim,
            context_dim,
            targets,
        }
    }

    /// Numbers that the head emits for one adapted layer, `rank (a + b)`.
    pub fn token_outputs(&self) -> usize {
        self.rank * (self.a + self.b)
    }

    /// Checks what the constructor relies on.
    ///
    /// # Errors
    ///
    /// Names the first number that cannot be, and what it would have to be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("rank", self.rank),
            ("a", self.a),
            ("b", self.b),
            ("width", self.width),
            ("layers", self.layers),
            ("heads", self.heads),
            ("feature_dim", self.feature_dim),
            ("context_dim", self.context_dim),
            ("targets", self.targets.len()),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero { name });
        }
        if !self.width.is_multiple_of(self.heads) || !self.width.is_multiple_of(4) {
            return Err(ConfigError::Width { width: self.width, heads: self.heads });
        }
        Ok(())
    }
}

/// A hypernetwork that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A size is zero.
    #[error("hypernet `{name}` is 0; it must be at least 1")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// The base's encoder cannot be cut off there.
    #[error(
        "hypernet `encoder_depth` is {depth}, but the perception encoder of this base {}",
        choice(*depths)
    )]
    Depth {
        /// What was given.
        depth: usize,
        /// How many blocks there are to choose from.
        depths: usize,
    },
    /// The base has fewer blocks than are to be left alone.
    #[error(
        "`frozen_blocks` is {blocks}, but the perception encoder of this base has {depths} blocks; \
         take 0 to {depths}"
    )]
    Frozen {
        /// What was given.
        blocks: usize,
        /// How many blocks there are.
        depths: usize,
    },
    /// No layer that can be adapted is called so.
    #[error(
        "no layer of this base that can be adapted ends in `{given}`; take some of {}, with or \
         without what stands before them",
        known.join(", ")
    )]
    Target {
        /// What was given.
        given: String,
        /// How the layers' paths end.
        known: Vec<String>,
    },
    /// Heads or positions do not fit the width.
    #[error("hypernet `width` {width} must be a multiple of 4 and of `heads` {heads}")]
    Width {
        /// What was given.
        width: usize,
        /// What it has to be divisible by.
        heads: usize,
    },
}

fn choice(depths: usize) -> String {
    match depths {
        0 => "leaves no choice; leave `encoder_depth` out".to_owned(),
        _ => format!("has {depths} blocks; take 1 to {depths}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_refresh_where_they_say() {
        let steps = |variant: Variant| {
            (0..6).filter(|&i| variant.refreshes(i, &[2, 4])).collect::<Vec<_>>()
        };
        assert_eq!(steps(Variant::S), [0, 1, 2, 3, 4, 5]);
        assert_eq!(steps(Variant::P), [0, 2, 4]);
        assert_eq!(steps(Variant::I), [0]);
        assert_eq!(Variant::P.source_step(3, &[2, 4]), 2);
        assert_eq!(Variant::P.source_step(1, &[2, 4]), 0);
        assert_eq!(Variant::S.source_step(5, &[]), 5);
    }
}
