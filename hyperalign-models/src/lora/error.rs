//! Why a LoRA file cannot be used.

use std::fmt;

use hyperalign_core::atomic::WriteError;

use super::{Convention, Family};
use crate::{hypernet::AdapterError, weights::LoadError};

/// Why a LoRA file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// The file itself is not readable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It is an adapter of this program, and not one for this base.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// It holds something else.
    #[error(
        "`{file}` holds no LoRA: none of its {keys} keys ends in lora_A.weight, lora_down.weight or \
         the like; {}", first.as_ref().map_or_else(
            || "it has no tensor at all".to_owned(), |key| format!("the first is `{key}`"))
    )]
    NoLora {
        /// The file.
        file: String,
        /// How many keys it has.
        keys: usize,
        /// The first of them.
        first: Option<String>,
    },
    /// It is a hypernetwork, which is no LoRA before it has seen a prompt.
    #[error(
        "`{file}` is a hypernetwork of HyperAlign, which writes a LoRA for each prompt; pass it with \
         `--adapter`, or make a plain LoRA of it with `hyperalign lora bake`"
    )]
    Hypernet {
        /// The file.
        file: String,
    },
    /// A base whose text encoder is adapted has no folder of its own.
    #[error(
        "the base `{name}` has LoRA files laid over its text encoder, and cannot be written as a model \
         folder; leave them out, or use the adapter file over the same base and files"
    )]
    OverText {
        /// The base.
        name: String,
    },
    /// It has whole weights, which are no product of two matrices.
    #[error(
        "`{file}` has trained whole weights, and is no LoRA; pass it with `--adapter`, or the model \
         folder beside it with `--base`"
    )]
    FullWeights {
        /// The file.
        file: String,
    },
    /// It is of another kind, whose update is no product of two matrices.
    #[error(
        "`{file}` is {kind} (key `{key}`), which is not read; merge it into its model with the \
         program that made it, or extract a LoRA from it there"
    )]
    Kind {
        /// The file.
        file: String,
        /// What it is.
        kind: &'static str,
        /// The key that shows it.
        key: String,
    },
    /// Some of what it names is not in the base.
    #[error("`{file}` cannot be applied whole: {unmatched}")]
    Unmatched {
        /// The file.
        file: String,
        /// What does not match.
        unmatched: Box<Unmatched>,
    },
    /// A factor is not of the layer's shape.
    #[error("`{file}` does not fit the base: {misfit}")]
    Shape {
        /// The file.
        file: String,
        /// What does not fit.
        misfit: Box<Misfit>,
    },
    /// An update of more rank than its layer.
    #[error(
        "`{module}` of `{file}` is of rank {rank}, and no update of the layer {layer} has more than \
         {most}; the file is damaged, or for a wider model"
    )]
    Rank {
        /// The file.
        file: String,
        /// The module of the file.
        module: String,
        /// Its rank.
        rank: usize,
        /// The layer of the base.
        layer: String,
        /// The most that the layer can have.
        most: usize,
    },
    /// A module lacks one of its factors.
    #[error("`{module}` of `{file}` has no {missing}; the file was cut or merged wrongly")]
    Incomplete {
        /// The file.
        file: String,
        /// The module of the file.
        module: String,
        /// What is not there.
        missing: &'static str,
    },
    /// The strength of an update is nothing that can be used.
    #[error(
        "`{module}` of `{file}` has the alpha {alpha}, so that its update is {}; train it anew, or \
         set alpha to the rank", if *alpha == 0.0 { "nothing" } else { "no number" }
    )]
    Alpha {
        /// The file.
        file: String,
        /// The module of the file.
        module: String,
        /// What the file says.
        alpha: f64,
    },
    /// Two modules of a file adapt one layer.
    #[error(
        "`{file}` adapts the layer {layer} twice, as `{first}` and as `{second}`: it was merged of \
         files in two conventions; give each by itself"
    )]
    Twice {
        /// The file.
        file: String,
        /// The layer of the base.
        layer: String,
        /// One module.
        first: String,
        /// The other.
        second: String,
    },
    /// What the file says about itself cannot be read.
    #[error("`{file}` describes its alpha in a way that is not read: {reason}")]
    Metadata {
        /// The file, or the configuration beside it.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The base has no layers that files could name.
    #[error("LoRA files cannot be laid over the base `{base}`: its layers have no names in them")]
    NoLayers {
        /// The base.
        base: String,
    },
    /// The file to write could not be.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A module whose factors are not of its layer's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The module of the file.
    pub module: String,
    /// The layer of the base.
    pub layer: String,
    /// The shape of its weight.
    pub expected: Vec<usize>,
    /// The shape of the factor next to the input.
    pub down: Vec<usize>,
    /// The shape of the factor next to the output.
    pub up: Vec<usize>,
    /// The family of the base.
    pub family: Family,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, layer, expected, down, up, family } = self;
        let others = match family {
            Family::StableDiffusion1 => " (Stable Diffusion 2.x and XL share names with 1.x)",
            Family::Flux1 => "",
        };
        write!(
            f,
            "`{module}` has the factors {down:?} and {up:?}, and the weight of {layer} is \
             {expected:?}; it is for a model of other sizes{others}"
        )
    }
}

/// How the modules of a file differ from the layers of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The conventions that its modules are named in.
    pub conventions: Vec<Convention>,
    /// What it looks like being for, where that is another family.
    pub made_for: Option<&'static str>,
    /// The family of the base.
    pub family: Family,
    /// Modules that match a layer.
    pub matched: usize,
    /// Those that do not, the first of them with the nearest name of the base.
    pub modules: Vec<(String, Option<String>)>,
}

/// More lines than this say nothing new.
const SHOWN: usize = 3;

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.matched + self.modules.len();
        let conventions: Vec<String> = self.conventions.iter().map(ToString::to_string).collect();
        match conventions.as_slice() {
            [] => f.write_str("its modules are named in no convention that is known here")?,
            names => write!(f, "its names are those of {}", names.join(" and of "))?,
        }
        write!(f, ", and of its {total} modules {} match a layer of this base", self.matched)?;
        let shown: Vec<String> = self
            .modules
            .iter()
            .take(SHOWN)
            .map(|(module, near)| match near {
                Some(near) => format!("`{module}` (nearest: `{near}`)"),
                None => format!("`{module}`"),
            })
            .collect();
        write!(f, "; not found: {}", shown.join(", "))?;
        if self.modules.len() > SHOWN {
            write!(f, " and {} more", self.modules.len() - SHOWN)?;
        }
        match self.made_for {
            Some(made_for) => {
                write!(f, "; it looks like a LoRA for {made_for}, and this base is {}", self.family)
            }
            None => Ok(()),
        }
    }
}
