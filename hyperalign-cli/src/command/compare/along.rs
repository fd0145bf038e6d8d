//! What is measured beside the pictures of the table: along the training, and along the steps.

use std::sync::Arc;

use hyperalign_core::movement::{curvature, key_steps_by_share};
use hyperalign_models::generate::{AdapterFile, Plain, Shot, Way};
use hyperalign_rewards::{Prompt, emoji};
use hyperalign_train::{
    compare::{CurvePoint, Probes, weight_path},
    eval::{Evaluation, Measures, Method, Summary, emitted, movement},
};
use miette::IntoDiagnostic;

use super::{
    measured::{Measuring, evaluate},
    training,
};

/// Key steps that the figure of the movement shows.
const KEY_STEPS: usize = 3;

impl Measuring<'_> {
    /// Measurements along its training, on prompts that the table does not have where there are some.
    pub(super) fn curve(&self, measures: &Measures) -> miette::Result<Option<Vec<CurvePoint>>> {
        let Self { comparison, measurement, .. } = self;
        let entry = &measurement.entry;
        let has_curve = match measurement.is_base() {
            // Curves begin with the base.
            true => comparison.entries.iter().any(|entry| entry.curve),
            false => entry.curve && measurement.training.is_some(),
        };
        if !has_curve {
            return Ok(Some(Vec::new()));
        }
        let mut prompts = self.prompts("tuning", comparison.curves.rows)?;
        // Of the embedded world, the rules are what the words mean.
        for prompt in &mut prompts {
            if prompt.row.is_none() {
                prompt.row = emoji::parse(&prompt.text).ok();
            }
        }
        let training = measurement.training.as_ref().and_then(|id| self.plan.training(id));
        let mut points = Vec::new();
        for (updates, file) in self.stages()? {
            let way: Arc<dyn Way + '_> = match &file {
                Some(file) => Arc::new(self.adapted(file)?),
                None => Arc::new(Plain),
            };
            let name = format!("after-{updates}");
            let evaluation = Evaluation {
                base: self.base,
                methods: vec![Method { name, way }],
                prompts: &prompts,
                seeds: 1,
                first_seed: comparison.protocol.first_seed,
                sampling: self.sampling.clone(),
                measures: measures.clone(),
                cache: Some(self.folders.measured(&measurement.id).join("journal")),
                stop: self.stop.clone(),
            };
            let Some(measured) = evaluate(&evaluation)? else { return Ok(None) };
            let summary = Summary::new(&evaluation, std::slice::from_ref(&measured));
            let (_, of_method) = &summary.methods[0];
            let mut values = of_method.scores.clone();
            values.extend(of_method.gold.as_ref().map(|gold| ("gold".to_owned(), gold.mean)));
            let per_update = training.and_then(|training| training.train.states_per_update);
            let states = per_update.map(|states| states * updates as f64);
            points.push(CurvePoint { updates, states, values });
        }
        Ok(Some(points))
    }

    /// The adapters that were kept along the training, by the updates that they have; the base alone
    /// has none.
    fn stages(&self) -> miette::Result<Vec<(u64, Option<AdapterFile>)>> {
        let Some(id) = &self.measurement.training else { return Ok(vec![(0, None)]) };
        let folder = self.folders.trained(id);
        let entries = std::fs::read_dir(&folder).into_diagnostic()?.flatten();
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut updates: Vec<u64> = entries
            .map(name)
            .filter_map(|name| name.strip_prefix("at-")?.strip_suffix(".safetensors")?.parse().ok())
            .collect();
        updates.sort_unstable();
        let open = |updates: u64| -> miette::Result<_> {
            let file = training::at(&folder, updates);
            Ok((updates, Some(AdapterFile::open(&file, self.base, self.device).into_diagnostic()?)))
        };
        updates.into_iter().map(open).collect()
    }

    /// The movement of the base, or how the weights of a hypernetwork change.
    pub(super) fn probes(&self, adapter: Option<&AdapterFile>) -> miette::Result<Option<Probes>> {
        let protocol = &self.comparison.protocol;
        let prompts = self.prompts("tuning", protocol.probe_prompts)?;
        if self.measurement.is_base() {
            let shots = prompts.into_iter().zip(0..).map(|(prompt, seed)| Shot { prompt, seed });
            let shots: Vec<Shot> = shots.collect();
            let movement = movement(self.base, &self.sampling, &shots, self.stop);
            let Some(movement) = movement.into_diagnostic()? else { return Ok(None) };
            let count = KEY_STEPS.min(movement.len());
            return Ok(Some(Probes {
                curvature: curvature(&movement),
                key_steps: key_steps_by_share(&movement, count).into_diagnostic()?,
                movement,
                weights: None,
            }));
        }
        let network = adapter.filter(|file| file.adapter.hypernet().is_some());
        let Some(file) = network.filter(|_| self.measurement.entry.method.is_none()) else {
            return Ok(Some(Probes::default()));
        };
        let adapted = self.adapted(file)?;
        let prompts = Prompt::texts(&prompts);
        let seed = protocol.first_seed;
        let updates = emitted(self.base, &adapted, &self.sampling, &prompts, seed, self.stop);
        let Some(updates) = updates.into_diagnostic()? else { return Ok(None) };
        let key_steps = adapted.key_steps.clone();
        Ok(Some(Probes { weights: weight_path(&updates), key_steps, ..Probes::default() }))
    }
}
