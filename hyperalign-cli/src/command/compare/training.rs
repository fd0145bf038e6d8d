//! Training what a comparison measures: in stages, where it is measured along the way.

use std::path::Path;

use hyperalign_core::{atomic, input};
use hyperalign_train::{
    align::AlignSettings,
    compare::{Training, TrainingRecord},
    learner::{Schedule, log_rows},
};
use miette::{Context as _, IntoDiagnostic};

use super::{
    Comparing,
    child::{Child, Ended},
};
use crate::{hub, output};

/// Updates of a run that its wall time ends.
const ENDLESS: u64 = 1_000_000_000;
/// The adapter at the end.
pub(super) const ADAPTER: &str = "adapter.safetensors";
/// How it was trained.
pub(super) const RECORD: &str = "trained.json";
/// Sets of an embedded base's own pictures that are drawn before.
const DRAWN: [&str; 3] = ["winners", "winners-hasty", "ranked"];

/// The adapter after so many updates.
pub(super) fn at(folder: &Path, updates: u64) -> std::path::PathBuf {
    folder.join(format!("at-{updates}.safetensors"))
}

/// The record of a finished training in `folder`.
///
/// # Errors
///
/// Fails if there is none, or it is damaged.
pub(super) fn record(folder: &Path) -> miette::Result<TrainingRecord> {
    let path = folder.join(RECORD);
    let text = input::read_text(&path).into_diagnostic();
    let text = text.wrap_err_with(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).into_diagnostic()
}

impl Comparing<'_> {
    /// Trains, unless that is done.
    pub(super) fn train(&self, training: &Training) -> miette::Result<Ended> {
        let folder = self.folders.trained(&training.id);
        if folder.join(RECORD).is_file() {
            return Ok(Ended::Well);
        }
        let mut settings: AlignSettings =
            serde_json::from_value(training.settings.clone()).into_diagnostic()?;
        settings.training.seed = training.seed;
        if let Some(other) = &training.time_of {
            let other = self.plan.training(other).map(|other| (other, self.train(other)));
            match other {
                Some((other, ended)) => match ended? {
                    Ended::Well => {
                        let seconds = record(&self.folders.trained(&other.id))?.seconds;
                        let limit = std::time::Duration::from_secs_f64(seconds);
                        settings.training.time_limit = Some(limit);
                        let span = settings.method.span().max(1);
                        settings.training.updates = ENDLESS / span * span;
                    }
                    ended => return Ok(ended),
                },
                None => return Ok(Ended::Badly("its wall time is that of no run".to_owned())),
            }
        }
        if let Some(data) = training.train.data.as_deref().filter(|data| DRAWN.contains(data)) {
            let mut child = Child::new(self.device);
            child.args(["pairs", "--base", training.base.model(), "--data", data]);
            match child.run(self.stop)? {
                Ended::Well => {}
                ended => return Ok(ended),
            }
        }
        let toml = toml::to_string(&settings).into_diagnostic()?;
        atomic::write(&folder.join("settings.toml"), toml.as_bytes()).into_diagnostic()?;
        for updates in self.stages(training, &settings) {
            if at(&folder, updates).is_file() || done(&folder.join("run")).0 > updates {
                continue;
            }
            match self.stage(training, &folder, updates)? {
                Ended::Well => copy(&folder.join("run").join(ADAPTER), &at(&folder, updates))?,
                ended => return Ok(ended),
            }
        }
        copy(&folder.join("run").join(ADAPTER), &folder.join(ADAPTER))?;
        let (updates, seconds, peak_memory) = done(&folder.join("run"));
        let states = training.train.states_per_update.map(|states| states * updates as f64);
        let record = TrainingRecord { updates, states, seconds, peak_memory };
        let text = serde_json::to_string_pretty(&record).into_diagnostic()? + "\n";
        atomic::write(&folder.join(RECORD), text.as_bytes()).into_diagnostic()?;
        Ok(Ended::Well)
    }

    /// The updates after which the adapter is kept, the last of the run at the end.
    fn stages(&self, training: &Training, settings: &AlignSettings) -> Vec<u64> {
        let all = settings.training.updates;
        let entry = self.comparison.entry(&training.entry);
        // A learning rate that falls towards the end of a run would fall towards each stage's.
        let is_constant = matches!(settings.training.schedule, Schedule::Constant { .. });
        if !entry.is_some_and(|entry| entry.curve) || training.time_of.is_some() {
            return vec![all];
        }
        if !is_constant {
            output::warn(&format!(
                "{} is measured at its end alone: its learning rate is not constant",
                training.id
            ));
            return vec![all];
        }
        let span = settings.method.span().max(1);
        let share = |share: &f64| (share * all as f64) as u64 / span * span;
        let mut stages: Vec<u64> = self.comparison.curves.points.iter().map(share).collect();
        stages.retain(|updates| *updates > 0 && *updates < all);
        stages.push(all);
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    /// Trains until there are so many `updates`.
    fn stage(&self, training: &Training, folder: &Path, updates: u64) -> miette::Result<Ended> {
        let (run, train) = (folder.join("run"), &training.train);
        let mut child = Child::new(self.device);
        child.args(["train", "--base", training.base.model(), "--no-eval", "--plain"]);
        child.args(["--steps", &updates.to_string()]).path("--out", &run);
        match run.join("config.toml").is_file() {
            true => child.args(["--resume"]),
            false => child.path("--config", &folder.join("settings.toml")),
        };
        let named = [("--data", &train.data), ("--reward", &train.reward)];
        for (flag, value) in named {
            child.args(value.iter().flat_map(|value| [flag, value.as_str()]));
        }
        let files = super::files(self.config);
        for (flag, path) in [("--preferences", &train.preferences), ("--prompts", &train.prompts)] {
            if let Some(path) = path {
                child.path(flag, &hub::beside(&files, path));
            }
        }
        child.args(train.reward_weights.iter().flat_map(|given| ["--reward-weights", given]));
        child.run(self.stop)
    }
}

/// Updates that a run has done, their seconds, and the most memory that it held.
fn done(run: &Path) -> (u64, f64, Option<u64>) {
    let (mut updates, mut seconds, mut memory) = (0, 0.0, None);
    // A run that has not begun has none.
    for row in log_rows(run).unwrap_or_default() {
        updates = row["update"].as_u64().unwrap_or(updates);
        seconds += row["seconds"].as_f64().unwrap_or(0.0);
        memory = memory.max(row["peak_memory_bytes"].as_u64());
    }
    (updates, seconds, memory)
}

fn copy(from: &Path, to: &Path) -> miette::Result<()> {
    let bytes = input::read(from).into_diagnostic();
    let bytes = bytes.wrap_err_with(|| format!("cannot read `{}`", from.display()))?;
    atomic::write(to, &bytes).into_diagnostic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_has_done_is_read_off_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(done(folder.path()), (0, 0.0, None));
        let rows = "{\"update\": 1, \"seconds\": 0.5, \"peak_memory_bytes\": 7}\n\
                    {\"update\": 2, \"seconds\": 0.25, \"peak_memory_bytes\": 5}\n{\"upd";
        std::fs::write(folder.path().join("metrics.jsonl"), rows).unwrap();
        assert_eq!(done(folder.path()), (2, 0.75, Some(7)));
    }
}
