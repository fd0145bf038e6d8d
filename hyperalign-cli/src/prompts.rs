//! The prompts that a command works on: a file of any format, or the embedded world's own.

use std::io::Read;
use std::path::{Path, PathBuf};

use hyperalign_models::{base::Base, embedded};
use hyperalign_rewards::emoji::{Split, World};
use hyperalign_rewards::prompts::{self, Prompt, PromptFileError};
use hyperalign_train::data::world_of;
use miette::Diagnostic;
use serde::Serialize;

use crate::hub::{self, Data, DataError};

/// Flags that name prompts.
#[derive(Debug, clap::Args)]
pub struct PromptArgs {
    /// Prompts: PartiPrompts' .tsv, GenEval's .jsonl, HPSv2's or HPDv2's .json or a folder of them,
    /// a .csv or .parquet table, .txt with a prompt a line, `-` for lines of standard input, or
    /// `hf:datasets/OWNER/NAME[@REVISION][/FILE]`. Default: those of an embedded base.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Which of an embedded base's own prompts.
    #[arg(long, value_enum, default_value_t, conflicts_with = "prompts")]
    split: OwnPrompts,
}

/// Prompts of the embedded world, disjoint by what they ask for.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnPrompts {
    /// Those that adapters are trained on.
    Train,
    /// Those that settings are chosen on.
    #[default]
    Tuning,
    /// Those of the table after training, to be looked at once.
    Test,
}

impl OwnPrompts {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Tuning => "tuning",
            Self::Test => "test",
        }
    }
}

impl From<OwnPrompts> for Split {
    fn from(of: OwnPrompts) -> Self {
        match of {
            OwnPrompts::Train => Self::Train,
            OwnPrompts::Tuning => Self::Tuning,
            OwnPrompts::Test => Self::Test,
        }
    }
}

/// Prompts that cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum PromptsError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] PromptFileError),
    /// The data set cannot be had.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hub(#[from] DataError),
    /// The base has no prompts of its own.
    #[error("the base `{base}` has no prompts of its own")]
    #[diagnostic(help(
        "pass `--prompts FILE`: PartiPrompts' .tsv, GenEval's .jsonl, HPDv2's .json, or .txt with \
         a prompt a line"
    ))]
    NoneOfItsOwn {
        /// The base.
        base: String,
    },
}

impl PromptArgs {
    /// The prompts of the file, at most `limit` of them; without a file `limit` or `default` of the
    /// embedded world, for an embedded base. `offline` asks no server for a data set.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or has an entry that is no prompt, or if there is no file
    /// and `base` is not an embedded one.
    pub fn read(
        &self,
        base: &dyn Base,
        limit: Option<usize>,
        default: usize,
        offline: bool,
    ) -> Result<Vec<Prompt>, PromptsError> {
        let Some(path) = &self.prompts else {
            return match embedded::folder(base.name()) {
                Some(_) => {
                    let count = limit.unwrap_or(default);
                    Ok(of_the_world(world_of(base), self.split.into(), count, 0))
                }
                None => Err(PromptsError::NoneOfItsOwn { base: base.name().to_owned() }),
            };
        };
        of_file(path, limit, offline)
    }
}

/// The endings of files of prompts in a data set, of which the first that there are is read.
pub const ENDINGS: [&str; 7] = ["parquet", "tsv", "csv", "jsonl", "ndjson", "txt", "json"];

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// The prompts of a file, at most `limit` of them; `-` is standard input, and `hf:datasets/..` a data
/// set, of which nothing is asked for `offline`.
///
/// # Errors
///
/// Fails if the file cannot be had or read, or has an entry that is no prompt.
pub fn of_file(
    path: &Path,
    limit: Option<usize>,
    offline: bool,
) -> Result<Vec<Prompt>, PromptsError> {
    if let Some(name) = hub::name(path) {
        return of_dataset(name, limit, offline);
    }
    let mut prompts = if path.as_os_str() == STANDARD_INPUT {
        let name = Path::new("standard input");
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|source| PromptFileError::Unreadable { path: name.to_owned(), source })?;
        prompts::read_bytes(name, &bytes)?
    } else {
        prompts::read(path)?
    };
    prompts.truncate(limit.unwrap_or(prompts.len()));
    Ok(prompts)
}

/// The prompts of a data set, file by file until there are `limit` of them.
fn of_dataset(
    name: &str,
    limit: Option<usize>,
    offline: bool,
) -> Result<Vec<Prompt>, PromptsError> {
    let data = Data::open(name, offline, &ENDINGS)?;
    let is_table = |path: &str| path.to_ascii_lowercase().ends_with(".parquet");
    // Tables are cut into files by those who publish them; other files are sets of their own.
    if data.paths().any(|path| !is_table(path)) {
        data.single()?;
    }
    data.tell("now");
    let limit = limit.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for index in 0..data.paths().count() {
        if found.len() >= limit {
            break;
        }
        let file = data.fetch(index)?;
        found.extend(prompts::read(&file)?);
    }
    found.truncate(limit);
    Ok(found)
}

/// `count` prompts of an embedded world, with their rules.
pub fn of_the_world(world: World, split: Split, count: usize, seed: u64) -> Vec<Prompt> {
    world.prompts(split, count, seed).into_iter().map(Prompt::from).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use hyperalign_core::testing;

    use super::*;
    use crate::base::BaseOptions;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        prompts: PromptArgs,
    }

    #[test]
    fn an_embedded_base_has_prompts_of_every_split() {
        let base = crate::base::open("emoji-sd", &BaseOptions::default(), &testing::device());
        let (base, _) = base.unwrap();
        let world = world_of(base.as_ref());
        let read = |flags: &[&str]| -> Vec<String> {
            let flags = Flags::try_parse_from([&["eval"], flags].concat()).unwrap();
            let prompts = flags.prompts.read(base.as_ref(), Some(12), 60, true).unwrap();
            prompts.into_iter().map(|prompt| prompt.text).collect()
        };
        let own = |split| -> Vec<String> {
            world.prompts(split, 12, 0).into_iter().map(|row| row.prompt).collect()
        };
        assert_eq!(read(&[]), own(Split::Tuning));
        for split in [OwnPrompts::Train, OwnPrompts::Tuning, OwnPrompts::Test] {
            assert_eq!(read(&["--split", split.name()]), own(split.into()));
        }
        let both = ["eval", "--split", "test", "--prompts", "rows.jsonl"];
        assert!(Flags::try_parse_from(both).is_err());
    }
}
