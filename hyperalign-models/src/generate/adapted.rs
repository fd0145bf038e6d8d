//! Pictures of a base with an adapter.

use std::path::Path;

use burn::tensor::Device;
use hyperalign_core::{contract::AdapterSource, stop::Stop};
use serde_json::{Value, json};

use super::{Dose, GenerateError, Job, Made, Sampling, Way};
use crate::{
    base::{Base, BaseError},
    hypernet::{Adapter, AdapterError, AdapterMeta, AdapterPlace, Perception, Variant},
    weights,
};

/// An adapter, and how it is run.
#[derive(Debug, Clone)]
pub struct Adapted<'a> {
    /// The trained network.
    pub adapter: &'a Adapter,
    /// When its update is computed anew. A static LoRA has one update at any rate.
    pub variant: Variant,
    /// Sampling steps of this run at which P computes it anew; S and I do not read them. Where the
    /// solver evaluates the network twice in a step, it is computed before the first of both.
    pub key_steps: Vec<usize>,
    /// How much of it is used, and for how many steps.
    pub dose: Dose,
}

impl Adapted<'_> {
    /// The adapter as the sampler reads it, in a plan with one evaluation of the network a step.
    pub fn source<'b>(&'b self, perception: &'b dyn Perception) -> Box<dyn AdapterSource + 'b> {
        self.dose.of(self.adapter.source(perception, self.variant, self.key_steps.clone()))
    }

    /// The same adapter for what `sampling` makes of `base`: where its solver evaluates the network
    /// several times in a step, steps are counted so.
    ///
    /// # Errors
    ///
    /// Fails for a solver that does not fit the base.
    pub(super) fn planned(&self, base: &dyn Base, sampling: &Sampling) -> Result<Self, BaseError> {
        let evaluations = base.solver(sampling.solver)?.evaluations();
        let key_steps = self.key_steps.iter().map(|key| key * evaluations).collect();
        Ok(Self { key_steps, dose: self.dose.planned(evaluations), ..self.clone() })
    }
}

impl Way for Adapted<'_> {
    fn name(&self) -> String {
        let name = match self.adapter {
            Adapter::Hypernet(_) => self.variant.label(),
            Adapter::StaticLora(_) => "static-lora",
            Adapter::FullWeights(_) => "full-weights",
        };
        format!("{name}{}", self.dose.label())
    }

    fn identity(&self) -> Value {
        json!({
            "weights": weights::hash(self.adapter),
            "variant": self.variant,
            "key_steps": self.key_steps,
            "dose": self.dose,
        })
    }

    fn adapted(&self) -> Option<&Adapted<'_>> {
        Some(self)
    }

    fn make(&self, job: &Job, stop: &Stop) -> Result<Option<Made>, GenerateError> {
        let planned = self.planned(job.base, job.sampling)?;
        Ok(job.sample(planned.source(job.base).as_ref(), stop)?)
    }
}

/// An adapter that was read for the base at hand.
#[derive(Debug)]
pub struct AdapterFile {
    /// Where it is.
    pub place: AdapterPlace,
    /// The trained network.
    pub adapter: Adapter,
    /// What the file says about it.
    pub meta: AdapterMeta,
}

impl AdapterFile {
    /// Reads the adapter that `given` names, an embedded one or a file; it must have been trained on
    /// `base`.
    ///
    /// # Errors
    ///
    /// Fails where [`AdapterPlace::find`] and [`Adapter::load`] do, and for an adapter of another
    /// base.
    pub fn open(given: &Path, base: &dyn Base, device: &Device) -> Result<Self, AdapterError> {
        Self::open_at(AdapterPlace::find(given)?, base, device)
    }

    /// Reads the adapter at `place`, which must have been trained on `base`.
    ///
    /// # Errors
    ///
    /// Fails where [`Adapter::load`] does, and for an adapter of another base.
    pub fn open_at(
        place: AdapterPlace,
        base: &dyn Base,
        device: &Device,
    ) -> Result<Self, AdapterError> {
        let (adapter, meta) = Adapter::open(&place, device)?;
        meta.check(base)?;
        Ok(Self { place, adapter, meta })
    }

    /// The whole adapter as `variant`, or as it was trained, for a run of `steps` sampling steps.
    pub fn adapted(&self, variant: Option<Variant>, steps: usize) -> Adapted<'_> {
        Adapted {
            adapter: &self.adapter,
            variant: variant.unwrap_or(self.meta.variant),
            key_steps: self.meta.key_steps_for(steps),
            dose: Dose::default(),
        }
    }
}
