//! Who scores pictures that are already there.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_models::weights::Folder;
use hyperalign_rewards::{Files, Prompt, Reward, Role, ScoreError, emoji::Gold};
use image::RgbImage;
use miette::Report;

use super::{
    RewardError, is_mix_of, kinds,
    open::{clip, preference_model},
    share_a_network,
};

/// Longer prompts are refused. No reward reads more than some hundred tokens.
pub const MAX_WORDS: usize = 1000;
/// The same for scripts that put no spaces between words.
pub const MAX_CHARACTERS: usize = 20_000;

/// Flags that choose rewards.
#[derive(Debug, clap::Args)]
pub struct JudgeArgs {
    #[arg(long, required = true, value_name = "NAME_OR_DIR", help = format!(
        "Who scores: gold (the embedded world's exact scorer), or a reward: {}. Give it several \
         times for several scores of each picture",
        kinds()
    ))]
    pub reward: Vec<String>,

    /// Files of a reward: its folder, or a file in it. With several rewards, or several in a mix,
    /// NAME=PATH.
    #[arg(long, alias = "weights", value_name = "[NAME=]PATH")]
    pub reward_weights: Vec<String>,

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

/// The scores of one picture by each reward in order, or why there are none. A reward that judges by
/// rules gives none to a prompt without.
pub type Scores = Result<Vec<Option<f32>>, String>;

/// A reward that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NotOpened {
    /// Its name, as it was given.
    pub reward: String,
    /// Why.
    pub reason: String,
}

impl Judge {
    /// The scores of those pictures that it scores.
    fn score(
        &self,
        pictures: &[RgbImage],
        prompts: &[Prompt],
        device: &Device,
    ) -> Vec<Option<f32>> {
        self.reward.score_those(prompts, &mut |places, those| {
            if places.len() == prompts.len() {
                return self.reward.score_pictures(pictures, those, device);
            }
            let pictures: Vec<RgbImage> = places.iter().map(|&k| pictures[k].clone()).collect();
            self.reward.score_pictures(&pictures, those, device)
        })
    }
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
    pub fn open(args: &JudgeArgs, device: &Device) -> miette::Result<Self> {
        Self::open_with(args, device, |_, error| Err(error))
    }

    /// Opens those of the rewards that can be opened, and says why of the others.
    ///
    /// # Errors
    ///
    /// Fails for flags that mean nothing, and if no reward can be opened.
    pub fn open_what_can_be(
        args: &JudgeArgs,
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
        args: &JudgeArgs,
        device: &Device,
        mut failed: impl FnMut(&str, Report) -> miette::Result<()>,
    ) -> miette::Result<Self> {
        let weights = weights(args)?;
        let is_part = |name: &String| args.reward.iter().any(|given| share_a_network(given, name));
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
                    failed(given, error.into())?;
                    continue;
                }
            };
            if judges.iter().any(|judge| judge.reward.name() == reward.name()) {
                return Err(twice().into());
            }
            let is_trained = args.trained_on.iter().any(|name| share_a_network(given, name));
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

    /// Whether any of them judges by the rules of prompts.
    pub fn need_rules(&self) -> bool {
        self.iter().any(|judge| judge.reward.needs_rules())
    }

    /// About how many bytes each picture takes while it is scored, itself not counted: one reward
    /// scores after the other.
    pub fn memory_per_picture(&self) -> u64 {
        self.iter().map(|judge| judge.reward.memory_per_picture()).max().unwrap_or(0)
    }

    /// Whether every reward can score this picture and prompt; those that judge by rules are not
    /// asked about a prompt without.
    ///
    /// # Errors
    ///
    /// Fails with the first reason against it.
    pub fn check(&self, picture: &RgbImage, prompt: &Prompt) -> Result<(), String> {
        self.check_by(picture, prompt, |judge| judge.reward.scores(prompt))
    }

    /// [`check`](Self::check), with a reason against a prompt without rules where rules are needed.
    ///
    /// # Errors
    ///
    /// Fails with the first reason against it.
    #[cfg(feature = "serve")]
    pub fn check_all(&self, picture: &RgbImage, prompt: &Prompt) -> Result<(), String> {
        self.check_by(picture, prompt, |_| true)
    }

    fn check_by(
        &self,
        picture: &RgbImage,
        prompt: &Prompt,
        is_asked: impl Fn(&&Judge) -> bool,
    ) -> Result<(), String> {
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
        let mut asked = self.iter().filter(is_asked);
        asked.try_for_each(|judge| judge.reward.check(size, prompts).map_err(refused))
    }

    /// Scores of pictures that were checked, each by every reward in order.
    ///
    /// # Errors
    ///
    /// A score that is not a number is an error of its picture.
    pub fn score(&self, pictures: &[RgbImage], prompts: &[Prompt]) -> Vec<Scores> {
        let columns: Vec<Vec<Option<f32>>> =
            self.iter().map(|judge| judge.score(pictures, prompts, &self.device)).collect();
        let row = |k: usize| {
            let scores: Vec<Option<f32>> = columns.iter().map(|column| column[k]).collect();
            let is_broken = |score: &Option<f32>| score.is_some_and(|score| !score.is_finite());
            match scores.iter().position(is_broken) {
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
fn weights(args: &JudgeArgs) -> Result<Vec<Vec<String>>, RewardError> {
    let mut weights = vec![Vec::new(); args.reward.len()];
    for given in &args.reward_weights {
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
            } else if is_mix_of(reward, name) {
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
fn open(given: &str, weights: &[String], device: &Device) -> Result<Arc<dyn Reward>, RewardError> {
    if given == "gold" {
        return Ok(Arc::new(Gold));
    }
    if hyperalign_rewards::is_known(given) {
        return super::open(given, &Files::new(weights), device);
    }
    let named = weights.first().map(Path::new);
    let folder = match named.or_else(|| Some(Path::new(given)).filter(|path| path.is_dir())) {
        Some(path) => Folder::disk(path),
        None => preference_model(given).ok_or_else(|| RewardError::unknown(given, true))?,
    };
    Ok(Arc::new(clip(given, &folder, device)?))
}
