//! Who scores the pictures of a base.

use std::{path::Path, sync::Arc};

use burn::tensor::Device;
use clap::ArgGroup;
use hyperalign_models::{base::Base, embedded, weights::Folder};
use hyperalign_rewards::{
    ClipReward, ClipRewardError, Files, Mix, MixError, OpenError, Reads, Reward,
    emoji::{self, SIZE},
    geneval::Row,
    prompts::Prompt,
};
use hyperalign_train::eval::{
    ClipSpace, EmojiGold, Evaluation, ImageSpace, Judge, Measures, Pixels, Role, Scorer, Summary,
};
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};

use crate::base;

/// A reward model that is not there.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("unknown reward model `{given}`: it is no embedded model and no folder")]
struct UnknownReward {
    given: String,
    #[help]
    known: String,
}

/// The embedded preference model that the embedded bases are trained against.
pub const PROXY: &str = "emoji-proxy";
/// The embedded preference model that is kept for measuring.
pub const HELD_OUT: &str = "emoji-heldout";

/// Flags that name rewards.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("rewards").multiple(true).args(["reward", "proxy", "heldout"]))]
pub struct RewardArgs {
    #[arg(long, value_name = "REWARD", help = format!("Reward: {}", kinds()))]
    pub reward: Vec<String>,

    /// Reward that the adapter was trained against, any that `--reward` takes. Default: the
    /// embedded world's own, for its pictures.
    #[arg(long, value_name = "REWARD")]
    pub proxy: Option<String>,

    /// Reward that nothing was trained against, any that `--reward` takes. Default: the embedded
    /// world's own, for its pictures.
    #[arg(long, value_name = "REWARD")]
    pub heldout: Option<String>,

    /// Files of a reward: its folder, or a file in it. With several rewards, one for each.
    #[arg(long, value_name = "[NAME=]PATH", requires = "rewards")]
    pub reward_weights: Vec<String>,
}

/// Where the files of `rewards` are, as the flag `--reward-weights` says.
///
/// # Errors
///
/// Fails for files of a published reward that is none of `rewards`.
pub fn files<T: AsRef<str>>(rewards: &[T], weights: &[String]) -> miette::Result<Files> {
    for given in weights {
        let Some((name, _)) = given.split_once('=') else { continue };
        let is_used = |reward: &T| reward.as_ref() == name || is_mix_of(reward.as_ref(), name);
        if hyperalign_rewards::entry(name).is_some() && !rewards.iter().any(is_used) {
            return Err(NotAsked { given: given.clone(), name: name.to_owned() }.into());
        }
    }
    Ok(Files::new(weights))
}

/// Whether `reward` is a mix with the published reward `name` among its parts.
pub fn is_mix_of(reward: &str, name: &str) -> bool {
    let is_published = hyperalign_rewards::entry(name).is_some();
    is_published && reward != name && parts(reward).iter().any(|part| part == name)
}

/// Whether two rewards, by what names them, are the same network or mixes with one in common: who
/// was trained against a mix was trained against its parts, and the other way round.
pub fn share_a_network(one: &str, other: &str) -> bool {
    let networks = |reward: &str| -> Vec<String> {
        let network = |part: &String| hyperalign_rewards::network_of(part).to_owned();
        parts(reward).iter().map(network).collect()
    };
    let others = networks(other);
    networks(one).iter().any(|network| others.contains(network))
}

/// The names of the rewards in a mix; of another reward its own.
fn parts(reward: &str) -> Vec<String> {
    let terms = reward.strip_prefix("mix:").and_then(|terms| Mix::parse(terms).ok());
    match terms {
        Some(terms) => terms.into_iter().map(|term| term.name).collect(),
        None => vec![reward.to_owned()],
    }
}

/// Files of a reward that nobody asked for.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`--reward-weights {given}`: there is no `--reward {name}`")]
struct NotAsked {
    given: String,
    name: String,
}

/// Opens the reward that `text` describes: a published one from its `files`, an embedded one, a
/// folder, or a mix of them.
///
/// # Errors
///
/// Fails if there is no such reward, or it cannot be read.
pub fn open(text: &str, files: &Files, device: &Device) -> miette::Result<Arc<dyn Reward>> {
    hyperalign_rewards::open_with(text, |name| -> Result<Arc<dyn Reward>, RewardError> {
        if hyperalign_rewards::entry(name).is_some() {
            let opened = hyperalign_rewards::open_one(name, files, device);
            let reward = opened.map_err(|error| match files.of(name) {
                Some(_) => error.into(),
                None => RewardError::NoPath { error },
            })?;
            base::tell_passed_over(&reward.passed_over(), name);
            return Ok(reward);
        }
        let folder = find(name).map_err(|_| RewardError::unknown(name))?;
        Ok(Arc::new(clip(name, &folder, device)?))
    })
    .map_err(Into::into)
}

/// A reward that cannot be opened.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum RewardError {
    #[error("unknown reward `{given}`: it is no reward of this program and no folder of a CLIP")]
    Unknown {
        given: String,
        #[help]
        known: String,
    },
    #[error("{error}")]
    #[diagnostic(help(
        "name the folder: `--weights PATH` with score and serve-rewards, `--reward-weights PATH` \
         with train and eval"
    ))]
    NoPath { error: OpenError },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Mix(#[from] MixError),
    #[error(transparent)]
    Clip(#[from] ClipRewardError),
}

impl RewardError {
    fn unknown(given: &str) -> Self {
        let known: Vec<&str> = published().chain(preference_models()).collect();
        Self::Unknown { given: given.to_owned(), known: format!("rewards: {}", known.join(", ")) }
    }
}

/// A reward in a column.
struct Column {
    name: String,
    reward: Arc<dyn Reward>,
    role: Role,
}

/// The scorers that are at hand for a base and its prompts.
pub struct Scorers {
    gold: Option<EmojiGold>,
    columns: Vec<Column>,
    space: Option<Arc<ClipReward>>,
}

impl Scorers {
    /// Opens what there is. The exact scorer and the embedded preference models judge the
    /// embedded world's pictures, and nothing else; flags name other rewards. Prompts of the
    /// embedded world that come without rules get those that their words mean.
    ///
    /// `trained` is the reward that the adapter says it was trained against. It decides what is
    /// called so; where it is none, the column `proxy` is.
    ///
    /// # Errors
    ///
    /// Fails if a reward that was named is not there, and if one cannot be read.
    pub fn open(
        base: &dyn Base,
        prompts: &mut [Prompt],
        args: &RewardArgs,
        trained: Option<&str>,
        device: &Device,
    ) -> miette::Result<Self> {
        let is_world = is_emoji_world(base, prompts);
        let own = |name: &'static str| Some(name).filter(|_| is_world && has_embedded(name));
        let proxy = args.proxy.as_deref().or(own(PROXY));
        let heldout = args.heldout.as_deref().or(own(HELD_OUT));
        let named: Vec<&str> =
            args.reward.iter().map(String::as_str).chain(proxy).chain(heldout).collect();
        let files = files(&named, &args.reward_weights)?;
        // Diversity needs a space of pictures, which a mix, or a head on another network, has not.
        let space = heldout.filter(|name| !hyperalign_rewards::is_known(name)).or(own(HELD_OUT));
        let space = space.map(|name| reward(name, device).map(Arc::new)).transpose()?;

        let mut columns: Vec<Column> = Vec::new();
        if let Some(given) = proxy {
            let is_trained = trained.is_none_or(|trained| share_a_network(trained, given));
            columns.push(Column {
                name: Scorer::PROXY.to_owned(),
                reward: open(given, &files, device)?,
                role: if is_trained { Role::TrainedAgainst } else { Role::Other },
            });
        }
        if let Some(given) = heldout {
            let is_trained = trained.is_some_and(|trained| share_a_network(trained, given));
            let reward: Arc<dyn Reward> = match &space {
                Some(space) if space.name() == given => space.clone(),
                _ => open(given, &files, device)?,
            };
            let (name, role) = match is_trained {
                true => (reward.name(), Role::TrainedAgainst),
                false => (Scorer::HELD_OUT, Role::HeldOut),
            };
            columns.push(Column { name: name.to_owned(), role, reward });
        }
        for given in &args.reward {
            let reward = open(given, &files, device)?;
            if columns.iter().any(|column| column.name == reward.name()) {
                continue;
            }
            let is_trained = trained.is_some_and(|trained| share_a_network(trained, given));
            let role = if is_trained { Role::TrainedAgainst } else { Role::Other };
            columns.push(Column { name: reward.name().to_owned(), role, reward });
        }
        Ok(Self { gold: is_world.then_some(EmojiGold), columns, space })
    }

    /// Where diversity is measured: the space of the held-out model, in which a trained method
    /// has had no reason to move; pixels where there is none.
    pub fn space(&self) -> Box<dyn ImageSpace + '_> {
        match &self.space {
            Some(space) => Box::new(ClipSpace(space)),
            None => Box::new(Pixels),
        }
    }

    /// What they measure, with diversity in `space`.
    pub fn measures<'a>(&'a self, space: &'a dyn ImageSpace) -> Measures<'a> {
        let scorer = |column: &'a Column| Scorer {
            column: column.name.clone(),
            reward: column.reward.as_ref(),
            role: column.role,
        };
        Measures {
            gold: self.gold.as_ref().map(|gold| gold as &dyn Judge),
            scorers: self.columns.iter().map(scorer).collect(),
            space,
        }
    }
}

/// Whether the embedded model called `name` is part of the program.
fn has_embedded(name: &str) -> bool {
    preference_models().any(|model| model == name)
}

/// Opens the preference model called `given`: an embedded one or a folder.
///
/// # Errors
///
/// Fails if there is no such model, or it cannot be read.
pub fn reward(given: &str, device: &Device) -> miette::Result<ClipReward> {
    clip(given, &find(given)?, device).into_diagnostic()
}

/// Opens the CLIP in `folder` as the reward called `name`, and tells what of its files is not read.
///
/// # Errors
///
/// Fails if it cannot be read.
pub fn clip(name: &str, folder: &Folder, device: &Device) -> Result<ClipReward, ClipRewardError> {
    // The embedded world's own were trained on what decoders make.
    let reads = if has_embedded(name) { Reads::Tensors } else { Reads::Pictures };
    let reward = ClipReward::from_folder(name, folder, "", device)?.reading(reads);
    base::tell_passed_over(&reward.passed_over(), name);
    Ok(reward)
}

/// Whether the base draws pictures of the embedded world's size and every prompt is one that its
/// scorer understands. If so, every prompt has rules afterwards.
fn is_emoji_world(base: &dyn Base, prompts: &mut [Prompt]) -> bool {
    let meant: Result<Vec<Row>, _> =
        prompts.iter().map(|prompt| emoji::parse(&prompt.text)).collect();
    let Ok(meant) = meant else { return false };
    if base.picture_size() != [SIZE; 2] {
        return false;
    }
    for (prompt, row) in prompts.iter_mut().zip(meant) {
        prompt.row.get_or_insert(row);
    }
    true
}

/// What `--reward` may be, for its help.
pub fn kinds() -> String {
    let published: Vec<&str> = published().collect();
    let embedded: Vec<&str> = preference_models().collect();
    format!(
        "a published one ({}), an embedded preference model ({}), a folder of a CLIP, or a mix, as \
         in mix:1*hps_v2.1(0.27,0.02)+0.5*aesthetic(5.4,0.6): weight, name, and the mean and \
         deviation that its scores are standardised by",
        published.join(", "),
        embedded.join(", ")
    )
}

/// Names of the published rewards.
pub fn published() -> impl Iterator<Item = &'static str> {
    hyperalign_rewards::registry().iter().map(|entry| entry.name)
}

/// Names of the embedded models that are no bases.
pub fn preference_models() -> impl Iterator<Item = &'static str> {
    embedded::names().filter(|name| base::embedded_base(name).is_none())
}

/// An embedded model or a folder.
fn find(given: &str) -> Result<Folder, UnknownReward> {
    let unknown = || {
        let names: Vec<&str> = preference_models().collect();
        let folder = "give a folder with config.json and model.safetensors of a CLIP";
        let known = match names.is_empty() {
            true => folder.to_owned(),
            false => format!("embedded models: {}; or {folder}", names.join(", ")),
        };
        UnknownReward { given: given.to_owned(), known }
    };
    match embedded::folder(given) {
        Some(folder) => Ok(folder),
        None => Path::new(given).is_dir().then(|| Folder::disk(given)).ok_or_else(unknown),
    }
}

/// Runs an evaluation under a bar. `None` if it was interrupted.
///
/// # Errors
///
/// Fails as the evaluation does.
pub fn measure(evaluation: &Evaluation) -> miette::Result<Option<Summary>> {
    let pictures = evaluation.prompts.len() * evaluation.seeds;
    let bar = ProgressBar::new((pictures * evaluation.methods.len()) as u64);
    let names: Vec<&String> = evaluation.methods.iter().map(|method| &method.name).collect();
    let measured = evaluation.run(&mut |done| {
        let before = names.iter().position(|name| *name == done.method).unwrap_or(0) * done.of;
        bar.set_position((before + done.pictures) as u64);
    });
    bar.finish_and_clear();
    Ok(measured.into_diagnostic()?.map(|measured| Summary::new(evaluation, &measured)))
}
