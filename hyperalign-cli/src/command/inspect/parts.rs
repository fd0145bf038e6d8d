//! The parts of a pipeline's folder: which there should be, and whether those that are no networks
//! can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hyperalign_core::schedule::{FlowSchedulerConfig, SchedulerConfig};
use hyperalign_models::tokenizer::Tokenizer;
use hyperalign_models::weights::Folder;
use serde::Deserialize;
use serde_json::Value;

/// The file that says which pipeline a folder holds.
pub(super) const INDEX: &str = "model_index.json";

/// The file of a schedule.
const SCHEDULE: &str = "scheduler/scheduler_config.json";

/// What `model_index.json` says.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    /// The class that diffusers gives the pipeline.
    #[serde(rename = "_class_name")]
    pub(super) class: String,
    #[serde(flatten)]
    entries: BTreeMap<String, Value>,
}

/// The pipelines that are built here, with the parts that each is read from.
const PIPELINES: [(&str, &[&str]); 2] = [
    ("StableDiffusionPipeline", &["scheduler", "text_encoder", "tokenizer", "unet", "vae"]),
    (
        "FluxPipeline",
        &[
            "scheduler",
            "text_encoder",
            "text_encoder_2",
            "tokenizer",
            "tokenizer_2",
            "transformer",
            "vae",
        ],
    ),
];

impl Index {
    /// The parts that the pipeline is read from; nothing for a class that is not built here.
    pub(super) fn needed(&self) -> Option<&'static [&'static str]> {
        PIPELINES.iter().find(|(class, _)| *class == self.class).map(|(_, parts)| *parts)
    }

    /// The parts that the index names or that the pipeline is read from.
    pub(super) fn parts(&self) -> BTreeSet<&str> {
        // A part is a library and a class, `[null, null]` where it was left out.
        let named = self.entries.iter().filter(|(_, entry)| entry[1].is_string());
        let named = named.map(|(name, _)| name.as_str());
        named.chain(self.needed().unwrap_or_default().iter().copied()).collect()
    }

    /// Why the pipeline is not built here.
    pub(super) fn foreign(&self) -> Option<String> {
        let classes = PIPELINES.map(|(class, _)| class).join(" and ");
        self.needed().is_none().then(|| {
            format!("`{INDEX}` names the class `{}`; those that are read are {classes}", self.class)
        })
    }

    /// Whether the pipeline cannot be had without the part called `name`.
    pub(super) fn needs(&self, name: &str) -> bool {
        self.needed().is_some_and(|needed| needed.contains(&name))
    }
}

/// Whether the folder `path` has a part called `name`.
pub(super) fn is_there(path: &Path, name: &str) -> bool {
    path.join(name).is_dir()
}

/// Why the part called `name`, which is a vocabulary or a schedule, cannot be used by a pipeline of
/// this class.
pub(super) fn problem(folder: &Folder, path: &Path, class: &str, name: &str) -> Option<String> {
    match name {
        "scheduler" => schedule(folder, class).err(),
        _ => Tokenizer::from_dir(path.join(name))
            .map(|_| ())
            .map_err(|error| format!("`{}` cannot be read: {error}", folder.display(name)))
            .err(),
    }
}

fn schedule(folder: &Folder, class: &str) -> Result<(), String> {
    let usable = |result: Result<(), String>| {
        result.map_err(|error| format!("`{}`: {error}", folder.display(SCHEDULE)))
    };
    if class == "FluxPipeline" {
        let config: FlowSchedulerConfig =
            folder.read_config(SCHEDULE).map_err(|error| error.to_string())?;
        return usable(config.sigmas(1, 1).map(|_| ()).map_err(|error| error.to_string()));
    }
    let config: SchedulerConfig =
        folder.read_config(SCHEDULE).map_err(|error| error.to_string())?;
    usable(config.process().map(|_| ()).map_err(|error| error.to_string()))
}

/// Whether the part called `name` is a vocabulary or a schedule, and no network.
pub(super) fn has_no_weights(name: &str) -> bool {
    name == "scheduler" || name.starts_with("tokenizer")
}
