//! The contract between the sampler and a network.

use std::{any::Any, fmt, sync::Arc};

use burn::tensor::Tensor;

use crate::{lora::LoraSet, rows::select_rows};

/// What a network predicts from a noisy sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise (Ho et al. 2020, arXiv:2006.11239).
    Epsilon,
    /// `v = sqrt(alpha) noise - sqrt(1 - alpha) original` (Salimans & Ho 2022, arXiv:2202.00512).
    VPrediction,
    /// The original itself.
    Sample,
    /// `noise - original`, the velocity of a rectified flow (Liu et al. 2022, arXiv:2209.03003).
    Velocity,
}

impl Prediction {
    /// Timesteps of the thousand that diffusion is trained with in one unit of the time that such a
    /// network is told: flows are told the noise level.
    pub fn timesteps_in_unit(self) -> f64 {
        match self {
            Self::Epsilon | Self::VPrediction | Self::Sample => 1.0,
            Self::Velocity => 1000.0,
        }
    }
}

/// What a sample is generated from: the encoded prompts of a batch.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// Token states of the text encoder, `[batch, tokens, dim]`.
    pub context: Tensor<3>,
    /// Pooled text features, `[batch, dim]`, where the network reads them.
    pub pooled: Option<Tensor<2>>,
}

impl Conditioning {
    /// Number of prompts in the batch.
    pub fn batch(&self) -> usize {
        self.context.dims()[0]
    }

    /// The rows of `self` followed by those of `other`.
    pub fn concat(self, other: Self) -> Self {
        Self {
            context: Tensor::cat(vec![self.context, other.context], 0),
            pooled: self.pooled.zip(other.pooled).map(|(a, b)| Tensor::cat(vec![a, b], 0)),
        }
    }

    /// Rows `range` of the batch.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            context: self.context.clone().slice(range.clone()),
            pooled: self.pooled.clone().map(|pooled| pooled.slice(range.clone())),
        }
    }

    /// These rows of the batch, in this order; a row may come more than once.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            context: select_rows(self.context.clone(), rows),
            pooled: self.pooled.clone().map(|pooled| select_rows(pooled, rows)),
        }
    }

    /// Every row `times` times, the whole batch after itself.
    pub fn repeat(&self, times: usize) -> Self {
        Self {
            context: self.context.clone().repeat_dim(0, times),
            pooled: self.pooled.clone().map(|pooled| pooled.repeat_dim(0, times)),
        }
    }
}

/// What a network answers, and what guidance has done to the answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The prediction, of the shape of the sample.
    pub output: Tensor<4>,
    /// What guidance has added; `None` where nothing guides, or the network was distilled to it.
    pub correction: Option<Correction>,
}

/// The answer of a network that nothing guides.
impl From<Tensor<4>> for Answer {
    fn from(output: Tensor<4>) -> Self {
        Self { output, correction: None }
    }
}

/// How guidance leads from the unconditional prediction to the answer,
/// `answer = unconditional + scale * difference`.
#[derive(Debug, Clone)]
pub struct Correction {
    /// The conditional less the unconditional prediction, of the shape of the sample.
    pub difference: Tensor<4>,
    /// The weight of guidance.
    pub scale: f64,
}

impl Correction {
    /// With `f` of the tensor.
    #[must_use]
    pub(crate) fn map(&self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self { difference: f(self.difference.clone()), scale: self.scale }
    }
}

/// Is shown where the picture looks at each token of the text: maps of attention, a layer at a time,
/// means over its heads, `[batch, tokens, height, width]`. They add up to 1 over the tokens, or to
/// less where the picture looks at itself too.
pub type TextWatch<'a> = &'a dyn Fn(Tensor<4>);

/// The beginning of an evaluation, from before its update was known: what the first blocks of the
/// network made of a sample. What is inside is between a network and its encoder.
#[derive(Clone)]
pub struct PassStart(Arc<dyn Any + Send + Sync>);

impl PassStart {
    /// What only the network that made it can take up.
    pub fn new(state: impl Any + Send + Sync) -> Self {
        Self(Arc::new(state))
    }

    /// What is inside, if it is of this kind.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for PassStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassStart").finish_non_exhaustive()
    }
}

/// A network that reads a noisy sample and predicts one of the quantities of [`Prediction`].
///
/// The low-rank update is an argument, never a mutation: the rows of one batch carry different
/// updates and nothing has to be put back.
pub trait Denoiser {
    /// Predicts from `sample` at `timesteps`, and tells what guidance had to do with it. Shows `watch`
    /// where the picture looks at the text, if [it can](Self::shows_text).
    ///
    /// It may go on from `start`: the beginning of this very evaluation, of the last rows of the batch,
    /// as many as it has. No delta of `lora` may change what comes before its end. A network that
    /// cannot passes it over.
    ///
    /// # Shapes
    ///
    /// - `sample`: `[batch, channels, height, width]`
    /// - `timesteps`: `[batch]`, in the unit of the network (steps of the training schedule for
    ///   diffusion, noise level in `[0, 1]` for flows)
    /// - `conditioning`: `batch` rows
    /// - `lora`: deltas of `batch` rows, or of one row that the whole batch shares
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer;

    /// [`answer_from`](Self::answer_from) the beginning.
    fn answer(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        self.answer_from(None, sample, timesteps, conditioning, lora, watch)
    }

    /// The prediction of [`answer`](Self::answer) alone, of the shape of `sample`.
    fn predict(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
    ) -> Tensor<4> {
        self.answer(sample, timesteps, conditioning, lora, None).output
    }

    /// Whether [`answer`](Self::answer) has something to show.
    fn shows_text(&self) -> bool {
        false
    }

    /// The quantity that [`predict`](Self::predict) returns.
    fn prediction(&self) -> Prediction;
}

impl<T: Denoiser + ?Sized> Denoiser for Box<T> {
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        (**self).answer_from(start, sample, timesteps, conditioning, lora, watch)
    }

    fn shows_text(&self) -> bool {
        (**self).shows_text()
    }

    fn prediction(&self) -> Prediction {
        (**self).prediction()
    }
}
