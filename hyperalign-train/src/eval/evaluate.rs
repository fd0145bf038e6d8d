//! Every method over the same prompts and seeds.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Instant};

use burn::tensor::Tensor;
use hyperalign_models::{
    base::Base,
    generate::{Adapted, Batch, Cost, Job, Meter, Plain, Sampling, Shot, Way, generate},
};
use hyperalign_rewards::prompts::Prompt;
use serde_json::{Value, json};

use super::{
    EvalError, Measures, PictureCost, Record, Variation, mean_pairwise_distance,
    record::Store,
    score::Scores,
    units::{Unit, groups},
    variation,
};
use crate::learner::Stop;

/// How many prompts the variation of a hypernetwork is measured over.
const VARIATION_PROMPTS: usize = 48;

/// A row of the table: the base as it is, or another way of making its pictures.
#[derive(Debug, Clone)]
pub struct Method<'a> {
    /// Its name. `base` is what the others are compared with.
    pub name: String,
    /// How its pictures are made.
    pub way: Arc<dyn Way + 'a>,
}

impl<'a> Method<'a> {
    /// The name of the base as a method.
    pub const BASE: &'static str = "base";

    /// The base itself.
    pub fn base() -> Self {
        Self::new(Self::BASE, Plain)
    }

    /// The row `name` of pictures that `way` makes.
    pub fn new(name: impl Into<String>, way: impl Way + 'a) -> Self {
        Self { name: name.into(), way: Arc::new(way) }
    }
}

/// How far an evaluation has come.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    /// The method at hand.
    pub method: &'a str,
    /// Pictures of it that are made and measured, kept ones included.
    pub pictures: usize,
    /// Pictures that it will have.
    pub of: usize,
    /// Wall time of making a picture of the last batch, in seconds.
    pub seconds: f64,
}

/// What to measure.
#[derive(Clone)]
pub struct Evaluation<'a> {
    /// The base of all methods.
    pub base: &'a dyn Base,
    /// The methods, in the order of the table.
    pub methods: Vec<Method<'a>>,
    /// The prompts.
    pub prompts: &'a [Prompt],
    /// Pictures of each prompt.
    pub seeds: usize,
    /// The seed of the first picture; see [`seed_of`](Self::seed_of).
    pub first_seed: u64,
    /// How pictures are sampled.
    pub sampling: Sampling,
    /// What they are measured by.
    pub measures: Measures<'a>,
    /// Folder that results are kept in, if an interrupted evaluation is to go on from there.
    pub cache: Option<PathBuf>,
    /// Ends the evaluation after the step at hand.
    pub stop: Stop,
}

/// What was measured of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The method's name.
    pub name: String,
    /// One record for each prompt, in order.
    pub records: Vec<Record>,
    /// How much the emitted updates vary; none for the base.
    pub variation: Option<Variation>,
}

impl Evaluation<'_> {
    /// The seed of picture `k` of prompt `row`: all pictures of an evaluation have seeds of their
    /// own, because a list may hold a prompt twice, and because pictures that share their noise
    /// are not independent. Methods share them: that is what pairs them.
    pub fn seed_of(&self, row: usize, k: usize) -> u64 {
        self.first_seed.wrapping_add((row * self.seeds + k) as u64)
    }

    /// Measures all methods, one after another. `None` if [`stop`](Self::stop) was requested
    /// before the end; what is done by then is kept in [`cache`](Self::cache).
    ///
    /// # Errors
    ///
    /// Fails if the base or a reward refuses a prompt, if the base refuses the number of steps, if
    /// results cannot be kept, if there is nothing to measure, and if weights are so broken that
    /// something is not a number.
    pub fn run(&self, progress: &mut dyn FnMut(Done)) -> Result<Option<Vec<Measured>>, EvalError> {
        let counts = [
            ("prompts", self.prompts.len()),
            ("seeds", self.seeds),
            ("methods", self.methods.len()),
        ];
        if let Some((what, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(EvalError::Nothing { what });
        }
        for (k, method) in self.methods.iter().enumerate() {
            if self.methods[..k].iter().any(|other| other.name == method.name) {
                return Err(EvalError::SameName { name: method.name.clone() });
            }
        }
        self.measures.check(self.base.picture_size(), self.prompts)?;
        let mut all = Vec::new();
        for method in &self.methods {
            match self.measure(method, progress)? {
                Some(measured) => all.push(measured),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    fn measure(
        &self,
        method: &Method,
        progress: &mut dyn FnMut(Done),
    ) -> Result<Option<Measured>, EvalError> {
        let mut store = Store::open(self.cache.as_deref(), &method.name, self.made_by(method));
        let kept: HashSet<usize> = store.records.iter().map(|record| record.row).collect();
        let texts: Vec<&str> = self.prompts.iter().map(|prompt| prompt.text.as_str()).collect();
        for group in groups(&texts, self.seeds, self.sampling.batch) {
            if group.iter().flatten().all(|row| kept.contains(row)) {
                continue;
            }
            let Some(records) = self.measure_units(method, &group)? else { return Ok(None) };
            store.extend(records)?;
            progress(Done {
                method: &method.name,
                pictures: store.records.len() * self.seeds,
                of: self.prompts.len() * self.seeds,
                seconds: store.records.last().map_or(0.0, |record| record.seconds),
            });
        }
        let variation = match method.way.adapted() {
            Some(adapted) => match self.variation(adapted)? {
                Some(variation) => Some(variation),
                None => return Ok(None),
            },
            None => None,
        };
        let mut records = store.records;
        records.sort_by_key(|record| record.row);
        Ok(Some(Measured { name: method.name.clone(), records, variation }))
    }

    /// Makes and measures the pictures of a few prompts.
    fn measure_units(
        &self,
        method: &Method,
        units: &[Unit],
    ) -> Result<Option<Vec<Record>>, EvalError> {
        let start = Instant::now();
        let rows = units.concat();
        let of_pictures: Vec<(usize, u64)> = rows
            .iter()
            .flat_map(|&row| (0..self.seeds).map(move |k| (row, self.seed_of(row, k))))
            .collect();
        let shots: Vec<Shot> = of_pictures
            .iter()
            .map(|&(row, seed)| Shot { prompt: self.prompts[row].clone(), seed })
            .collect();
        let (mut all, mut features, mut seconds) = (Scores::default(), Vec::new(), 0.0);
        let mut cost = Cost::default();
        // Of a batch only numbers are kept: a unit may have many pictures.
        let mut keep = |shots: &[Shot], batch: Batch| {
            let prompts: Vec<Prompt> = shots.iter().map(|shot| shot.prompt.clone()).collect();
            seconds += batch.seconds * shots.len() as f64;
            cost += batch.cost;
            let scores = self.measures.score(&batch.images, &prompts);
            for (column, values) in &scores.rewards {
                let is_broken = |value: &Option<f32>| value.is_some_and(|value| !value.is_finite());
                if let Some(k) = values.iter().position(is_broken) {
                    return Err(not_finite(method, format!("the score `{column}`"), &prompts[k]));
                }
            }
            all.extend(scores);
            features.push(self.measures.space.embed(batch.images));
            Ok(())
        };
        let meter = Meter::default();
        let job = Job {
            base: self.base,
            sampling: &self.sampling,
            shots: &shots,
            decoder: None,
            meter: &meter,
        };
        let is_all = generate(method.way.as_ref(), &job, &self.stop, &mut keep)?;
        // What a search has by then is no result of the search.
        if !is_all || (method.way.settles_for_less() && self.stop.is_requested()) {
            return Ok(None);
        }
        let features = Tensor::cat(features, 0);
        let wall_seconds = start.elapsed().as_secs_f64() / rows.len() as f64;
        let mut records = Vec::new();
        for unit in units {
            let first = records.len() * self.seeds;
            let of_unit = features.clone().slice(first..first + unit.len() * self.seeds);
            let mut diversity = mean_pairwise_distance(of_unit).map(|distance| distance as f32);
            for &row in unit {
                let own = records.len() * self.seeds..(records.len() + 1) * self.seeds;
                // All pictures of a prompt have a score, or none.
                let of_own = |values: &Vec<Option<f32>>| -> Option<Vec<f32>> {
                    values[own.clone()].iter().copied().collect()
                };
                records.push(Record {
                    row,
                    task: self.prompts[row].task(),
                    group: self.prompts[row].group.clone(),
                    prompt: self.prompts[row].text.clone(),
                    seeds: of_pictures[own.clone()].iter().map(|&(_, seed)| seed).collect(),
                    gold: all.gold.as_ref().map(|gold| gold[own.clone()].to_vec()),
                    scores: all
                        .rewards
                        .iter()
                        .filter_map(|(column, values)| Some((column.clone(), of_own(values)?)))
                        .collect(),
                    diversity: diversity.take(),
                    seconds: seconds / shots.len() as f64,
                    wall_seconds,
                    cost: Some(PictureCost::of(cost, of_pictures.len())),
                });
            }
        }
        Ok(Some(records))
    }

    /// Over the first prompts of the list, each once.
    fn variation(&self, adapted: &Adapted) -> Result<Option<Variation>, EvalError> {
        let mut prompts: Vec<String> = Vec::new();
        for prompt in self.prompts {
            if prompts.len() < VARIATION_PROMPTS && !prompts.contains(&prompt.text) {
                prompts.push(prompt.text.clone());
            }
        }
        variation(self.base, adapted, &self.sampling, &prompts, self.first_seed, &self.stop)
    }

    /// Everything that the results of a method depend on.
    fn made_by(&self, method: &Method) -> Value {
        let scorers = self.measures.scorers.iter();
        let scorers = scorers
            .map(|scorer| json!([scorer.column, scorer.reward.name(), scorer.reward.version()]));
        let prompts = self.prompts.iter();
        let prompts = prompts.map(|prompt| json!([prompt.text, prompt.group, prompt.row]));
        json!({
            "format": 3,
            "base": self.base.hash(),
            "adapter": method.way.identity(),
            "sampling": self.sampling,
            "device": format!("{:?}", self.base.unconditional().context.device()),
            "prompts": super::record::fingerprint(&prompts.collect()),
            "seeds": [self.first_seed, self.seeds as u64],
            "gold": self.measures.gold.map(super::Judge::version),
            "scorers": scorers.collect::<Vec<_>>(),
            "space": [self.measures.space.name(), &self.measures.space.version()],
        })
    }
}

fn not_finite(method: &Method, what: String, prompt: &Prompt) -> EvalError {
    EvalError::NotFinite { what, method: method.name.clone(), prompt: prompt.text.clone() }
}
