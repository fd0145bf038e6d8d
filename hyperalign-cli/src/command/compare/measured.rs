//! One measurement, in a process of its own: pictures, scores, curve and probes, and their record.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::Device;
use hyperalign_core::{memory, stop::Stop};
use hyperalign_models::{
    base::Base,
    generate::{Adapted, AdapterFile, Budget, Dose, Knowledge, Plain, Sampling, Sought, Way},
    hypernet::Variant,
    weights,
};
use hyperalign_rewards::{Prompt, emoji::Split};
use hyperalign_train::{
    compare::{Comparison, Folders, Measurement, Plan, RunRecord, Versions},
    data::world_of,
    eval::{Evaluation, ImageSpace, Measured, Method, Record, Summary, fingerprint},
};
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};
use serde_json::json;

use super::{
    CompareArgsError,
    distance::add_distances,
    file,
    kept::Keeping,
    training::{self, ADAPTER},
};
use crate::{
    base::{self, BaseOptions},
    context::Context,
    hub, interrupt,
    outcome::Outcome,
    prompts::{of_file, of_the_world},
    rewards::{ScorerArgs, Scorers},
};

#[derive(Debug, thiserror::Error, Diagnostic)]
enum MeasureError {
    #[error("the comparison names no prompts, and the base `{base}` has none of its own")]
    #[diagnostic(help("add `protocol.prompts = \"FILE\"` to the comparison"))]
    Prompts { base: String },
    #[error("the method seeks a reward, and there is none")]
    #[diagnostic(help("add `scores.proxy = \"NAME\"` to the comparison"))]
    Reward,
    #[error("variant p needs key steps, and the adapter of `{entry}` has none")]
    #[diagnostic(help("choose them with `hyperalign key-steps`, or take another variant"))]
    KeySteps { entry: String },
}

/// Makes the measurement `id` of the comparison in `folders`.
///
/// # Errors
///
/// Fails where measuring does.
pub(super) fn run(
    id: &str,
    files: &Path,
    folders: &Folders,
    context: &Context,
) -> miette::Result<Outcome> {
    let (comparison, plan) = folders.read_plan().into_diagnostic()?;
    let missing = || CompareArgsError::NoRun { id: id.to_owned(), out: folders.root().to_owned() };
    let measurement = plan.measurement(id).ok_or_else(missing)?;
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let device = context.device()?;
    let (base, preset) = base::open(measurement.base.model(), &BaseOptions::default(), &device)?;
    let of = &measurement.base;
    let sampling = Sampling {
        batch: comparison.protocol.batch,
        ..Sampling::new(
            of.steps.unwrap_or(preset.steps),
            of.guidance_scale.unwrap_or(preset.guidance_scale),
        )
    };
    let measuring = Measuring {
        comparison: &comparison,
        plan: &plan,
        measurement,
        files,
        folders,
        base: base.as_ref(),
        sampling,
        stop: &stop,
        device: &device,
    };
    measuring.run(context.device_name())
}

/// What a measurement is made with.
pub(super) struct Measuring<'a> {
    pub(super) comparison: &'a Comparison,
    pub(super) plan: &'a Plan,
    pub(super) measurement: &'a Measurement,
    files: &'a Path,
    pub(super) folders: &'a Folders,
    pub(super) base: &'a dyn Base,
    pub(super) sampling: Sampling,
    pub(super) stop: &'a Stop,
    pub(super) device: &'a Device,
}

impl Measuring<'_> {
    fn run(&self, device: &str) -> miette::Result<Outcome> {
        let Self { comparison, measurement, .. } = self;
        let folder = self.folders.measured(&measurement.id);
        let adapter = self.adapter()?;
        let mut prompts = self.prompts(&comparison.protocol.split, comparison.protocol.rows)?;
        base::warn_of_cuts(self.base, prompts.iter().map(|prompt| prompt.text.as_str()))?;
        let trained = adapter.as_ref().and_then(|file| file.meta.reward.as_ref());
        let trained = trained.map(|reward| reward.name.as_str());
        let names = &comparison.scores;
        let args = ScorerArgs {
            reward: names.rewards.clone(),
            proxy: names.proxy.clone(),
            heldout: names.heldout.clone(),
            reward_weights: names.weights.clone(),
        };
        let seeks = measurement.entry.method.is_some();
        let scorers = Scorers::open(self.base, &mut prompts, &args, trained, seeks, self.device)?;
        let space = scorers.space();
        let measures = scorers.measures(space.as_ref());
        let way = self.way(adapter.as_ref(), &scorers)?;
        let failed = Arc::new(Mutex::new(None));
        let protocol = &comparison.protocol;
        let keeping = Keeping {
            way,
            folder: folder.clone(),
            rows: protocol.kept_rows,
            seeds: protocol.seeds,
            first_seed: protocol.first_seed,
            failed: failed.clone(),
        };
        let evaluation = Evaluation {
            base: self.base,
            methods: vec![Method::new(measurement.entry.name.clone(), keeping)],
            prompts: &prompts,
            seeds: protocol.seeds,
            first_seed: protocol.first_seed,
            sampling: self.sampling.clone(),
            measures: measures.clone(),
            cache: Some(folder.join("journal")),
            stop: self.stop.clone(),
        };
        let measured = evaluate(&evaluation)?;
        if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error).into_diagnostic();
        }
        let Some(mut measured) = measured else { return Ok(Outcome::Interrupted) };
        let summary = Summary::new(&evaluation, std::slice::from_ref(&measured));
        self.add_distances(&mut measured.records, space.as_ref())?;
        let Some(curve) = self.curve(&measures)? else { return Ok(Outcome::Interrupted) };
        let Some(probes) = self.probes(adapter.as_ref())? else { return Ok(Outcome::Interrupted) };
        let training = measurement.training.as_ref();
        let training =
            training.map(|id| training::record(&self.folders.trained(id))).transpose()?;
        let listed = prompts.iter().map(|prompt| json!([prompt.text, prompt.row]));
        let record = RunRecord {
            id: measurement.id.clone(),
            base: measurement.base.name.clone(),
            entry: measurement.entry.name.clone(),
            seed: measurement.seed,
            versions: Versions {
                program: env!("CARGO_PKG_VERSION").to_owned(),
                base: self.base.hash().to_owned(),
                adapter: adapter.as_ref().map(|file| weights::hash(&file.adapter)),
                prompts: fingerprint(&listed.collect()),
                device: device.to_owned(),
                space: format!("{} ({})", space.name(), space.version()),
            },
            rewards: summary.rewards,
            sampling: serde_json::to_value(&self.sampling).into_diagnostic()?,
            training,
            peak_memory: memory::peak(),
            variation: measured.variation,
            curve,
            probes,
            scores: String::new(),
        };
        record.write(&folder, &measured.records).into_diagnostic()?;
        Ok(Outcome::Done)
    }

    /// Its adapter, where it has one.
    fn adapter(&self) -> miette::Result<Option<AdapterFile>> {
        let entry = &self.measurement.entry;
        let source = entry.of.as_ref().and_then(|of| self.comparison.entry(of)).unwrap_or(entry);
        let path = match (&self.measurement.training, &source.adapter) {
            (Some(id), _) => self.folders.trained(id).join(ADAPTER),
            (None, Some(path)) => self.files.join(path),
            (None, None) => return Ok(None),
        };
        AdapterFile::open(&path, self.base, self.device).map(Some).into_diagnostic()
    }

    pub(super) fn adapted<'b>(&self, file: &'b AdapterFile) -> miette::Result<Adapted<'b>> {
        let entry = &self.measurement.entry;
        let lacks_steps = file.meta.key_steps.is_empty() && file.adapter.hypernet().is_some();
        if entry.variant == Some(Variant::P) && lacks_steps {
            return Err(MeasureError::KeySteps { entry: entry.name.clone() }.into());
        }
        let steps = self.sampling.steps;
        let (scale, share) =
            (entry.adapter_scale.unwrap_or(1.0), entry.adapter_until.unwrap_or(1.0));
        let dose = Dose::new(scale, share, steps);
        Ok(Adapted { dose, ..file.adapted(entry.variant, steps) })
    }

    /// How its pictures are made.
    fn way<'b>(
        &self,
        adapter: Option<&'b AdapterFile>,
        scorers: &Scorers,
    ) -> miette::Result<Arc<dyn Way + 'b>> {
        let entry = &self.measurement.entry;
        let adapted = adapter.map(|file| self.adapted(file)).transpose()?;
        let Some(method) = file::method(entry)? else {
            return Ok(match adapted {
                Some(adapted) => Arc::new(adapted),
                None => Arc::new(Plain),
            });
        };
        let reward = scorers.sought().ok_or(MeasureError::Reward)?;
        let budget = Budget { seconds: entry.budget_seconds, evaluations: None };
        let sought = Sought { method, reward, adapted, budget, knowledge: Knowledge::default() };
        sought.check(self.base, &self.sampling).into_diagnostic()?;
        Ok(Arc::new(sought))
    }

    /// The first prompts of the file, or of the base's own of a split.
    pub(super) fn prompts(&self, split: &str, rows: usize) -> miette::Result<Vec<Prompt>> {
        if let Some(path) = &self.comparison.protocol.prompts {
            return Ok(of_file(&hub::beside(self.files, path), Some(rows), false)?);
        }
        if base::embedded_base(self.measurement.base.model()).is_none() {
            return Err(MeasureError::Prompts { base: self.base.name().to_owned() }.into());
        }
        let split = match split {
            "train" => Split::Train,
            "tuning" => Split::Tuning,
            _ => Split::Test,
        };
        Ok(of_the_world(world_of(self.base), split, rows, 0))
    }

    /// Adds the distance to the base's own pictures, where both were kept.
    fn add_distances(&self, records: &mut [Record], space: &dyn ImageSpace) -> miette::Result<()> {
        if self.measurement.is_base() {
            return Ok(());
        }
        let of_base = |m: &&Measurement| m.is_base() && m.base == self.measurement.base;
        let Some(own) = self.plan.measurements.iter().find(of_base) else { return Ok(()) };
        let [this, base] = [&self.measurement.id, &own.id].map(|id| self.folders.measured(id));
        add_distances(records, &this, &base, space, self.device)
    }
}

/// The one method of `evaluation`, under a bar; `None` if it was interrupted.
pub(super) fn evaluate(evaluation: &Evaluation) -> miette::Result<Option<Measured>> {
    let bar = ProgressBar::new((evaluation.prompts.len() * evaluation.seeds) as u64);
    let measured = evaluation.run(&mut |done| bar.set_position(done.pictures as u64));
    bar.finish_and_clear();
    Ok(measured.into_diagnostic()?.and_then(|mut all| all.pop()))
}
