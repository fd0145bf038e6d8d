//! What a run in the embedded world is made of.

use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_models::embedded;
use hyperalign_rewards::{
    ClipReward,
    emoji::{self, Split},
    geneval::Row,
};
use hyperalign_train::{
    align::{AlignSettings, Materials},
    data::EmojiPreferred,
};
use miette::{Diagnostic, IntoDiagnostic};

use crate::base;

/// Prompts that a run learns from.
const TRAINING_PROMPTS: usize = 1200;
/// Prompts that key steps are chosen over; sample grids show the first of them.
const SAMPLE_PROMPTS: usize = 12;

/// A base or a model that this command cannot train with.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum MaterialsError {
    #[error("`{given}` is no base of the embedded world, the only one with data to train on yet")]
    #[diagnostic(help("take `--base emoji-sd` or `--base emoji-flux`"))]
    NoData { given: String },
    #[error("this program was built without the embedded model `{name}`")]
    #[diagnostic(help("make it with `cargo xtask pretrain emoji-sd` and build again"))]
    Missing { name: &'static str },
}

/// Base, proxy reward, prompts and preferred pictures of the emoji world.
pub(super) fn emoji(
    given: &str,
    settings: &AlignSettings,
    device: &Device,
) -> miette::Result<Materials> {
    if base::embedded_base(given).is_none() {
        // Says which bases there are, if it is none at all.
        base::find(given)?;
        return Err(MaterialsError::NoData { given: given.to_owned() }.into());
    }
    let (base, _) = base::open(given, device)?;
    let seed = settings.training.seed;
    let sample_prompts = SAMPLE_PROMPTS.max(settings.samples.prompts);
    let reward = reward("emoji-proxy", device)?;
    let text = |rows: Vec<Row>| rows.into_iter().map(|row| row.prompt).collect::<Vec<_>>();
    Ok(Materials {
        base,
        reward: Arc::new(reward),
        prompts: text(emoji::prompts(Split::Train, TRAINING_PROMPTS, seed)),
        preferred: Arc::new(EmojiPreferred { seed }),
        sample_prompts: text(emoji::prompts(Split::Tuning, sample_prompts, 0)),
        attribution: Some(emoji::ATTRIBUTION),
        device: device.clone(),
    })
}

/// An embedded preference model.
pub(super) fn reward(name: &'static str, device: &Device) -> miette::Result<ClipReward> {
    let folder = embedded::folder(name).ok_or(MaterialsError::Missing { name })?;
    ClipReward::from_folder(name, &folder, "", device).into_diagnostic()
}
