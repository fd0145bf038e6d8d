//! `hyperalign pretrain`: makes the embedded models from nothing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};
use hyperalign_train::{
    learner::{End, FolderLock, Progress, Stop},
    pretrain::{Pretraining, Stage},
};
use miette::{Diagnostic, IntoDiagnostic};

use crate::{context::Context, interrupt, outcome::Outcome, output};

/// Flags of `hyperalign pretrain`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The base to make.
    #[arg(value_enum)]
    pub base: Pretrainable,

    /// The stages to run, in order; all of them when left out.
    #[arg(long = "stage", value_enum)]
    pub stages: Vec<StageName>,

    /// Folder of logs and checkpoints; an interrupted stage goes on from there.
    /// Default: runs/pretrain- and the base.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,

    /// Folder that the finished models are written to.
    #[arg(long, default_value = "assets", value_name = "DIR")]
    pub out: PathBuf,

    /// Updates of each stage, instead of the recipe's.
    #[arg(long, value_name = "N")]
    pub updates: Option<u64>,

    /// Save and end a stage after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<u64>,

    /// Threads that share a batch.
    #[arg(long, value_name = "N")]
    pub shards: Option<usize>,

    /// Pieces that each thread takes its share of a batch in: more take less memory, fewer less time
    /// on a GPU.
    #[arg(long, value_name = "N")]
    pub micro_steps: Option<usize>,
}

/// A base that this command can make.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Pretrainable {
    /// The small Stable Diffusion of the emoji world, and its judges.
    EmojiSd,
    /// The small FLUX of the emoji world, on the autoencoder of emoji-sd.
    EmojiFlux,
}

impl Pretrainable {
    fn name(self) -> &'static str {
        match self {
            Self::EmojiSd => "emoji-sd",
            Self::EmojiFlux => "emoji-flux",
        }
    }

    fn stages(self) -> &'static [Stage] {
        match self {
            Self::EmojiSd => &Stage::EMOJI_SD,
            Self::EmojiFlux => &Stage::EMOJI_FLUX,
        }
    }
}

/// A stage of another base.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{stage}` is no stage of {base}")]
struct OtherStage {
    stage: &'static str,
    base: &'static str,
    #[help]
    known: String,
}

/// A stage on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StageName {
    /// The autoencoder.
    Autoencoder,
    /// The text encoder and the denoiser.
    Denoiser,
    /// The proxy reward.
    Proxy,
    /// The preference model that nothing is trained against.
    Heldout,
    /// The text encoders and the transformer of emoji-flux.
    Flow,
}

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Autoencoder => Self::Autoencoder,
            StageName::Denoiser => Self::Denoiser,
            StageName::Proxy => Self::Proxy,
            StageName::Heldout => Self::HeldOut,
            StageName::Flow => Self::Flow,
        }
    }
}

/// Runs the stages.
///
/// # Errors
///
/// Fails for folders that cannot be written, before anything is trained; then as training does.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let stages = stages(args)?;
    let work =
        args.work.clone().unwrap_or_else(|| format!("runs/pretrain-{}", args.base.name()).into());
    for folder in [&work, &args.out] {
        output::check_writable(&folder.join("stage")).into_diagnostic()?;
    }
    let _lock = FolderLock::take(&work).into_diagnostic()?;
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let pretraining = Pretraining {
        work,
        out: args.out.clone(),
        device: context.device()?,
        stop,
        progress: Progress::Lines(Arc::new(output::note)),
    };
    for stage in stages {
        let mut settings = stage.settings();
        settings.updates = args.updates.unwrap_or(settings.updates);
        settings.time_limit = args.time_limit.map(Duration::from_secs);
        settings.shards = args.shards.unwrap_or(settings.shards);
        settings.accumulate = args.micro_steps.unwrap_or(settings.accumulate);
        output::note(&format!("stage {}: {} updates", stage.name(), settings.updates));
        match pretraining.run(stage, &settings).into_diagnostic()? {
            End::Finished => {}
            end => {
                output::note("saved; the same command goes on from here");
                let is_interrupted = end == End::Interrupted;
                return Ok(if is_interrupted { Outcome::Interrupted } else { Outcome::Done });
            }
        }
    }
    Ok(Outcome::Done)
}

/// The stages that the flags ask for.
fn stages(args: &Args) -> Result<Vec<Stage>, OtherStage> {
    let known = args.base.stages();
    if args.stages.is_empty() {
        return Ok(known.to_vec());
    }
    let asked: Vec<Stage> = args.stages.iter().map(|&name| name.into()).collect();
    match asked.iter().find(|stage| !known.contains(stage)) {
        Some(stage) => {
            let names: Vec<&str> = known.iter().map(|stage| stage.name()).collect();
            let known = format!("its stages: {}", names.join(", "));
            Err(OtherStage { stage: stage.name(), base: args.base.name(), known })
        }
        None => Ok(asked),
    }
}
