//! What a sampling run is, between two steps and within one.

use burn::tensor::Tensor;

use crate::{
    contract::{Correction, Held},
    lora::LoraSet,
    rows::select_rows,
    schedule::{History, Transition},
};

/// A sampling run between two steps, with all that its further steps depend on. A clone goes its
/// own way.
#[derive(Debug, Clone)]
pub struct Trajectory {
    /// Index of the next step.
    pub i: usize,
    /// The sample that enters it, `[batch, channels, height, width]`.
    pub sample: Tensor<4>,
    /// The low-rank update in use, if there is one.
    pub held: Option<Held>,
    /// What a multi-step solver remembers.
    pub history: History,
}

impl Trajectory {
    /// A trajectory that is entered at step `i` with `sample`, at the noise level of that step. It
    /// remembers nothing: a multi-step solver begins at its lowest order, and an adapter gives its
    /// update.
    pub fn at(i: usize, sample: Tensor<4>) -> Self {
        Self { i, sample, held: None, history: History::default() }
    }

    /// These rows of the batch, in this order; a row may come more than once.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            i: self.i,
            sample: select_rows(self.sample.clone(), rows),
            held: self.held.as_ref().map(|held| held.select(rows)),
            history: self.history.select(rows),
        }
    }

    /// The same values, cut off from any autodiff graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            i: self.i,
            sample: self.sample.clone().detach(),
            held: self.held.as_ref().map(Held::detach),
            history: self.history.detach(),
        }
    }
}

/// One evaluation of the network on the way, and where it leads to. Its tensors are tracked where
/// the sample or the update is.
#[derive(Debug, Clone)]
pub struct Look {
    /// Index of the step.
    pub i: usize,
    /// The low-rank update that was in use, if any.
    pub held: Option<Held>,
    /// What the network answered (after guidance), `[batch, channels, height, width]`.
    pub model_output: Tensor<4>,
    /// What guidance has added to that, where something guides.
    pub correction: Option<Correction>,
    /// Where the step leads to, with the one-step estimate of the original. What guides a run
    /// moves the mean before the step is taken.
    pub transition: Transition,
    pub(super) history: History,
}

impl Look {
    /// The low-rank update that was in use, if any.
    pub fn lora(&self) -> Option<&LoraSet> {
        self.held.as_ref().map(|held| &held.lora)
    }

    /// The one-step estimate of the original, `[batch, channels, height, width]`.
    pub fn pred_original(&self) -> &Tensor<4> {
        &self.transition.pred_original
    }

    /// The look at these rows of the batch, in this order; a row may come more than once.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            i: self.i,
            held: self.held.as_ref().map(|held| held.select(rows)),
            model_output: select_rows(self.model_output.clone(), rows),
            correction: self.corrected(|tensor| select_rows(tensor, rows)),
            transition: self.transition.select(rows),
            history: self.history.select(rows),
        }
    }

    /// The same values, cut off from any autodiff graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            i: self.i,
            held: self.held.as_ref().map(Held::detach),
            model_output: self.model_output.clone().detach(),
            correction: self.corrected(Tensor::detach),
            transition: self.transition.detach(),
            history: self.history.detach(),
        }
    }

    fn corrected(&self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Option<Correction> {
        self.correction.as_ref().map(|correction| correction.map(f))
    }

    /// The looks of several batches at one step, as one.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub(crate) fn join(looks: &[Self]) -> Self {
        let [first, ..] = looks else { panic!("a look at least") };
        let rows = |look: &Self| look.model_output.dims()[0];
        let held: Vec<_> = looks.iter().map(|look| (look.held.as_ref(), rows(look))).collect();
        let outputs = looks.iter().map(|look| look.model_output.clone()).collect();
        let corrections: Option<Vec<&Correction>> =
            looks.iter().map(|look| look.correction.as_ref()).collect();
        let correction = corrections.map(|parts| {
            let differences = parts.iter().map(|part| part.difference.clone()).collect();
            Correction { difference: Tensor::cat(differences, 0), scale: parts[0].scale }
        });
        Self {
            i: first.i,
            held: Held::join(&held),
            model_output: Tensor::cat(outputs, 0),
            correction,
            transition: Transition::join(
                &looks.iter().map(|look| &look.transition).collect::<Vec<_>>(),
            ),
            history: History::join(&looks.iter().map(|look| &look.history).collect::<Vec<_>>()),
        }
    }

    /// The same values without autodiff; of the update, which is no part of the sample's tape, the
    /// same tensors.
    #[must_use]
    pub fn inner(self) -> Self {
        Self {
            i: self.i,
            correction: self.corrected(Tensor::inner),
            held: self.held,
            model_output: self.model_output.inner(),
            transition: self.transition.inner(),
            history: self.history.inner(),
        }
    }
}
