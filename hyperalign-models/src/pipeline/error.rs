//! What can be wrong with a model folder or a request to it.

use hyperalign_core::{atomic::WriteError, schedule::SchedulerConfigError};

use crate::{
    tokenizer::TokenizerError,
    weights::{Format, LoadError, SaveError},
};

/// Why a pipeline could not be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A part of it cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The tokenizer cannot be read.
    #[error("`{folder}`: {source}")]
    TokenizerFiles {
        /// The folder.
        folder: String,
        /// What is wrong in it.
        source: TokenizerError,
    },
    /// The tokenizer does not know a word of a prompt.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The noise schedule cannot be used, or not with so many steps.
    #[error(transparent)]
    Scheduler(#[from] SchedulerConfigError),
    /// The folder holds another kind of pipeline.
    #[error(
        "`{file}` describes a {class}; a {expected} was expected, which is what can be sampled \
         from and aligned so far"
    )]
    Class {
        /// The file that says so.
        file: String,
        /// The class that it names.
        class: String,
        /// The classes that can be.
        expected: &'static str,
    },
    /// A folder that holds no pipeline.
    #[error(
        "`{folder}` is no model folder: there is no {index} in it, and no FLUX.1 in one file; give \
         the folder that has {index} beside unet or transformer, vae and the other parts, or a \
         .safetensors file itself"
    )]
    NoIndex {
        /// The folder.
        folder: String,
        /// The file that says which pipeline a folder holds.
        index: &'static str,
    },
    /// Something was named for a model that brings its own.
    #[error("`{option}` is for {wanted}; `{base}` {is}: leave `{option}` out")]
    Unneeded {
        /// The option that named it.
        option: &'static str,
        /// What needs it.
        wanted: &'static str,
        /// The model.
        base: String,
        /// What the model is instead.
        is: &'static str,
    },
    /// A single file is no whole model, or not one of a kind that is read.
    #[error(
        "`{file}` holds {holds}; as a base in one file Stable Diffusion 1.x is read, and FLUX.1 as \
         Black Forest Labs publish it; other models as folders in the layout of diffusers"
    )]
    NoPipeline {
        /// The file.
        file: String,
        /// What it holds.
        holds: String,
    },
    /// A single file, and no vocabulary for its text encoder.
    #[error(
        "`{file}` has no vocabulary in it, as no such file has, and there is none in {}; say with \
         `--tokenizer DIR` where vocab.json and merges.txt (or tokenizer.json) of CLIP are",
        tried.join(" or ")
    )]
    NoVocabulary {
        /// The file.
        file: String,
        /// The folders that were searched.
        tried: Vec<String>,
    },
    /// A single file without an autoencoder.
    #[error(
        "`{file}` has no autoencoder in it; say with `--vae FILE|DIR` where one of Stable Diffusion \
         1.x is (a .safetensors file, or a folder in the layout of diffusers)"
    )]
    NoAutoencoder {
        /// The file.
        file: String,
    },
    /// The transformer of FLUX.1 in one file, and not everything that belongs to it.
    #[error(
        "`{file}` holds the transformer of FLUX.1 alone; missing are {}, looked for in {}; put \
         them there as the published model has them, or say with `--components DIR` where they are",
        missing.join(", "), tried.join(" and ")
    )]
    NoComponents {
        /// The file.
        file: String,
        /// What is missing.
        missing: Vec<String>,
        /// The folders that were searched.
        tried: Vec<String>,
    },
    /// A folder with several transformers of FLUX.1.
    #[error("`{folder}` holds several models: {}; give one of these files instead", files.join(", "))]
    Several {
        /// The folder.
        folder: String,
        /// The files.
        files: Vec<String>,
    },
    /// A number format for a part that the pipeline does not have.
    #[error("a {class} has no part `{part}` to set the number format of; it has {}", parts.join(", "))]
    NoPart {
        /// The class.
        class: &'static str,
        /// What was given.
        part: &'static str,
        /// The parts that it has.
        parts: &'static [&'static str],
    },
    /// The device does not compute in the format that a part is to have.
    #[error(
        "this device does not compute as {format} does, the format for the {part}; use {other} \
         there"
    )]
    Format {
        /// The part.
        part: &'static str,
        /// The format.
        format: Format,
        /// One that every device has.
        other: &'static str,
    },
    /// A model that was read in 8 bits cannot be written.
    #[error(
        "the weights of the {part} are held in 8 bits, which are rounded, and a model is written \
         with whole ones; open the base without q8 in `--dtype` to write it"
    )]
    EightBit {
        /// The part.
        part: &'static str,
    },
    /// A prompt that was not among those that were encoded before the text encoders were let go of.
    #[error("the text encoders were let go of, and `{prompt}` was not encoded before")]
    NotRead {
        /// The prompt.
        prompt: String,
    },
    /// A model without text encoders cannot be written.
    #[error("the text encoders of `{base}` were let go of, and a model is written with all parts")]
    LetGo {
        /// The base.
        base: String,
    },
    /// Two parts do not fit each other.
    #[error("the parts of `{folder}` do not fit each other: {reason}")]
    Parts {
        /// The folder.
        folder: String,
        /// Which parts, with their numbers.
        reason: String,
    },
    /// A part cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
