//! The run itself.

use std::{path::PathBuf, sync::Arc};

use hyperalign_core::diffusion::Process;
use hyperalign_models::hypernet::{
    Adapter, AdapterKind, AdapterMeta, ConfigError, FullWeightsConfig, TrainingReward,
};
use hyperalign_rewards::{Prompt, Reward};

use super::{
    AlignError, AlignSettings,
    objective::{Aligning, Grids},
    statistics::measure_statistics,
};
use crate::{
    learner::{End, Run, Settings, SettingsError, fit},
    method::{
        BaseNeed, DataNeed, Materials, Method, MethodSettings, MethodVisitor, Needs, NoiseNeed,
        Plan, RewardNeed, Setup,
    },
    watch::{HeldOut, Watch, Watched},
};

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
    /// What came of watching it.
    pub watched: Watched,
}

/// Checks everything that a run takes for granted, before anything is written.
///
/// # Errors
///
/// Fails for settings that no run can be made with, and where the settings, the base and the
/// reward do not fit each other.
pub fn check(materials: &Materials, settings: &AlignSettings) -> Result<(), AlignError> {
    let base = &materials.base;
    let AlignSettings { method, trajectory, training, samples, evaluation, .. } = settings;
    check_needs(materials, method.name(), method.needs())?;
    training.validate()?;
    training.check_span(method.span())?;
    trajectory.validate()?;
    let solver = method.solver(base.process());
    let chosen = base.solver(solver)?;
    if chosen.evaluations() > 1 {
        let base = base.name().to_owned();
        return Err(AlignError::TwoEvaluations { base, solver: chosen });
    }
    let scheduler = base.plan(trajectory.steps, solver, base.latent_shape())?;
    let shards = training.shards * training.accumulate;
    method.check(&Plan { scheduler: scheduler.as_ref(), shards })?;
    match (method.needs().noise, scheduler.is_stochastic()) {
        (NoiseNeed::Never, true) => {
            return Err(AlignError::Stochastic { base: base.name().to_owned() });
        }
        (NoiseNeed::Always, false) => {
            let base = base.name().to_owned();
            return Err(AlignError::Deterministic { method: method.name(), base });
        }
        _ => {}
    }
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
        AdapterKind::FullWeights(_) if matches!(method, MethodSettings::Hyperalign(_)) => {
            return Err(AlignError::NotFull { method: method.name() });
        }
        AdapterKind::StaticLora(_) | AdapterKind::FullWeights(_) => {}
    }
    if let Some(reward) = &materials.reward {
        let asked = materials.prompts.iter().flat_map(|prompt| method.reward_prompts(&prompt.text));
        let asked: Vec<String> = asked.collect();
        reward.check(base.picture_size(), &Prompt::of(&asked))?;
    }
    // Tells unknown words without the text encoder, which all prompts at once may be too much for.
    base.cut_off(&Prompt::texts(&materials.prompts))?;
    base.cut_off(&materials.sample_prompts)?;
    check_watch(materials, settings)
}

/// Checks that a run can be watched as it is to be.
fn check_watch(materials: &Materials, settings: &AlignSettings) -> Result<(), AlignError> {
    let watch = &settings.watch;
    watch.validate()?;
    let held_out = materials.held_out.as_ref();
    if watch.stop && !held_out.is_some_and(HeldOut::judges) {
        return Err(AlignError::NothingHeldOut);
    }
    let Some(held_out) = held_out.filter(|_| watch.every > 0) else { return Ok(()) };
    if held_out.prompts.is_empty() {
        return Err(AlignError::NoPrompts);
    }
    let is_rewarded = settings.method.needs().reward != RewardNeed::None;
    let trained = materials.reward.as_deref().filter(|_| is_rewarded);
    if let Some(trained) = trained {
        let identity = |reward: &dyn Reward| (reward.name().to_owned(), reward.version());
        let same = |reward: &&Arc<dyn Reward>| identity(reward.as_ref()) == identity(trained);
        if let Some(reward) = held_out.rewards.iter().find(same) {
            return Err(AlignError::HeldOutIsTrained { name: reward.name().to_owned() });
        }
    }
    held_out.check(materials.base.as_ref(), trained, watch.prompts)?;
    materials.base.cut_off(&Prompt::texts(&held_out.prompts))?;
    Ok(())
}

/// Checks that there is what a method cannot do without.
fn check_needs(
    materials: &Materials,
    method: &'static str,
    needs: Needs,
) -> Result<(), AlignError> {
    let Materials { base, reward, prompts, data, .. } = materials;
    if needs.base == BaseNeed::Flow && !matches!(base.process(), Process::RectifiedFlow) {
        return Err(AlignError::NoFlow { method, base: base.name().to_owned() });
    }
    match (needs.reward, reward) {
        (RewardNeed::None, _) => {}
        (_, None) => return Err(AlignError::NoReward { method }),
        (RewardNeed::Gradient, Some(reward)) if !reward.differentiable() => {
            let name = reward.name().to_owned();
            return Err(AlignError::NotDifferentiable { name, method });
        }
        _ => {}
    }
    let is_offered = match needs.data {
        DataNeed::None => true,
        DataNeed::Pictures => data.pictures().is_some(),
        DataNeed::Pairs => data.pairs().is_some(),
        DataNeed::Labels => data.labels().is_some(),
    };
    if !is_offered {
        return Err(AlignError::NoData { method, needed: needs.data });
    }
    if prompts.is_empty() { Err(AlignError::NoPrompts) } else { Ok(()) }
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
    check(materials, settings)?;
    let mut trajectory = settings.trajectory.clone();
    trajectory.key_steps = key_steps.to_vec();
    let setup = Setup {
        seed: settings.training.seed,
        materials: materials.clone(),
        trajectory,
        threads: settings.training.shards,
        micro_steps: settings.training.accumulate,
    };
    let (adapter, meta) = fresh(&setup, settings)?;
    if let AdapterKind::FullWeights(config) = &meta.network {
        run.progress.line(&memory_of(config, &settings.training));
    }
    let grids = Grids { settings: settings.samples.clone(), setup: setup.clone() };
    let before = run.dir.join("samples/step-000000.png");
    if settings.samples.every > 0 && !before.exists() {
        grids.write(None, &before).map_err(AlignError::Samples)?;
        run.progress.line(&format!("pictures of the base: {}", before.display()));
    }
    let training = settings.network.rates(settings.training.clone());
    let held_out = materials.held_out.clone().filter(|_| settings.watch.every > 0);
    let watch = held_out.map(|held_out| {
        let is_rewarded = settings.method.needs().reward != RewardNeed::None;
        let progress = run.progress.clone();
        Watch::new(settings.watch.clone(), setup.clone(), held_out, is_rewarded, progress)
    });
    settings.method.accept(Training { setup, adapter, meta, grids, watch, training, run })
}

/// What whole weights take beside the base: themselves, the gradients of each thread and their sum, two
/// moments of the optimizer, and the moving average, in f32.
fn memory_of(config: &FullWeightsConfig, training: &Settings) -> String {
    let average = u64::from(training.ema.is_some());
    let copies = 4 + training.shards as u64 + average;
    let bytes = config.numbers() * 4 * copies;
    format!(
        "training {:.1} million weights: about {:.1} GiB for them, their gradients, moments and \
         averages, beside the base and what a step takes",
        config.numbers() as f64 / 1e6,
        bytes as f64 / (1u64 << 30) as f64
    )
}

/// An adapter that is the base as yet, and what it says about itself.
fn fresh(setup: &Setup, settings: &AlignSettings) -> Result<(Adapter, AdapterMeta), AlignError> {
    let Setup { seed, materials, trajectory, .. } = setup;
    let Materials { base, reward, device, .. } = materials;
    let rewarded = settings.method.needs().reward != RewardNeed::None;
    let against = reward.as_ref().filter(|_| rewarded).map(|reward| TrainingReward {
        name: reward.name().to_owned(),
        version: reward.version(),
        weight: None,
    });
    let network = settings.network.kind(base.as_ref())?;
    let meta = AdapterMeta {
        reward: against,
        key_steps: trajectory.key_steps.clone(),
        key_steps_of: trajectory.steps,
        ..AdapterMeta::new(base.name(), base.hash(), trajectory.variant, network)
    };
    let adapter = meta.init(*seed, &device.clone().autodiff())?;
    // A static LoRA reads nothing.
    if adapter.hypernet().is_none() {
        return Ok((adapter, meta));
    }
    let (features, context) = measure_statistics(setup, meta.encoder_depth())?;
    Ok((adapter.with_statistics(features, context), meta))
}

/// The training itself, whatever the method.
struct Training<'a> {
    setup: Setup,
    adapter: Adapter,
    meta: AdapterMeta,
    grids: Grids,
    watch: Option<Watch>,
    training: Settings,
    run: &'a Run,
}

impl MethodVisitor for Training<'_> {
    type Output = Result<Aligned, AlignError>;

    fn visit<M: Method>(self, method: &M) -> Self::Output {
        let Self { setup, adapter, meta, grids, watch, training, run } = self;
        let (settings, losses) = (method.clone(), method.objective(setup));
        let objective = Arc::new(Aligning { settings, method: losses, meta, grids, watch });
        let outcome = fit(objective.clone(), adapter, &training, run);
        let outcome = outcome.map_err(|error| {
            let data = objective.grids.setup.materials.data.pictures();
            match data.and_then(|data| data.fault()) {
                Some(fault) => AlignError::Data(fault),
                None => error.into(),
            }
        })?;
        let meta = objective.described();
        let adapter = outcome.learned();
        let path = run.dir.join("adapter.safetensors");
        let finished = outcome.end != End::Interrupted;
        if finished {
            adapter.save(&path, &meta)?;
            if let Adapter::FullWeights(weights) = &adapter {
                let base = objective.grids.setup.base();
                let written = base.save_changed(&weights.forward(), &run.dir.join("model"));
                written.map_err(|source| AlignError::Model { source, adapter: path.clone() })?;
            }
        }
        let watch = objective.watch.as_ref().filter(|_| finished);
        let watched = watch.map(|watch| watch.finish(&run.dir)).transpose()?;
        Ok(Aligned {
            adapter,
            meta,
            end: outcome.end,
            updates: outcome.update,
            seconds: outcome.elapsed.as_secs_f64(),
            path: finished.then_some(path),
            watched: watched.unwrap_or_default(),
        })
    }
}
