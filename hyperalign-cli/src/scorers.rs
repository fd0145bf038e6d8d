//! Who scores the pictures of a base.

use std::path::Path;

use burn::tensor::Device;
use hyperalign_models::{embedded, pipeline::StableDiffusion, weights::Folder};
use hyperalign_rewards::{
    ClipReward,
    emoji::{self, SIZE},
    geneval::Row,
};
use hyperalign_train::eval::{
    ClipSpace, EmojiGold, Evaluation, ImageSpace, Judge, Measures, Pixels, Role, Scorer, Summary,
};
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};

/// A reward model that is not there.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("unknown reward model `{given}`: it is no embedded model and no folder")]
#[diagnostic(help("give a folder with config.json and model.safetensors of a CLIP"))]
struct UnknownReward {
    given: String,
}

/// The scorers that are at hand for a base and its prompts.
pub struct Scorers {
    gold: Option<EmojiGold>,
    proxy: Option<ClipReward>,
    heldout: Option<ClipReward>,
}

impl Scorers {
    /// Opens what there is. The exact scorer and the embedded preference models judge the
    /// embedded world's pictures, and nothing else; `proxy` and `heldout` name other preference
    /// models, embedded ones or folders.
    ///
    /// # Errors
    ///
    /// Fails if a model that was named is not there, and if one cannot be read.
    pub fn open(
        base: &StableDiffusion,
        rows: &[Row],
        proxy: Option<&str>,
        heldout: Option<&str>,
        device: &Device,
    ) -> miette::Result<Self> {
        let is_world = is_emoji_world(base, rows);
        let reward = |given: Option<&str>, own: &str| -> miette::Result<Option<ClipReward>> {
            let folder = match given {
                Some(given) => Some(find(given)?),
                None if is_world => embedded::folder(own),
                None => None,
            };
            let open = |folder| ClipReward::from_folder(own, &folder, "", device);
            folder.map(open).transpose().into_diagnostic()
        };
        Ok(Self {
            gold: is_world.then_some(EmojiGold),
            proxy: reward(proxy, "emoji-proxy")?,
            heldout: reward(heldout, "emoji-heldout")?,
        })
    }

    /// Where diversity is measured: the space of the held-out model, in which a trained method
    /// has had no reason to move; pixels where there is none.
    pub fn space(&self) -> Box<dyn ImageSpace + '_> {
        match &self.heldout {
            Some(heldout) => Box::new(ClipSpace(heldout)),
            None => Box::new(Pixels),
        }
    }

    /// What they measure, with diversity in `space`.
    pub fn measures<'a>(&'a self, space: &'a dyn ImageSpace) -> Measures<'a> {
        let scorer = |reward: &'a Option<ClipReward>, role| {
            reward.as_ref().map(|reward| Scorer { reward, role })
        };
        let scorers =
            [scorer(&self.proxy, Role::TrainedAgainst), scorer(&self.heldout, Role::HeldOut)];
        Measures {
            gold: self.gold.as_ref().map(|gold| gold as &dyn Judge),
            scorers: scorers.into_iter().flatten().collect(),
            space,
        }
    }
}

/// Opens the preference model called `given`: an embedded one or a folder.
///
/// # Errors
///
/// Fails if there is no such model, or it cannot be read.
pub fn reward(given: &str, device: &Device) -> miette::Result<ClipReward> {
    ClipReward::from_folder(given, &find(given)?, "", device).into_diagnostic()
}

/// Whether the base draws pictures of the embedded world's size and every prompt is one that its
/// scorer understands.
fn is_emoji_world(base: &StableDiffusion, rows: &[Row]) -> bool {
    let [_, height, width] = base.latent_shape();
    let factor = base.vae.config().downscale();
    [height * factor, width * factor] == [SIZE; 2]
        && rows.iter().all(|row| emoji::parse(&row.prompt).is_ok())
}

/// An embedded model or a folder.
fn find(given: &str) -> Result<Folder, UnknownReward> {
    let unknown = || UnknownReward { given: given.to_owned() };
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
    let pictures = evaluation.rows.len() * evaluation.seeds;
    let bar = ProgressBar::new((pictures * evaluation.methods.len()) as u64);
    let names: Vec<&String> = evaluation.methods.iter().map(|method| &method.name).collect();
    let measured = evaluation.run(&mut |done| {
        let before = names.iter().position(|name| *name == done.method).unwrap_or(0) * done.of;
        bar.set_position((before + done.pictures) as u64);
    });
    bar.finish_and_clear();
    Ok(measured.into_diagnostic()?.map(|measured| Summary::new(evaluation, &measured)))
}
