//! What a run is made of: the embedded world's own data, or what the flags name.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use burn::tensor::Device;
use hyperalign_rewards::{Prompt, Reward};
use hyperalign_train::{
    align::AlignSettings,
    data::{ColumnNames, Preferences, PreferredPictures, TrainingData, drawn::DrawnSet},
    method::{DataNeed, Materials, RewardNeed},
    watch::HeldOut,
};
use miette::{Diagnostic, IntoDiagnostic};

use super::embedded::emoji;
use crate::{
    args::{OwnData, share},
    base::{self, BaseOptions},
    hub::{self, Asked, Data},
    output,
    prompts::of_file,
    rewards,
};

/// Prompts that a run learns from.
pub(super) const TRAINING_PROMPTS: usize = 1200;
/// Prompts that key steps are chosen over, few, since pictures may take minutes; sample grids show the
/// first of them.
const SAMPLE_PROMPTS: usize = 12;
/// Prompts of a base other than an embedded one that the table at the end is made on, at most.
const TABLE_PROMPTS: usize = 24;

/// A base or a model that this command cannot train with.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum MaterialsError {
    #[error("the base `{given}` has no {missing} of its own, and `{method}` needs {it}")]
    #[diagnostic(help("add {flags}, or take `--base emoji-sd` or `--base emoji-flux`"))]
    Missing {
        given: String,
        method: &'static str,
        missing: &'static str,
        it: &'static str,
        flags: &'static str,
    },
    #[error(
        "`--held-out {held_out}` has a network in common with the reward that is trained against, \
         `{trained}`, and cannot tell whether that is cheated"
    )]
    #[diagnostic(help("hold out a reward of another network"))]
    SharesANetwork { held_out: String, trained: String },
    #[error("`--data` names pictures of the emoji world, and `{given}` is no base of it")]
    #[diagnostic(help(
        "add `--preferences PATH` (Pick-a-Pic or HPD) instead, or take `--base emoji-sd`"
    ))]
    OwnData { given: String },
    #[error(
        "`--reward {given}` would train against `{}`, which is kept for measuring: the table at \
         the end calls it held-out",
        rewards::HELD_OUT
    )]
    #[diagnostic(help(
        "leave `--reward` out for the embedded world's own, `{}`, or name a published reward or a \
         folder of a CLIP",
        rewards::PROXY
    ))]
    KeptForMeasuring { given: String },
}

/// What a run is made of.
pub(super) struct Opened {
    pub(super) materials: Materials,
    /// The prompts that the table at the end is made on, where they are not the embedded world's.
    pub(super) table: Option<Vec<Prompt>>,
    /// Of the preferences, where they are of the hub: a branch may move until a run is resumed.
    pub(super) commit: Option<String>,
}

/// The rewards that flags and settings name.
pub(super) struct Named {
    /// The one that is trained against; the embedded world's own if there is none.
    pub(super) reward: Option<Arc<dyn Reward>>,
    /// Those that are only looked at.
    pub(super) held_out: Vec<Arc<dyn Reward>>,
}

/// Flags that name data.
#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    /// Pictures that people preferred: Pick-a-Pic or HPD as parquet, HPD's JSON, a folder of
    /// them, or parquet files of the hub, `hf:datasets/OWNER/NAME[@REVISION][/FILE_OR_DIR]`. Rows
    /// without a caption are left out; the orientation that cameras write is not applied. A method
    /// that learns from pictures needs it on a base other than an embedded one. A run that is resumed
    /// needs it again.
    #[arg(long, value_name = "FILE_OR_DIR")]
    preferences: Option<PathBuf>,

    /// Pictures of an embedded base's own world to learn from: `curated`, clean renders of what was
    /// asked for; or what `hyperalign pairs` has drawn, `winners`, `winners-hasty` or `ranked`.
    /// Default: curated for a base of the small world, winners for one of the large world and for a
    /// method that learns from pairs or labels. A run that is resumed needs it again.
    #[arg(long, value_enum, value_name = "SET", conflicts_with = "preferences")]
    data: Option<OwnData>,

    /// The share of the preferred pictures that may be damaged or missing, from 0 to 1. They are
    /// passed over, and the log has their share; with more there is no run.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = PreferredPictures::MOST_DAMAGED,
        value_parser = share
    )]
    max_damaged: f64,

    /// What the columns of `--preferences` are called, where they are not called as in Pick-a-Pic
    /// or HPD: `caption=text,jpg_0=left,jpg_1=right,label_0=left_is_better`. A run that is resumed
    /// needs it again.
    #[arg(long, value_name = "KNOWN=OWN,..", requires = "preferences")]
    columns: Option<ColumnNames>,

    /// Prompts to learn from: a set in any of the formats of `hyperalign score`, or
    /// `hf:datasets/OWNER/NAME[@REVISION][/FILE]`. Default: the embedded world's own, or those of the
    /// preferences. A run that is resumed needs it again.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
}

impl DataArgs {
    /// What tells a run with this data from one with other data; none for the world's own.
    pub(super) fn identity(&self) -> Option<serde_json::Value> {
        let is_own = self.preferences.is_none() && self.prompts.is_none() && self.data.is_none();
        (!is_own).then(|| match (&self.columns, self.data) {
            (None, None) => serde_json::json!([self.preferences, self.prompts]),
            (None, Some(data)) => serde_json::json!([data, self.prompts]),
            (Some(columns), _) => {
                serde_json::json!([self.preferences, self.prompts, columns.to_string()])
            }
        })
    }

    /// The materials of a run of the base called `given`, opened as `options` say, against the
    /// rewards that are named.
    ///
    /// # Errors
    ///
    /// Fails if the base, its prompts or what the method needs are missing or cannot be read, and
    /// if the reward cannot score pictures of the base.
    pub(super) fn open(
        &self,
        (given, options): (&str, &BaseOptions),
        Named { reward, held_out }: Named,
        settings: &AlignSettings,
        device: &Device,
    ) -> miette::Result<Opened> {
        let offline = options.offline;
        let prompts =
            self.prompts.as_deref().map(|file| of_file(file, None, offline)).transpose()?;
        let open = |path| self.open_preferences(path, offline, settings.training.seed);
        let opened = self.preferences.as_deref().map(open).transpose()?;
        let (preferences, of_hub) = opened.map_or((None, None), |(set, data)| (Some(set), data));
        let opened = |materials, table| {
            // From here on the run has the screen.
            let shows_progress = of_hub.as_ref().map(Data::shows_progress);
            shows_progress.inspect(|shows| shows.store(false, Ordering::Relaxed));
            let commit = of_hub.as_ref().map(|data| data.commit().to_owned());
            Opened { materials, table, commit }
        };
        let pictures = |preferences, size| -> miette::Result<Arc<PreferredPictures>> {
            let pictures = PreferredPictures::new(preferences, size, self.max_damaged);
            let pictures = pictures.into_diagnostic()?;
            pictures.notes().iter().for_each(|note| output::warn(note));
            Ok(Arc::new(pictures))
        };
        if base::embedded_base(given).is_some() {
            let kept = |reward: &&Arc<dyn Reward>| {
                rewards::share_a_network(reward.name(), rewards::HELD_OUT)
            };
            if let Some(reward) = reward.as_ref().filter(kept) {
                let given = reward.name().to_owned();
                return Err(MaterialsError::KeptForMeasuring { given }.into());
            }
            // Renders cost nothing where nothing is learned from data.
            let needed = settings.method.needs().data;
            let default = match needed {
                _ if preferences.is_some() => Some(OwnData::Curated),
                DataNeed::None => Some(OwnData::Curated),
                // Renders have no counterpart that is liked less.
                DataNeed::Pairs | DataNeed::Labels => Some(OwnData::Drawn(DrawnSet::Winners)),
                DataNeed::Pictures => None,
            };
            let set = self.data.or(default);
            let mut world = emoji((given, options), set, reward, settings, device)?;
            if let Some(watched_by) = world.held_out.as_mut().filter(|_| !held_out.is_empty()) {
                watched_by.rewards = held_out;
            }
            if let Some(preferences) = preferences {
                let size = world.base.picture_size();
                // Before anything is trained: this base knows only so many words.
                let said = preferences.prompts(TRAINING_PROMPTS).into_diagnostic()?;
                world.base.cut_off(&said).into_diagnostic()?;
                world.data = TrainingData::Pairs(pictures(preferences, size)?);
            }
            if let Some(prompts) = prompts {
                world.prompts = prompts;
            }
            check_held_out(&world, settings)?;
            return Ok(opened(checked(world)?, None));
        }
        // Says which bases there are, if it is none at all.
        base::place(given)?;
        if self.data.is_some() {
            return Err(MaterialsError::OwnData { given: given.to_owned() }.into());
        }
        self.check_needs(given, settings, reward.is_some())?;
        let (base, _) = base::open(given, options, device)?;
        let (prompts, table) = shares(prompts, preferences.as_ref(), settings)?;
        let sample_prompts = SAMPLE_PROMPTS.max(settings.samples.prompts);
        let data = match preferences {
            None => TrainingData::None,
            Some(preferences) => TrainingData::Pairs(pictures(preferences, base.picture_size())?),
        };
        let watched = settings.watch.prompts.min(prompts.len());
        let materials = checked(Materials {
            base,
            reward,
            reward_decoder: None,
            held_out: Some(HeldOut {
                prompts: prompts[..watched].to_vec(),
                rewards: held_out,
                ..HeldOut::default()
            }),
            sample_prompts: Prompt::texts(&prompts[..sample_prompts.min(prompts.len())]),
            prompts,
            data,
            attribution: None,
            device: device.clone(),
        })?;
        check_held_out(&materials, settings)?;
        Ok(opened(materials, Some(table)))
    }

    /// The preferences at `path`, and the data set that they come from where they are of the hub.
    fn open_preferences(
        &self,
        path: &Path,
        offline: bool,
        seed: u64,
    ) -> miette::Result<(Preferences, Option<Data>)> {
        let names = self.columns.clone().unwrap_or_default();
        let Some(name) = hub::name(path) else {
            return Ok((Preferences::open_with(path, seed, &names).into_diagnostic()?, None));
        };
        let data = Data::preferences(name, offline)?;
        data.tell("when the run comes to them");
        let shards = Box::new(data.clone());
        let set = Preferences::stream(shards, &data.folder(), seed, &names).into_diagnostic()?;
        Ok((set, Some(data)))
    }

    /// What of the data is on the hub, with the flags that name it.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&'static str, Asked<'_>)> {
        let preferences = self.preferences.as_deref().and_then(hub::name).map(Asked::Preferences);
        let prompts = self.prompts.as_deref().and_then(hub::name).map(Asked::Prompts);
        preferences
            .map(|of| ("--preferences", of))
            .into_iter()
            .chain(prompts.map(|of| ("--prompts", of)))
    }

    /// Checks, before a base is read, that the flags name what the method needs and the base has
    /// not.
    fn check_needs(
        &self,
        given: &str,
        settings: &AlignSettings,
        has_reward: bool,
    ) -> Result<(), MaterialsError> {
        let (needs, has_data) = (settings.method.needs(), self.preferences.is_some());
        let needs_data = needs.data != DataNeed::None && !has_data;
        let needs_reward = needs.reward != RewardNeed::None && !has_reward;
        let (missing, it, flags) = match (needs_data, needs_reward) {
            (true, true) => (
                "data and no reward",
                "both",
                "`--preferences PATH` (Pick-a-Pic or HPD) and `--reward NAME`",
            ),
            (true, false) => ("data", "it", "`--preferences PATH` (Pick-a-Pic or HPD)"),
            (false, true) => ("reward", "one", "`--reward NAME`"),
            (false, false) if self.prompts.is_none() && !has_data => {
                ("prompts", "them", "`--prompts FILE`")
            }
            (false, false) => return Ok(()),
        };
        let (given, method) = (given.to_owned(), settings.method.name());
        Err(MaterialsError::Missing { given, method, missing, it, flags })
    }
}

/// Checks that what is held out has had nothing to do with the reward that the method learns from.
fn check_held_out(materials: &Materials, settings: &AlignSettings) -> Result<(), MaterialsError> {
    let is_rewarded = settings.method.needs().reward != RewardNeed::None;
    let Some(trained) = materials.reward.as_ref().filter(|_| is_rewarded) else { return Ok(()) };
    let rewards = materials.held_out.iter().flat_map(|held_out| &held_out.rewards);
    let mut names = rewards.map(|reward| reward.name());
    match names.find(|name| rewards::share_a_network(name, trained.name())) {
        Some(name) => Err(MaterialsError::SharesANetwork {
            held_out: name.to_owned(),
            trained: trained.name().to_owned(),
        }),
        None => Ok(()),
    }
}

/// Prompts to learn from, and others for the table at the end: the last of the file, or of the
/// preferences.
fn shares(
    given: Option<Vec<Prompt>>,
    preferences: Option<&Preferences>,
    settings: &AlignSettings,
) -> miette::Result<(Vec<Prompt>, Vec<Prompt>)> {
    let mut prompts: Vec<Prompt> = match (given, preferences) {
        (Some(prompts), _) => prompts,
        (None, Some(preferences)) => {
            let found = preferences.prompts(TRAINING_PROMPTS + TABLE_PROMPTS).into_diagnostic()?;
            let prompt = |text| Prompt { text, ..Prompt::default() };
            found.into_iter().map(prompt).collect()
        }
        (None, None) => Vec::new(),
    };
    let most = settings.evaluation.prompts.min(TABLE_PROMPTS);
    // A set of a few prompts is learned from whole, and measured on as well.
    let table = match prompts.len() / 10 {
        0 => prompts.iter().take(most).cloned().collect(),
        tenth => prompts.split_off(prompts.len() - tenth.min(most)),
    };
    Ok((prompts, table))
}

fn checked(materials: Materials) -> miette::Result<Materials> {
    let size = materials.base.picture_size();
    if let Some(reward) = &materials.reward {
        reward.check(size, &materials.prompts).into_diagnostic()?;
    }
    let prompts = materials.prompts.iter().map(|prompt| prompt.text.as_str());
    let prompts = prompts.chain(materials.sample_prompts.iter().map(String::as_str));
    base::warn_of_cuts(materials.base.as_ref(), prompts)?;
    Ok(materials)
}
