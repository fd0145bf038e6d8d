//! What a comparison is told; one TOML file.

use std::path::PathBuf;

use hyperalign_models::hypernet::Variant;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Claim, Published};

/// The format of comparison files that this program reads.
pub const FORMAT: u32 = 1;

/// A whole comparison: what is compared, on what, and what was expected of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Comparison {
    /// The format of the file, [`FORMAT`].
    pub format: u32,
    /// The title of the report.
    pub title: String,
    /// What is compared and why, in a few sentences.
    pub about: String,
    /// Prompts, noise and seeds, the same for everything.
    pub protocol: Protocol,
    /// By what pictures are scored.
    pub scores: ScoreNames,
    /// The bases; every entry is compared on each, unless it names some.
    pub bases: Vec<BaseEntry>,
    /// What is compared. The base as it is needs no entry.
    pub entries: Vec<Entry>,
    /// Measurements along training.
    pub curves: Curves,
    /// Tables of a few entries each, beside that of all.
    pub tables: Vec<TableEntry>,
    /// What is claimed, with what was predicted.
    pub claims: Vec<Claim>,
    /// Numbers that others have published, to be shown beside ours.
    pub published: Vec<Published>,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            format: FORMAT,
            title: "A comparison".to_owned(),
            about: String::new(),
            protocol: Protocol::default(),
            scores: ScoreNames::default(),
            bases: Vec::new(),
            entries: Vec::new(),
            curves: Curves::default(),
            tables: Vec::new(),
            claims: Vec::new(),
            published: Vec::new(),
        }
    }
}

/// Prompts, noise and seeds: the same for every entry, so that differences are paired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// A file of prompts; the base's own where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PathBuf>,
    /// Which of an embedded base's own prompts: `test`, or `tuning` for whoever still chooses.
    pub split: String,
    /// Rows of the list of prompts; those of a file that are more are left out.
    pub rows: usize,
    /// Pictures of each row.
    pub seeds: usize,
    /// Seed of the first picture; the others follow.
    #[serde(with = "crate::learner::seed")]
    pub first_seed: u64,
    /// Seeds of what is trained.
    pub training_seeds: Vec<u64>,
    /// The most pictures that are made at once.
    pub batch: usize,
    /// Rows whose pictures are kept: for the grids, and for the distance to the base.
    pub kept_rows: usize,
    /// Prompts that the weights along the steps, and the movement of the base, are measured over.
    pub probe_prompts: usize,
    /// The entry that the others are compared with, beside the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Entries that bars and grids show, beside the base and the reference.
    pub shown: Vec<String>,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            prompts: None,
            split: "test".to_owned(),
            rows: 660,
            seeds: 1,
            first_seed: 1_000_000,
            training_seeds: vec![0],
            batch: 32,
            kept_rows: 120,
            probe_prompts: 24,
            reference: None,
            shown: Vec::new(),
        }
    }
}

/// Rewards by their roles, as `hyperalign eval` takes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreNames {
    /// What is trained against; the embedded world's own for its pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// What nothing is trained against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heldout: Option<String>,
    /// Others, a column each.
    pub rewards: Vec<String>,
    /// Files of rewards, `NAME=PATH`.
    pub weights: Vec<String>,
    /// The column that decides.
    pub primary: String,
}

impl Default for ScoreNames {
    fn default() -> Self {
        Self {
            proxy: None,
            heldout: None,
            rewards: Vec::new(),
            weights: Vec::new(),
            primary: "gold".to_owned(),
        }
    }
}

/// A base and how it is sampled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseEntry {
    /// What it is called here.
    pub name: String,
    /// What `--base` would be given; its name if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Sampling steps; what suits the base if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Weight of guidance; what suits the base if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
}

impl BaseEntry {
    /// What `--base` is given.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.name)
    }
}

/// One thing that is compared: a trained adapter, one from a file, or a method that works while
/// pictures are sampled, over the base or over an adapter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// Its name, which other tables of the file use.
    pub name: String,
    /// What the report calls it; its name if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The heading that it stands under in tables.
    pub group: String,
    /// Where its settings come from.
    pub source: String,
    /// The bases that it is for; all if none is named.
    pub bases: Vec<String>,
    /// How it is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Train>,
    /// Another entry, whose trained adapter this one uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The file of an adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// How the adapter is used, where not as it was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
    /// What the adapter's updates are multiplied by; 1 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter_scale: Option<f64>,
    /// The share of the sampling steps, from the first, that the adapter takes part in; all of them if
    /// nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter_until: Option<f64>,
    /// A method that works while pictures are sampled, such as `best-of-n`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Settings of that method.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// What that method may cost a picture, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_seconds: Option<f64>,
    /// Whether it is measured along its training, too.
    pub curve: bool,
}

impl Entry {
    /// What the report calls it.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    /// Whether it is for the base called `base`.
    pub fn is_for(&self, base: &str) -> bool {
        self.bases.is_empty() || self.bases.iter().any(|name| name == base)
    }
}

/// How an adapter is trained: what `hyperalign train` is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// A file of settings, beside this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// Settings laid over those of the file, as a file would have them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// The set of an embedded base's own pictures to learn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Preferred pictures of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferences: Option<PathBuf>,
    /// Prompts to learn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PathBuf>,
    /// The reward; the embedded world's own if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<String>,
    /// Files of the reward.
    pub reward_weights: Vec<String>,
    /// Seeds, in place of the protocol's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Vec<u64>>,
    /// Samples of the model that an update learns from, for the column of states. A method that
    /// learns from pictures alone has none, and says 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states_per_update: Option<f64>,
    /// An entry for whose wall time this one is trained, however many updates that makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_of: Option<String>,
}

/// Measurements along training, of entries with `curve = true`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Curves {
    /// Shares of the updates after which is measured; the end is measured in any case.
    pub points: Vec<f64>,
    /// Rows of prompts. They are the tuning prompts of an embedded base, or the first of a file.
    pub rows: usize,
}

impl Default for Curves {
    fn default() -> Self {
        Self { points: vec![0.125, 0.25, 0.5, 0.75], rows: 120 }
    }
}

/// A table of a few entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableEntry {
    /// Its heading.
    pub title: String,
    /// A line on what it shows.
    pub reading: String,
    /// Its rows, by the names of entries.
    pub entries: Vec<String>,
}
