//! Where the sampler gets the low-rank update of a step from.

use burn::tensor::Tensor;

use super::{Conditioning, PassStart};
use crate::lora::LoraSet;

/// The update that a trajectory is sampled with, and since when.
#[derive(Debug, Clone)]
pub struct Held {
    /// The update.
    pub lora: LoraSet,
    /// The sampling step that it was computed for.
    pub since: usize,
}

impl Held {
    /// The updates of these rows of the batch, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self { lora: self.lora.select(rows), since: self.since }
    }

    /// The same values, cut off from any autodiff graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self { lora: self.lora.detach(), since: self.since }
    }

    /// The updates of several batches as those of one, each with the rows of its batch; `None`
    /// unless all have one.
    pub(crate) fn join(parts: &[(Option<&Self>, usize)]) -> Option<Self> {
        let parts: Option<Vec<(&Self, usize)>> =
            parts.iter().map(|&(held, rows)| Some((held?, rows))).collect();
        let parts = parts?;
        let sets: Vec<(&LoraSet, usize)> =
            parts.iter().map(|&(held, rows)| (&held.lora, rows)).collect();
        Some(Self { lora: LoraSet::join(&sets), since: parts.first()?.0.since })
    }
}

/// An update as it comes from its source.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The update.
    pub lora: LoraSet,
    /// What the source has computed of the evaluation that the update is for.
    pub start: Option<PassStart>,
}

/// An update whose source has looked at nothing.
impl From<LoraSet> for Fresh {
    fn from(lora: LoraSet) -> Self {
        Self { lora, start: None }
    }
}

/// A source of LoRA updates along a trajectory.
///
/// The sampler asks before every evaluation. A source that has an update gives one whenever none
/// is held, at whichever step that is: a run may begin late, or go on from a re-noised sample.
pub trait AdapterSource {
    /// The update to use from sampling step `i` on; `None` keeps what is `held`, or leaves the base
    /// bare where nothing is.
    ///
    /// # Shapes
    ///
    /// - `sample`: `[batch, channels, height, width]`, the latents that enter step `i`
    /// - `timestep`: the network's time of step `i`
    /// - `conditioning`: the conditional rows, `batch` of them
    fn refresh(
        &self,
        i: usize,
        held: Option<&Held>,
        sample: &Tensor<4>,
        timestep: f64,
        conditioning: &Conditioning,
    ) -> Option<Fresh>;
}

/// No update: the base as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAdapter;

impl AdapterSource for NoAdapter {
    fn refresh(
        &self,
        _: usize,
        _: Option<&Held>,
        _: &Tensor<4>,
        _: f64,
        _: &Conditioning,
    ) -> Option<Fresh> {
        None
    }
}

/// The same update at every step of every sample.
#[derive(Debug, Clone)]
pub struct StaticAdapter(
    /// The update, of one row.
    pub LoraSet,
);

impl AdapterSource for StaticAdapter {
    fn refresh(
        &self,
        _: usize,
        held: Option<&Held>,
        _: &Tensor<4>,
        _: f64,
        _: &Conditioning,
    ) -> Option<Fresh> {
        held.is_none().then(|| self.0.clone().into())
    }
}
