//! The rewards that `--reward` names.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_models::{embedded, weights::Folder};
use hyperalign_rewards::{Files, Prompt, Reward, Role, ScoreError, emoji::Gold};
use image::RgbImage;
use miette::{Diagnostic, IntoDiagnostic, Report};

use crate::{base, scorers};

/// Longer prompts are refused. No reward reads more than some hundred tokens.
pub const MAX_WORDS: usize = 1000;
/// The same for scripts that put no spaces between words.
pub const MAX_CHARACTERS: usize = 20_000;

/// A reward that is not there, or weights for none.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum RewardError {
    #[error("unknown reward `{given}`: it is no reward of this program and no folder")]
    Unknown {
        given: String,
        #[help]
        known: String,
    },
    #[error("the reward `{given}` comes twice")]
    Twice { given: String },
    #[error("`--weights {given}` does not say which reward it is for")]
    #[diagnostic(help("with several rewards, write `--weights NAME=PATH`"))]
    Ambiguous { given: String },
    #[error("`--weights {given}`: there is no `--reward {name}`")]
    NoSuchReward { given: String, name: String },
    #[error("`--trained-on {given}`: there is no `--reward {given}`")]
    NotAsked { given: String },
}

/// Flags that choose rewards.
#[derive(Debug, clap::Args)]
pub struct RewardArgs {
    #[arg(long, required = true, value_name = "NAME_OR_DIR", help = format!(
        "Who scores: gold (the embedded world's exact scorer), or a reward: {}. Give it several \
         times for several scores of each picture",
        scorers::kinds()
    ))]
    pub reward: Vec<String>,

    /// Folder or file of the reward's weights; with several rewards, or several in a mix, NAME=PATH.
    #[arg(long, value_name = "[NAME=]PATH")]
    pub weights: Vec<String>,

    /// Name of a reward that the pictures' model was trained against, or a mix: the table says so
    /// of it, of its parts, and of mixes that it is a part of.
    #[arg(long, value_name = "NAME")]
    pub trained_on: Vec<String>,
}

/// One who scores.
pub struct Judge {
    /// The reward.
    pub reward: Arc<dyn Reward>,
    /// What it has had to do with the pictures.
    pub role: Role,
}

/// A reward that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NotOpened {
    /// Its name, as it was given.
    pub reward: String,
    /// Why.
    pub reason: String,
}

/// All who score, on one device.
pub struct Judges {
    judges: Vec<Judge>,
    device: Device,
}

impl Judges {
    /// Opens the rewards that the flags name.
    ///
    /// # Errors
    ///
    /// Fails if one is not there or cannot be read.
    #[cfg(feature = "serve")]
    pub fn open(args: &RewardArgs, device: &Device) -> miette::Result<Self> {
        Self::open_with(args, device, |_, error| Err(error))
    }

    /// Opens those of the rewards that can be opened, and says why of the others.
    ///
    /// # Errors
    ///
    /// Fails for flags that mean nothing, and if no reward can be opened.
    pub fn open_what_can_be(
        args: &RewardArgs,
        device: &Device,
    ) -> miette::Result<(Self, Vec<NotOpened>)> {
        let (mut not_opened, mut last) = (Vec::new(), None);
        let judges = Self::open_with(args, device, |given, error| {
            if matches!(error.downcast_ref(), Some(RewardError::Unknown { .. })) {
                return Err(error);
            }
            let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
            let reason = format!("{error}{help}");
            not_opened.push(NotOpened { reward: given.to_owned(), reason });
            last = Some(error);
            Ok(())
        })?;
        match last {
            Some(error) if judges.judges.is_empty() => Err(error),
            _ => Ok((judges, not_opened)),
        }
    }

    /// Opens the rewards; `failed` says what an error means for the others.
    fn open_with(
        args: &RewardArgs,
        device: &Device,
        mut failed: impl FnMut(&str, Report) -> miette::Result<()>,
    ) -> miette::Result<Self> {
        let weights = weights(args)?;
        let is_part =
            |name: &String| args.reward.iter().any(|given| scorers::share_a_network(given, name));
        if let Some(name) = args.trained_on.iter().find(|name| !is_part(name)) {
            return Err(RewardError::NotAsked { given: name.clone() }.into());
        }
        let mut judges: Vec<Judge> = Vec::new();
        for (k, (given, weights)) in args.reward.iter().zip(&weights).enumerate() {
            let twice = || RewardError::Twice { given: given.clone() };
            if args.reward[..k].contains(given) {
                return Err(twice().into());
            }
            let reward = match open(given, weights, device) {
                Ok(reward) => reward,
                Err(error) => {
                    failed(given, error)?;
                    continue;
                }
            };
            if judges.iter().any(|judge| judge.reward.name() == reward.name()) {
                return Err(twice().into());
            }
            let is_trained =
                args.trained_on.iter().any(|name| scorers::share_a_network(given, name));
            let role = if is_trained { Role::TrainedAgainst } else { Role::Other };
            judges.push(Judge { reward, role });
        }
        Ok(Self { judges, device: device.clone() })
    }

    /// These, of which nobody said what they have had to do with the pictures.
    #[cfg(test)]
    pub fn of(rewards: Vec<Arc<dyn Reward>>, device: &Device) -> Self {
        let judge = |reward| Judge { reward, role: Role::Other };
        Self { judges: rewards.into_iter().map(judge).collect(), device: device.clone() }
    }

    /// Them, in the order of the flags.
    pub fn iter(&self) -> impl Iterator<Item = &Judge> {
        self.judges.iter()
    }

    /// Whether any of them looks at prompts.
    pub fn need_prompts(&self) -> bool {
        self.iter().any(|judge| judge.reward.needs_prompt())
    }

    /// About how many bytes each picture takes while it is scored, itself not counted: one reward
    /// scores after the other.
    pub fn memory_per_picture(&self) -> u64 {
        self.iter().map(|judge| judge.reward.memory_per_picture()).max().unwrap_or(0)
    }

    /// Whether every reward can score this picture and prompt.
    ///
    /// # Errors
    ///
    /// Fails with the first reason against it.
    pub fn check(&self, picture: &RgbImage, prompt: &Prompt) -> Result<(), String> {
        let words = prompt.text.split_whitespace().count();
        if words > MAX_WORDS {
            return Err(format!("its prompt has {words} words; at most {MAX_WORDS} are read"));
        }
        let characters = prompt.text.chars().count();
        if characters > MAX_CHARACTERS {
            return Err(format!(
                "its prompt has {characters} characters; at most {MAX_CHARACTERS} are read"
            ));
        }
        if words == 0 && self.need_prompts() {
            return Err("its prompt is empty".to_owned());
        }
        let size = [picture.height() as usize, picture.width() as usize];
        let prompts = std::slice::from_ref(prompt);
        let refused = |error: ScoreError| error.to_string();
        self.iter().try_for_each(|judge| judge.reward.check(size, prompts).map_err(refused))
    }

    /// Scores of pictures that were checked, each by every reward in order.
    ///
    /// # Errors
    ///
    /// A score that is not a number is an error of its picture.
    pub fn score(
        &self,
        pictures: &[RgbImage],
        prompts: &[Prompt],
    ) -> Vec<Result<Vec<f32>, String>> {
        let columns: Vec<Vec<f32>> = self
            .iter()
            .map(|judge| judge.reward.score_pictures(pictures, prompts, &self.device))
            .collect();
        let row = |k: usize| {
            let scores: Vec<f32> = columns.iter().map(|column| column[k]).collect();
            match scores.iter().position(|score| !score.is_finite()) {
                Some(at) => {
                    let name = self.judges[at].reward.name();
                    Err(format!("the score of `{name}` is not a finite number"))
                }
                None => Ok(scores),
            }
        };
        (0..pictures.len()).map(row).collect()
    }
}

/// Where the weights of each reward are, as [`Files`] reads them.
fn weights(args: &RewardArgs) -> Result<Vec<Vec<String>>, RewardError> {
    let mut weights = vec![Vec::new(); args.reward.len()];
    for given in &args.weights {
        let Some((name, path)) = given.split_once('=') else {
            let [only] = weights.as_mut_slice() else {
                return Err(RewardError::Ambiguous { given: given.clone() });
            };
            only.push(given.clone());
            continue;
        };
        let mut is_used = false;
        for (reward, weights) in args.reward.iter().zip(&mut weights) {
            if reward == name {
                weights.push(path.to_owned());
            } else if scorers::is_mix_of(reward, name) {
                weights.push(given.clone());
            } else {
                continue;
            }
            is_used = true;
        }
        if !is_used {
            let (given, name) = (given.clone(), name.to_owned());
            return Err(RewardError::NoSuchReward { given, name });
        }
    }
    Ok(weights)
}

/// Opens the reward called `given`, from `weights` where they are named.
///
/// # Errors
///
/// Fails if there is no such reward, or it cannot be read.
fn open(given: &str, weights: &[String], device: &Device) -> miette::Result<Arc<dyn Reward>> {
    if given == "gold" {
        return Ok(Arc::new(Gold));
    }
    if hyperalign_rewards::is_known(given) {
        return scorers::open(given, &Files::new(weights), device);
    }
    let named = weights.first().map(Path::new);
    let folder = match named.or_else(|| Some(Path::new(given)).filter(|path| path.is_dir())) {
        Some(path) => Folder::disk(path),
        None => preference_model(given).ok_or_else(|| unknown(given))?,
    };
    Ok(Arc::new(scorers::clip(given, &folder, device).into_diagnostic()?))
}

/// The embedded model called `name`, unless it is a base.
fn preference_model(name: &str) -> Option<Folder> {
    embedded::folder(name).filter(|_| base::embedded_base(name).is_none())
}

fn unknown(given: &str) -> RewardError {
    let names = scorers::preference_models().chain(scorers::published());
    let known: Vec<&str> = std::iter::once("gold").chain(names).collect();
    let known = format!("rewards: {}; or give a folder of a CLIP", known.join(", "));
    RewardError::Unknown { given: given.to_owned(), known }
}
