//! Where the sampler gets the low-rank update of a step from.

use burn::tensor::Tensor;

use crate::{denoiser::Conditioning, lora::LoraSet};

/// A source of LoRA updates along a trajectory.
///
/// The sampler asks before every step; `None` keeps the update of the step before (or the bare
/// base before the first one).
pub trait AdapterSource {
    /// The update to use from sampling step `i` on, if it changes there.
    ///
    /// # Shapes
    ///
    /// - `sample`: `[batch, channels, height, width]`, the latents that enter step `i`
    /// - `timestep`: the network's time of step `i`
    /// - `conditioning`: the conditional rows, `batch` of them
    fn refresh(
        &self,
        i: usize,
        sample: &Tensor<4>,
        timestep: f64,
        conditioning: &Conditioning,
    ) -> Option<LoraSet>;
}

/// No update: the base as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAdapter;

impl AdapterSource for NoAdapter {
    fn refresh(&self, _: usize, _: &Tensor<4>, _: f64, _: &Conditioning) -> Option<LoraSet> {
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
    fn refresh(&self, i: usize, _: &Tensor<4>, _: f64, _: &Conditioning) -> Option<LoraSet> {
        (i == 0).then(|| self.0.clone())
    }
}
