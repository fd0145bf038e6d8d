//! How a reward is found and opened.

use std::{path::Path, sync::Arc};

use burn::tensor::Device;
use hyperalign_models::{embedded, weights::Folder};
use hyperalign_rewards::{ClipReward, ClipRewardError, Files, Reads, Reward};

use super::RewardError;
use crate::base;

/// The embedded preference model that the embedded bases are trained against.
pub const PROXY: &str = "emoji-proxy";
/// The embedded preference model that is kept for measuring.
pub const HELD_OUT: &str = "emoji-heldout";

/// Opens the reward that `text` describes: a published one from its `files`, an embedded one, a
/// folder, or a mix of them.
///
/// # Errors
///
/// Fails if there is no such reward, or it cannot be read.
pub fn open(text: &str, files: &Files, device: &Device) -> Result<Arc<dyn Reward>, RewardError> {
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
        let folder = find(name).ok_or_else(|| RewardError::unknown(name, false))?;
        Ok(Arc::new(clip(name, &folder, device)?))
    })
}

/// Whether the embedded model called `name` is part of the program.
pub(super) fn has_embedded(name: &str) -> bool {
    preference_models().any(|model| model == name)
}

/// Opens the preference model called `given`: an embedded one or a folder.
///
/// # Errors
///
/// Fails if there is no such model, or it cannot be read.
pub fn reward(given: &str, device: &Device) -> Result<ClipReward, RewardError> {
    let folder = find(given).ok_or_else(|| RewardError::unknown(given, false))?;
    Ok(clip(given, &folder, device)?)
}

/// Opens the CLIP in `folder` as the reward called `name`, and tells what of its files is not read.
///
/// # Errors
///
/// Fails if it cannot be read.
pub(super) fn clip(
    name: &str,
    folder: &Folder,
    device: &Device,
) -> Result<ClipReward, ClipRewardError> {
    // The embedded world's own were trained on what decoders make.
    let reads = if has_embedded(name) { Reads::Tensors } else { Reads::Pictures };
    let reward = ClipReward::from_folder(name, folder, "", device)?.reading(reads);
    base::tell_passed_over(&reward.passed_over(), name);
    Ok(reward)
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
fn published() -> impl Iterator<Item = &'static str> {
    hyperalign_rewards::registry().iter().map(|entry| entry.name)
}

/// Names of the embedded models that are no bases.
fn preference_models() -> impl Iterator<Item = &'static str> {
    embedded::names().filter(|name| base::embedded_base(name).is_none())
}

/// The rewards that there are, for the help of an error.
pub(super) fn known(gold: bool) -> String {
    let gold = gold.then_some("gold");
    let names: Vec<&str> = gold.into_iter().chain(preference_models()).chain(published()).collect();
    format!("rewards: {}; or give a folder of a CLIP", names.join(", "))
}

/// An embedded model or a folder.
fn find(given: &str) -> Option<Folder> {
    let folder = || Path::new(given).is_dir().then(|| Folder::disk(given));
    embedded::folder(given).or_else(folder)
}

/// The embedded model called `name`, unless it is a base.
pub(super) fn preference_model(name: &str) -> Option<Folder> {
    embedded::folder(name).filter(|_| base::embedded_base(name).is_none())
}
