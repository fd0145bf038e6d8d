//! The settings of a run, and errors in the line that gives them.

use hyperalign_core::device::CPU;
use hyperalign_train::{
    align::{AlignError, AlignSettings, REMOVED},
    learner::SettingsError,
};
use miette::IntoDiagnostic;

use super::{Args, CONFIG, TrainError};
use crate::{
    config,
    context::Context,
    output,
    rewards::{self, RewardError},
};

/// The settings of a new run, or those of the run that is resumed.
pub(super) fn settings(args: &Args, context: &Context) -> miette::Result<AlignSettings> {
    let stored = args.out.join(CONFIG);
    let defaults = match context.device_name() {
        CPU => AlignSettings::default(),
        _ => AlignSettings::default().in_turn(),
    };
    let mut settings: AlignSettings = match (&args.config, args.resume) {
        (None, true) if !stored.is_file() => {
            return Err(TrainError::NothingToResume { dir: args.out.clone() }.into());
        }
        (None, true) => config::read(&defaults, REMOVED, &stored)?,
        _ if stored.exists() => return Err(TrainError::Occupied { dir: args.out.clone() }.into()),
        (Some(file), _) => config::read(&defaults, REMOVED, file)?,
        (None, false) => defaults,
    };
    if let Some(steps) = args.steps {
        settings.training.updates = steps;
    }
    if let Some(lr) = args.learning_rate {
        settings.training.optimizer.lr = lr;
    }
    if let Some(reward) = &args.reward {
        settings.rewards = rewards::terms(reward)?;
    }
    settings.watch.stop |= args.stop_on_hacking;
    if let Some(seed) = args.seed {
        // Before the settings are written: with another seed the run could never go on again.
        if args.resume && seed != settings.training.seed {
            let (dir, stored) = (args.out.clone(), settings.training.seed);
            return Err(TrainError::OtherSeed { dir, stored, given: seed }.into());
        }
        settings.training.seed = seed;
    }
    // Again once the base is there, with everything that depends on it.
    settings.training.validate().map_err(|error| pointed_at(args, error.into()))?;
    output::check_writable(&stored).into_diagnostic()?;
    Ok(settings)
}

/// An error about a setting, in the line of the file that gives it.
pub(super) fn pointed_at(args: &Args, error: AlignError) -> miette::Report {
    let in_its_line = || {
        let AlignError::Settings(SettingsError { name, .. }) = &error else { return None };
        let file = args.config.as_deref()?;
        // The engine knows its settings by their names in `[training]`.
        [(*name).to_owned(), format!("training.{name}")]
            .into_iter()
            .find_map(|name| config::in_its_line(file, &name, &error.to_string()))
    };
    in_its_line().unwrap_or_else(|| miette::Report::from_err(error))
}

/// An error about the value of `name`, in the line of the file that gives it.
pub(super) fn in_its_line(args: &Args, name: &str, error: RewardError) -> miette::Report {
    let file = args.config.as_deref().filter(|_| args.reward.is_none());
    let shown = file.filter(|_| matches!(error, RewardError::Mix(_)));
    let report = shown.and_then(|file| config::in_its_line(file, name, &error.to_string()));
    report.unwrap_or_else(|| error.into())
}
