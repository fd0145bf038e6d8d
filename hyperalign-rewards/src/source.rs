//! Finding the files of a published reward.

use std::path::{Path, PathBuf};

use hyperalign_core::input;
use hyperalign_models::{
    clip::{ClipConfig, ConfigError},
    mask2former::DetectorError,
    tokenizer::{Tokenizer, TokenizerError},
    weights::{Folder, LoadError, Tensors},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::mix::MixError;

/// Names that the weights of one model are kept under, by whoever wrote them.
const WEIGHTS: [&str; 3] =
    ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin"];
/// The token that fills rows of CLIP up where nobody names another.
const CLIP_PAD: &str = "<|endoftext|>";
/// That of BERT.
const BERT_PAD: &str = "[PAD]";

/// The folder that a reward's files lie in, under their published names. Naming a file of it
/// instead picks that file among several.
#[derive(Debug, Clone)]
pub struct Source {
    folder: PathBuf,
    file: Option<PathBuf>,
    takes_any_sizes: bool,
}

/// Why a reward could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No reward has this name.
    #[error("unknown reward `{given}`; known are {}", known.join(", "))]
    Unknown {
        /// The name.
        given: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A reward of published weights without any.
    #[error("the reward `{name}` needs its published files in one folder: {files}")]
    NoFiles {
        /// The reward.
        name: String,
        /// What to get.
        files: &'static str,
    },
    /// There is nothing at a path.
    #[error("`{}` is neither a file nor a folder", path.display())]
    NoPath {
        /// The path.
        path: PathBuf,
    },
    /// A folder without weights.
    #[error("no weights in `{}`: expected one of {}", folder.display(), tried.join(", "))]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// The names that were tried.
        tried: Vec<String>,
    },
    /// A folder without a tokenizer.
    #[error(
        "no tokenizer in `{}` or its folder `tokenizer`: put {files} of the model there",
        folder.display()
    )]
    NoTokenizer {
        /// The folder.
        folder: PathBuf,
        /// The files that make one.
        files: &'static str,
    },
    /// A head that was made for other features.
    #[error("`{}` is a head for {found} features, and this picture encoder gives {expected}", file.display())]
    Width {
        /// The file of the head.
        file: PathBuf,
        /// Features that the encoder gives.
        expected: usize,
        /// Features that the head takes.
        found: usize,
    },
    /// Weights of another network, by what lies beside them.
    #[error(
        "`{}` is not of the network that `{name}` is published with: {}; get the published files, \
         or, to score by another CLIP, give its folder as the reward",
        file.display(),
        beginning(differences)
    )]
    Sizes {
        /// The reward.
        name: String,
        /// The file that states the sizes.
        file: PathBuf,
        /// Each size that differs, as found and as published.
        differences: Vec<String>,
    },
    /// A folder that lacks one of the networks that a reward is made of.
    #[error("no folder `{part}` in `{}`; put there: {files}", folder.display())]
    NoPart {
        /// The folder.
        folder: PathBuf,
        /// The name of the folder that is missing in it.
        part: &'static str,
        /// What to put where.
        files: &'static str,
    },
    /// A detector.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// A mix that cannot be.
    #[error(transparent)]
    Mix(#[from] MixError),
    /// Weights.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The sizes of a network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// The first few differences, and how many more there are.
fn beginning(differences: &[String]) -> String {
    let most = 3;
    let first = differences.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    match differences.len().saturating_sub(most) {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

impl Source {
    /// The files at `path`: a folder, or a file of it.
    ///
    /// # Errors
    ///
    /// Fails if there is nothing at `path`.
    pub fn new(path: &Path) -> Result<Self, OpenError> {
        if path.is_dir() {
            return Ok(Self { folder: path.to_owned(), file: None, takes_any_sizes: false });
        }
        if !input::is_there(path) {
            return Err(OpenError::NoPath { path: path.to_owned() });
        }
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        Ok(Self { folder, file: Some(path.to_owned()), takes_any_sizes: false })
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that was named, if one was.
    pub(crate) fn named(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The file of the folder that ends in `.extension`, if there is just one.
    pub(crate) fn only_file(&self, extension: &str) -> Option<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).ok()?;
        let ends = |path: &PathBuf| path.extension().is_some_and(|given| given == extension);
        let mut found = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(ends);
        let first = found.next();
        first.filter(|_| found.next().is_none())
    }

    /// The folder called `name` in it, if there is one.
    pub(crate) fn part(&self, name: &str) -> Option<Self> {
        let folder = Some(self.folder.join(name)).filter(|folder| folder.is_dir())?;
        Some(Self { folder, file: None, takes_any_sizes: self.takes_any_sizes })
    }

    /// The same files, which may be of a network of any sizes.
    pub(crate) fn of_any_sizes(self) -> Self {
        Self { takes_any_sizes: true, ..self }
    }

    /// The file that was named, or else the first of `names` that is there.
    pub(crate) fn file(&self, names: &[&str]) -> Option<PathBuf> {
        let there = |name: &&str| Some(self.folder.join(name)).filter(|path| input::is_there(path));
        self.file.clone().or_else(|| names.iter().find_map(there))
    }

    /// The weights of the file that was named, or of the first of `names` that is there, or of
    /// a model in the layout of transformers or open_clip.
    pub(crate) fn weights(&self, names: &[&str]) -> Result<Tensors, OpenError> {
        match self.file(names) {
            Some(file) => Ok(Tensors::open_pytorch(&file)?),
            None => self.model(names),
        }
    }

    /// The weights of a model in the layout of transformers or open_clip, whichever file was
    /// named.
    pub(crate) fn model(&self, tried: &[&str]) -> Result<Tensors, OpenError> {
        let stored = match Folder::disk(&self.folder).tensors("") {
            Err(LoadError::NoWeights { tried, .. }) => tried,
            other => return Ok(other?),
        };
        if let Some(name) =
            WEIGHTS.into_iter().find(|name| input::is_there(&self.folder.join(name)))
        {
            return Ok(Tensors::open_pytorch(&self.folder.join(name))?);
        }
        let tried = tried.iter().chain(&WEIGHTS).map(|name| (*name).to_owned());
        let tried = tried.chain(stored).collect();
        Err(OpenError::NoWeights { folder: self.folder.clone(), tried })
    }

    /// The JSON file called `name`, if there is one.
    pub(crate) fn json(&self, name: &str) -> Result<Option<Value>, OpenError> {
        let folder = Folder::disk(&self.folder);
        Ok(folder.contains(name).then(|| folder.read_config(name)).transpose()?)
    }

    /// The sizes of a CLIP that a file beside the weights states, or else `published`.
    ///
    /// # Errors
    ///
    /// Fails for other sizes than the published ones, which make another reward than the one
    /// called `name`.
    pub(crate) fn clip_config(
        &self,
        name: &str,
        published: ClipConfig,
    ) -> Result<ClipConfig, OpenError> {
        for file in ["open_clip_config.json", "config.json"] {
            if let Some(json) = self.json(file)? {
                let stated = ClipConfig::from_json(&json.to_string())?;
                self.check_sizes(name, file, differences(&stated, &published))?;
                return Ok(stated);
            }
        }
        Ok(published)
    }

    /// Whether a network whose sizes the file called `file` states may be that of the reward
    /// called `name`.
    pub(crate) fn check_sizes(
        &self,
        name: &str,
        file: &str,
        differences: Vec<String>,
    ) -> Result<(), OpenError> {
        if differences.is_empty() || self.takes_any_sizes {
            return Ok(());
        }
        Err(OpenError::Sizes { name: name.to_owned(), file: self.folder.join(file), differences })
    }

    /// CLIP's tokenizer, for rows of `context_length`.
    pub(crate) fn clip_tokenizer(&self, context_length: usize) -> Result<Tokenizer, OpenError> {
        if let (Some(vocab), Some(merges)) = (self.text("vocab.json")?, self.text("merges.txt")?) {
            return Ok(Tokenizer::from_vocab_and_merges(&vocab, &merges, context_length)?);
        }
        let files = "tokenizer.json, or vocab.json and merges.txt,";
        self.tokenizer(context_length, CLIP_PAD, files)
    }

    /// BERT's tokenizer, for rows of `context_length`.
    pub(crate) fn bert_tokenizer(&self, context_length: usize) -> Result<Tokenizer, OpenError> {
        if let (None, Some(vocab)) = (self.text("tokenizer.json")?, self.text("vocab.txt")?) {
            return Ok(Tokenizer::from_word_pieces(&vocab, context_length)?);
        }
        let files = "the tokenizer.json or the vocab.txt of bert-base-uncased";
        self.tokenizer(context_length, BERT_PAD, files)
    }

    /// Of a `tokenizer.json`, whose rows are cut as the reward cuts them, whatever the folder's
    /// own configuration says.
    fn tokenizer(
        &self,
        context_length: usize,
        pad: &str,
        files: &'static str,
    ) -> Result<Tokenizer, OpenError> {
        let missing = || OpenError::NoTokenizer { folder: self.folder.clone(), files };
        let tokenizer = self.text("tokenizer.json")?.ok_or_else(missing)?;
        let own: Value = match self.text("tokenizer_config.json")? {
            Some(text) => serde_json::from_str(&text).map_err(TokenizerError::from)?,
            None => Value::Null,
        };
        let pad = own.get("pad_token").cloned().unwrap_or_else(|| json!(pad));
        let config = json!({"model_max_length": context_length, "pad_token": pad});
        Ok(Tokenizer::from_json(&tokenizer, Some(&config.to_string()))?)
    }

    /// The text of the file called `name`, in the folder or in its folder `tokenizer`.
    fn text(&self, name: &str) -> Result<Option<String>, OpenError> {
        let mut places =
            [self.folder.join(name), self.folder.join("tokenizer").join(name)].into_iter();
        let Some(path) = places.find(|path| input::is_there(path)) else { return Ok(None) };
        let read = input::read_text(&path);
        Ok(Some(read.map_err(|source| LoadError::Io { path, source })?))
    }
}

/// Keys that say nothing about what a network computes from its weights: two that only training
/// reads, one that other code than ours reads, and one that files write in two ways.
const NO_SIZES: [&str; 4] = [
    "logit_scale_init_value",
    "text_config.projection_dim",
    "vision_config.projection_dim",
    "text_config.eos_token_id",
];

/// Where the sizes `found` differ from the `published` ones.
pub(crate) fn differences<T: Serialize>(found: &T, published: &T) -> Vec<String> {
    let leaves = |config: &T| {
        let mut leaves = Vec::new();
        collect("", &json!(config), &mut leaves);
        leaves
    };
    let pairs = leaves(found).into_iter().zip(leaves(published));
    let differs = pairs.filter(|((key, a), (_, b))| a != b && !NO_SIZES.contains(&key.as_str()));
    differs.map(|((key, a), (_, b))| format!("{key} is {a} instead of {b}")).collect()
}

fn collect(key: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    let Value::Object(map) = value else {
        leaves.push((key.to_owned(), value.clone()));
        return;
    };
    for (name, value) in map {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        collect(&key, value, leaves);
    }
}
