//! The run itself.

use std::{path::PathBuf, sync::Arc};

use hyperalign_core::trajectory::KeyStepError;
use hyperalign_models::{
    base::BaseError,
    hypernet::{Adapter, AdapterKind, AdapterMeta, ConfigError, TrainingReward},
    weights::SaveError,
};

use super::{AlignSettings, Aligning, Materials, measure_statistics};
use crate::{
    data::PreferenceError,
    learner::{End, FitError, Run, SettingsError, fit},
};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] ConfigError),
    /// The base refuses a prompt or a number of steps.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A setting is unusable.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Training failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The preferred pictures cannot be read any more.
    #[error("{0}; what was learned before is saved: mend the data and resume")]
    Data(PreferenceError),
    /// The adapter cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// Key steps cannot be chosen.
    #[error(transparent)]
    KeySteps(#[from] KeyStepError),
    /// The first pictures cannot be made.
    #[error("cannot make the first sample pictures: {0}")]
    Samples(Box<dyn std::error::Error + Send + Sync>),
    /// The base's own solver draws noise.
    #[error(
        "the scheduler of the base `{base}` draws noise in its steps; training follows \
         deterministic trajectories: name another class (DDIMScheduler) in its \
         scheduler_config.json"
    )]
    Stochastic {
        /// The base.
        base: String,
    },
    /// The reward has no gradient.
    #[error("the reward `{name}` has no gradient and cannot be trained on")]
    NotDifferentiable {
        /// The reward.
        name: String,
    },
}

/// A finished or interrupted run.
#[derive(Debug)]
pub struct Aligned {
    /// The adapter to use, on the plain device.
    pub adapter: Adapter,
    /// What it says about itself.
    pub meta: AdapterMeta,
    /// How training ended.
    pub end: End,
    /// Updates done.
    pub updates: u64,
    /// Seconds of training, earlier sittings included.
    pub seconds: f64,
    /// Where the adapter was written, once training was over.
    pub path: Option<PathBuf>,
}

/// Checks everything that a run takes for granted, before anything is written.
///
/// # Errors
///
/// Fails for settings that no run can be made with, and where the settings, the base and the
/// reward do not fit each other.
pub fn check(materials: &Materials, settings: &AlignSettings) -> Result<(), AlignError> {
    let Materials { base, reward, .. } = materials;
    if settings.method.reward_weight != 0.0 && !reward.differentiable() {
        return Err(AlignError::NotDifferentiable { name: reward.name().to_owned() });
    }
    let AlignSettings { method, training, samples, evaluation, .. } = settings;
    training.validate()?;
    if method.steps == 0 {
        let (given, expected) = ("0".to_owned(), "1 or more".to_owned());
        return Err(SettingsError { name: "method.steps", given, expected }.into());
    }
    let scheduler = base.scheduler(method.steps)?;
    if (0..scheduler.steps()).any(|i| scheduler.needs_noise(i)) {
        return Err(AlignError::Stochastic { base: base.name().to_owned() });
    }
    method.validate(scheduler.as_ref(), training.shards * training.accumulate)?;
    for (name, given) in [
        ("samples.prompts", samples.prompts),
        ("evaluation.prompts", evaluation.prompts),
        ("evaluation.seeds", evaluation.seeds),
        ("evaluation.key_steps", evaluation.key_steps),
    ] {
        if given == 0 {
            let (given, expected) = (given.to_string(), "1 or more".to_owned());
            return Err(SettingsError { name, given, expected }.into());
        }
    }
    match settings.network.kind(base.as_ref())? {
        AdapterKind::Hypernet(config) => config.validate()?,
        AdapterKind::StaticLora(config) if config.rank == 0 => {
            return Err(ConfigError::Zero { name: "rank" }.into());
        }
        AdapterKind::StaticLora(_) => {}
    }
    base.encode_prompts(&materials.prompts)?;
    base.encode_prompts(&materials.sample_prompts)?;
    Ok(())
}

/// Trains an adapter in `run.dir` and writes `adapter.safetensors` there.
///
/// # Errors
///
/// Fails as [`check`] does before anything is trained, then as [`fit`] does.
pub fn align(
    materials: &Materials,
    settings: &AlignSettings,
    key_steps: &[usize],
    run: &Run,
) -> Result<Aligned, AlignError> {
    let Materials { base, reward, device, .. } = materials;
    check(materials, settings)?;
    let seed = settings.training.seed;
    let network = settings.network.kind(base.as_ref())?;
    let against = || TrainingReward { name: reward.name().to_owned(), version: reward.version() };
    let meta = AdapterMeta {
        reward: (settings.method.reward_weight != 0.0).then(against),
        key_steps: key_steps.to_vec(),
        key_steps_of: settings.method.steps,
        ..AdapterMeta::new(base.name(), base.hash(), settings.method.variant, network)
    };
    let (features, context) = measure_statistics(materials, meta.encoder_depth(), seed)?;
    let adapter = meta.init(seed, &device.clone().autodiff())?.with_statistics(features, context);
    let mut method = settings.method.clone();
    method.key_steps = key_steps.to_vec();
    let grid_prompts = materials.sample_prompts.iter().take(settings.samples.prompts).cloned();
    let objective = Aligning {
        method: materials.method(method, seed),
        samples: settings.samples.clone(),
        prompts: grid_prompts.collect(),
        attribution: materials.attribution,
    };
    let before = run.dir.join("samples/step-000000.png");
    if settings.samples.every > 0 && !before.exists() {
        objective.write_grid(None, &before).map_err(AlignError::Samples)?;
        run.progress.line(&format!("pictures of the base: {}", before.display()));
    }
    let training = settings.network.rates(settings.training.clone());
    let outcome = fit(Arc::new(objective), adapter, &training, run);
    let outcome = outcome.map_err(|error| match materials.preferred.fault() {
        Some(fault) => AlignError::Data(fault),
        None => error.into(),
    })?;
    let adapter = outcome.learned();
    let path = run.dir.join("adapter.safetensors");
    let finished = outcome.end != End::Interrupted;
    if finished {
        adapter.save(&path, &meta)?;
    }
    Ok(Aligned {
        adapter,
        meta,
        end: outcome.end,
        updates: outcome.update,
        seconds: outcome.elapsed.as_secs_f64(),
        path: finished.then_some(path),
    })
}
