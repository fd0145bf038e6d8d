//! How a run is trained: resolved numbers, readable from TOML.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;
use super::parameters::Parameter;

/// How many updates to make, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Updates of a whole run.
    pub updates: u64,
    /// The seed of the run. The engine draws nothing: objectives use it, and a checkpoint of
    /// another seed is refused.
    #[serde(with = "super::seed")]
    #[schemars(with = "super::seed::Written")]
    pub seed: u64,
    /// The optimizer.
    pub optimizer: AdamW,
    /// How the learning rate changes over the run.
    pub schedule: Schedule,
    /// The largest allowed norm of all gradients together; longer gradients are shortened to it.
    pub clip: Option<f64>,
    /// The same limit as a multiple of the running mean of the norms of earlier updates, such as 4.
    /// The tighter of the two holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_to_mean: Option<f64>,
    /// Decay of the moving average of the weights, such as 0.999.
    pub ema: Option<f64>,
    /// Threads that share a batch. Results depend on their number in the last bits.
    pub shards: usize,
    /// Micro-steps of each thread in one update; their gradients are averaged.
    pub accumulate: usize,
    /// Updates between those that log how far the gradients of the two halves of a batch agree, as
    /// the cosine between them for each part of the loss; needs two shards or micro-steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement_every: Option<u64>,
    /// Updates between checkpoints.
    pub checkpoint_every: u64,
    /// How many of the latest checkpoints are kept.
    pub keep: usize,
    /// Updates between lines of progress; `metrics.jsonl` has a row for each update.
    pub log_every: u64,
    /// Seconds after which the run saves and ends, those of earlier sittings included.
    #[serde(with = "seconds")]
    #[schemars(with = "Option<f64>")]
    pub time_limit: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            updates: 1000,
            seed: 0,
            optimizer: AdamW::default(),
            schedule: Schedule::default(),
            // TOML cannot say "none": what may be absent must be absent by default, or a run's own
            // settings would come back changed.
            clip: None,
            clip_to_mean: None,
            ema: None,
            shards: 1,
            accumulate: 1,
            agreement_every: None,
            checkpoint_every: 100,
            keep: 2,
            log_every: 10,
            time_limit: None,
        }
    }
}

/// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), with PyTorch's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// The learning rate that the schedule scales.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub epsilon: f64,
    /// Decoupled weight decay; a step shrinks weights by `lr * weight_decay`.
    pub weight_decay: f64,
    /// Parameters that do not decay: those whose path has one of these as a segment.
    pub no_decay: Vec<String>,
    /// Factors of the learning rate, by a segment of the parameter's path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_factors: BTreeMap<String, f64>,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            no_decay: ["bias", "gamma", "beta"].map(str::to_owned).to_vec(),
            lr_factors: BTreeMap::new(),
        }
    }
}

impl AdamW {
    /// Whether weight decay applies to the parameter at `path`.
    pub fn decays(&self, path: &str) -> bool {
        !path.split('.').any(|segment| self.no_decay.iter().any(|name| name == segment))
    }

    /// The parameters that learn at a rate of their own, and its factor.
    ///
    /// # Errors
    ///
    /// Fails for a name that no parameter has.
    pub(crate) fn lr_groups(
        &self,
        parameters: &[Parameter],
    ) -> Result<Vec<(ParamGroup, f64)>, SettingsError> {
        let group = |(name, factor): (&String, &f64)| {
            let named = |path: &str| path.split('.').any(|segment| segment == name);
            let own = parameters.iter().filter(|parameter| named(&parameter.path));
            let own: Vec<_> = own.map(|parameter| parameter.id).collect();
            if own.is_empty() {
                let segments = parameters.iter().filter_map(|one| one.path.split('.').next());
                let names: BTreeSet<&str> = segments.collect();
                let names: Vec<&str> = names.into_iter().collect();
                return Err(SettingsError {
                    name: "optimizer.lr_factors",
                    given: name.clone(),
                    expected: format!("part of a parameter's path, such as {}", names.join(", ")),
                });
            }
            Ok((ParamGroup::from_ids(own), *factor))
        };
        self.lr_factors.iter().map(group).collect()
    }

    /// The optimizer of a module of `parameters`.
    pub(crate) fn init(&self, parameters: &[Parameter]) -> ModuleOptimizer {
        let config = AdamWConfig::new()
            .with_beta_1(self.beta1 as f32)
            .with_beta_2(self.beta2 as f32)
            .with_epsilon(self.epsilon as f32);
        let spared = parameters.iter().filter(|parameter| !self.decays(&parameter.path));
        let spared = spared.map(|parameter| parameter.id).collect();
        config.clone().with_weight_decay(self.weight_decay as f32).init().with_group(
            ParamGroup::from_ids(spared),
            config.with_weight_decay(0.0).build(),
            None,
        )
    }
}

/// A setting that no run can be made with.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{name} = {given}` is no usable training setting; it must be {expected}")]
pub struct SettingsError {
    /// The setting.
    pub name: &'static str,
    /// What was given.
    pub given: String,
    /// What it must be.
    pub expected: String,
}

impl Settings {
    /// Checks every number.
    ///
    /// # Errors
    ///
    /// Fails at the first setting that no run can be made with.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let check = |ok: bool, name, given: String, expected: &str| {
            let expected = expected.to_owned();
            if ok { Ok(()) } else { Err(SettingsError { name, given, expected }) }
        };
        let AdamW { lr, beta1, beta2, epsilon, weight_decay, .. } = &self.optimizer;
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let (above, below) = ("above 0", "at least 0 and below 1");
        check(positive(*lr), "optimizer.lr", lr.to_string(), above)?;
        check(fraction(*beta1), "optimizer.beta1", beta1.to_string(), below)?;
        check(fraction(*beta2), "optimizer.beta2", beta2.to_string(), below)?;
        check(positive(*epsilon), "optimizer.epsilon", epsilon.to_string(), above)?;
        check(
            *weight_decay >= 0.0 && weight_decay.is_finite(),
            "optimizer.weight_decay",
            weight_decay.to_string(),
            "0 or more",
        )?;
        for (name, factor) in &self.optimizer.lr_factors {
            let given = format!("{name}: {factor}");
            check(positive(*factor), "optimizer.lr_factors", given, above)?;
        }
        if let Some(clip) = self.clip {
            check(positive(clip), "clip", clip.to_string(), above)?;
        }
        if let Some(factor) = self.clip_to_mean {
            check(
                factor >= 1.0 && factor.is_finite(),
                "clip_to_mean",
                factor.to_string(),
                "1 or more",
            )?;
        }
        if let Some(every) = self.agreement_every {
            check(every > 0, "agreement_every", every.to_string(), "1 or more")?;
        }
        if let Some(ema) = self.ema {
            check(fraction(ema), "ema", ema.to_string(), below)?;
        }
        for (name, given) in [
            ("updates", self.updates),
            ("shards", self.shards as u64),
            ("accumulate", self.accumulate as u64),
            ("checkpoint_every", self.checkpoint_every),
            ("keep", self.keep as u64),
            ("log_every", self.log_every),
        ] {
            check(given > 0, name, given.to_string(), "1 or more")?;
        }
        self.schedule.validate()
    }

    /// Checks that a run ends where it may be saved: after a whole span of updates. An endless run
    /// ends by its time.
    ///
    /// # Errors
    ///
    /// Fails for updates that are no multiple of `span`.
    pub fn check_span(&self, span: u64) -> Result<(), SettingsError> {
        if self.updates == u64::MAX || self.updates.is_multiple_of(span) {
            return Ok(());
        }
        Err(SettingsError {
            name: "updates",
            given: self.updates.to_string(),
            expected: format!("a multiple of {span}, the updates that learn from the same rollout"),
        })
    }

    /// What a checkpoint must have been made with, for a resumed run to be the same run.
    ///
    /// How long to go on is free to change where it does not change the updates before.
    pub(crate) fn trajectory(&self) -> serde_json::Value {
        let mut value = serde_json::json!({
            "seed": self.seed,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "clip": self.clip,
            "ema": self.ema,
            "shards": self.shards,
            "accumulate": self.accumulate,
        });
        if let Some(factor) = self.clip_to_mean {
            value["clip_to_mean"] = factor.into();
        }
        if self.schedule.depends_on_length() {
            value["updates"] = self.updates.into();
        }
        value
    }
}

/// An optional duration as a number of seconds; leaving it out means none.
mod seconds {
    use super::{Deserialize, Duration};
    use serde::{Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(limit) => serializer.serialize_some(&limit.as_secs_f64()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(|s| Duration::try_from_secs_f64(s).map_err(D::Error::custom)).transpose()
    }
}
