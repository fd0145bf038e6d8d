//! The evaluations of a run while it learns.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use burn::tensor::Tensor;
use hyperalign_core::{atomic, contract::NoAdapter, input, sampler::unobserved};
use hyperalign_models::{
    base::BaseError,
    clip::normalize,
    generate::{Generation, Sampling},
    hypernet::{Adapter, AdapterMeta},
};
use hyperalign_rewards::{Prompt, Reward};
use serde_json::{Map, Value, json};

use super::{
    HeldOut, WatchSettings,
    memory::Memory,
    rule::{Alarm, Look, Rule},
};
use crate::{
    eval::mean_pairwise_distance,
    learner::{Progress, oldest_checkpoint},
    method::Setup,
    moments::mean,
};

/// Pictures of one batch.
const BATCH: usize = 8;
/// Where the evaluations are written, in the folder of a run.
pub(crate) const ROWS: &str = "watch.jsonl";
/// What judges by rules is called.
const GOLD: &str = "gold";

/// The best adapter of a run cannot be kept or found again.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the best adapter of the run, `{}`: {source}", path.display())]
pub struct WatchError {
    /// Its file.
    pub path: PathBuf,
    /// Why.
    pub source: Box<dyn Error + Send + Sync>,
}

/// What came of watching a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// The update of the first alarm.
    pub alarm: Option<u64>,
    /// The adapter with the best held-out score and the update that it is of; none where the base has
    /// a better one, or nothing was held out.
    pub best: Option<(u64, PathBuf)>,
}

/// Looks at a run every so many updates.
pub struct Watch {
    settings: WatchSettings,
    setup: Setup,
    held_out: HeldOut,
    /// Whether the method learns from the reward.
    is_rewarded: bool,
    progress: Progress,
    base: OnceLock<Seen>,
    memory: Mutex<Memory>,
}

/// What an evaluation has seen.
struct Seen {
    trained: Option<Vec<f64>>,
    /// By held-out score.
    held_out: Vec<Vec<f64>>,
    /// Unit vectors in the space that pictures are compared in, `[pictures, dim]`.
    features: Tensor<2>,
}

impl Watch {
    /// A watch over a run of `setup`; `is_rewarded` says whether its method learns from the reward.
    pub fn new(
        settings: WatchSettings,
        setup: Setup,
        held_out: HeldOut,
        is_rewarded: bool,
        progress: Progress,
    ) -> Self {
        let (base, memory) = (OnceLock::new(), Mutex::default());
        Self { settings, setup, held_out, is_rewarded, progress, base, memory }
    }

    /// Whether an evaluation is due after `done` updates.
    pub fn is_due(&self, done: u64) -> bool {
        self.settings.every > 0 && done.is_multiple_of(self.settings.every)
    }

    /// Whether the run is to end because its reward is hacked.
    pub fn wants_end(&self) -> bool {
        self.settings.stop && self.memory().alarm.is_some()
    }

    /// What later evaluations depend on; none before the first.
    pub fn remembered(&self) -> Option<Value> {
        self.memory().to_json()
    }

    /// Goes on from what was [`remembered`](Self::remembered), or begins.
    ///
    /// # Errors
    ///
    /// Fails for a memory that no watch has written.
    pub fn recall(&self, memory: Option<Value>) -> Result<(), serde_json::Error> {
        let memory = memory.map(Memory::from_json).transpose()?;
        *self.memory() = memory.unwrap_or_default();
        Ok(())
    }

    /// Looks at `adapter` after `done` updates: writes `watch.jsonl`, keeps the adapter where its
    /// held-out score is the best so far, and says what was seen.
    ///
    /// # Errors
    ///
    /// Fails if the base refuses a prompt or a file cannot be written.
    pub fn evaluate(
        &self,
        adapter: &Adapter,
        meta: &AdapterMeta,
        done: u64,
        dir: &Path,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let base = match self.base.get() {
            Some(base) => base,
            None => {
                let seen = self.look(None)?;
                self.base.get_or_init(|| seen)
            }
        };
        let seen = self.look(Some(adapter))?;
        let mut memory = self.memory();
        if memory.rows.is_empty() {
            memory.rows.push(self.row(0, base, base, None).to_string());
        }
        let held_out = |seen: &Seen| Rule::held_out_score(&seen.held_out, &base.held_out);
        let now = Look { update: done, trained: seen.trained.clone(), held_out: held_out(&seen) };
        let best = match &memory.best {
            Some(best) => best.clone(),
            None => Look { update: 0, trained: base.trained.clone(), held_out: held_out(base) },
        };
        let rule = Rule { seeds: self.settings.seeds };
        let judges = self.held_out.judges();
        let number = memory.evaluations() + 1;
        let alarm = judges.then(|| rule.judge(&now, &best, number)).flatten();
        let row = self.row(done, &seen, base, alarm.as_ref());
        self.say(&row, alarm.as_ref());
        memory.rows.push(row.to_string());
        memory.alarm = memory.alarm.or(alarm.map(|alarm| alarm.update));
        if judges && mean(&now.held_out) > mean(&best.held_out) {
            adapter.save(&kept(dir, done), meta)?;
            memory.best = Some(now);
        }
        atomic::write(&dir.join(ROWS), (memory.rows.join("\n") + "\n").as_bytes())?;
        forget(dir)?;
        Ok(())
    }

    /// What came of it, with the best adapter as `best.safetensors` of `dir`.
    ///
    /// # Errors
    ///
    /// Fails if the best adapter is gone or cannot be written.
    pub fn finish(&self, dir: &Path) -> Result<Watched, WatchError> {
        let memory = self.memory();
        let Some(best) = &memory.best else {
            return Ok(Watched { alarm: memory.alarm, best: None });
        };
        let (from, path) = (kept(dir, best.update), dir.join("best.safetensors"));
        let fails = |path: &Path, source| WatchError { path: path.to_owned(), source };
        let bytes = input::read(&from).map_err(|error| fails(&from, error.into()))?;
        atomic::write(&path, &bytes).map_err(|error| fails(&path, error.into()))?;
        Ok(Watched { alarm: memory.alarm, best: Some((best.update, path)) })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reward(&self) -> Option<&dyn Reward> {
        self.setup.materials.reward.as_deref().filter(|_| self.is_rewarded)
    }

    /// The pictures of the model, or of the bare base, and their scores.
    fn look(&self, adapter: Option<&Adapter>) -> Result<Seen, BaseError> {
        let trajectory = &self.setup.trajectory;
        let base = self.setup.base();
        let sampling = Sampling::new(trajectory.steps, trajectory.guidance_scale);
        let key_steps = trajectory.key_steps.clone();
        let source = match adapter {
            Some(adapter) => adapter.source(base, trajectory.variant, key_steps),
            None => Box::new(NoAdapter),
        };
        let seeds = self.settings.seeds;
        let prompts = self.held_out.prompts.iter().take(self.settings.prompts);
        let shots: Vec<(Prompt, u64)> = prompts
            .flat_map(|prompt| std::iter::repeat_n(prompt.clone(), seeds))
            .zip(0..)
            .collect();
        let space = self.held_out.space();
        let reward = self.reward();
        let mut trained = reward.map(|_| Vec::new());
        let mut held_out = vec![Vec::new(); self.names().len()];
        let mut features = Vec::new();
        for batch in shots.chunks(BATCH) {
            let (prompts, seeds): (Vec<Prompt>, Vec<u64>) = batch.iter().cloned().unzip();
            let generation = Generation::new(base, &sampling, &Prompt::texts(&prompts))?;
            let end = generation.run(source.as_ref(), &seeds, &mut unobserved);
            let images = base.decode(end.sample).clamp(-1.0, 1.0);
            if let (Some(scores), Some(reward)) = (&mut trained, reward) {
                scores.extend(measured(reward, &images, &prompts));
            }
            for (scores, reward) in held_out.iter_mut().zip(&self.held_out.rewards) {
                scores.extend(measured(reward.as_ref(), &images, &prompts));
            }
            if let (Some(gold), Some(scores)) = (&self.held_out.gold, held_out.last_mut()) {
                let rows: Vec<_> = prompts.iter().filter_map(|prompt| prompt.row.clone()).collect();
                let is_right = gold.judge(&images, &rows).into_iter();
                scores.extend(is_right.map(|is_right| f64::from(u8::from(is_right))));
            }
            features.push(normalize(space.embed(images)));
        }
        Ok(Seen { trained, held_out, features: Tensor::cat(features, 0) })
    }

    /// The names of the held-out scores, in their order.
    fn names(&self) -> Vec<String> {
        let rewards = self.held_out.rewards.iter().map(|reward| reward.name().to_owned());
        rewards.chain(self.held_out.gold.as_ref().map(|_| GOLD.to_owned())).collect()
    }

    /// A line of `watch.jsonl`.
    fn row(&self, update: u64, seen: &Seen, base: &Seen, alarm: Option<&Alarm>) -> Value {
        let means = self.names().into_iter().zip(&seen.held_out);
        let means: Map<String, Value> =
            means.map(|(name, scores)| (name, mean(scores).into())).collect();
        let score = Rule::held_out_score(&seen.held_out, &base.held_out);
        let mut row = json!({
            "update": update,
            "trained": seen.trained.as_ref().map(|scores| mean(scores)),
            "held_out": means,
            "held_out_score": (!score.is_empty()).then(|| mean(&score)),
            "diversity": diversity(&seen.features, self.settings.seeds),
            "distance_to_base": distance(&seen.features, &base.features),
        });
        if let Some(alarm) = alarm {
            row["alarm"] = json!({
                "since": alarm.since,
                "trained_rose_by": alarm.rise,
                "held_out_score_fell_by": alarm.fall,
            });
        }
        row
    }

    fn say(&self, row: &Value, alarm: Option<&Alarm>) {
        let number = |value: &Value| value.as_f64().map(|value| format!("{value:.4}"));
        let mut line = format!("watch, update {}:", row["update"]);
        let held_out = row["held_out"].as_object().into_iter().flatten();
        let all = [("trained", &row["trained"])].into_iter();
        let all = all.chain(held_out.map(|(name, value)| (name.as_str(), value)));
        let all = all.chain([
            ("held-out score", &row["held_out_score"]),
            ("diversity", &row["diversity"]),
            ("distance to the base", &row["distance_to_base"]),
        ]);
        for (name, value) in all {
            if let Some(value) = number(value) {
                line += &format!("  {name} {value}");
            }
        }
        self.progress.line_while_running(&line);
        if let Some(Alarm { update, since, rise, fall }) = alarm {
            let than = match since {
                0 => "the base".to_owned(),
                since => format!("update {since}, whose adapter is kept"),
            };
            self.progress.line_while_running(&format!(
                "warning: reward hacking at update {update}: the trained reward is {rise:.4} above \
                 that of {than}, and the held-out score {fall:.2} deviations below"
            ));
        }
    }
}

fn measured(reward: &dyn Reward, images: &Tensor<4>, prompts: &[Prompt]) -> Vec<f64> {
    reward.measure(images, prompts).into_iter().map(f64::from).collect()
}

/// The mean over prompts of how different their pictures are; none for one picture of each.
fn diversity(features: &Tensor<2>, seeds: usize) -> Option<f64> {
    let of = |features| mean_pairwise_distance(features);
    let distances: Option<Vec<f64>> =
        features.clone().split(seeds, 0).into_iter().map(of).collect();
    distances.map(|distances| mean(&distances))
}

/// The mean of `1 - cosine` of pictures of the same prompt and noise.
fn distance(features: &Tensor<2>, base: &Tensor<2>) -> f64 {
    let cosines = (features.clone() * base.clone()).sum_dim(1);
    let cosines: Vec<f64> = cosines.into_data().iter::<f64>().collect();
    1.0 - mean(&cosines)
}

/// Where the adapter after `update` updates is kept.
fn kept(dir: &Path, update: u64) -> PathBuf {
    dir.join(format!("watch/best-{update:06}.safetensors"))
}

/// Removes adapters that no checkpoint calls the best any more: all before the newest one that is not
/// younger than the oldest checkpoint.
fn forget(dir: &Path) -> io::Result<()> {
    let oldest = oldest_checkpoint(dir)?.unwrap_or(0);
    let Ok(entries) = fs::read_dir(dir.join("watch")) else { return Ok(()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(update) = name.strip_prefix("best-").and_then(|digits| digits.parse().ok()) {
            found.push((update, path));
        }
    }
    found.sort();
    let first = found.iter().rposition(|(update, _): &(u64, PathBuf)| *update <= oldest);
    found.drain(..first.unwrap_or(0)).try_for_each(|(_, path)| fs::remove_file(path))
}
