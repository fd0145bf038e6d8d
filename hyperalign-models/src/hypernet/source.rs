//! A hypernetwork as the sampler's adapter source.

use burn::tensor::Tensor;
use hyperalign_core::contract::{AdapterSource, Conditioning, Fresh, Held};

use super::{Hypernet, Perception, Variant};

/// Runs one trained hypernetwork as S, P or I along a trajectory.
pub struct HyperSource<'a> {
    hypernet: &'a Hypernet,
    perception: &'a dyn Perception,
    variant: Variant,
    key_steps: Vec<usize>,
}

impl<'a> HyperSource<'a> {
    /// `key_steps` are sampling steps of the run at hand; only P reads them.
    pub fn new(
        hypernet: &'a Hypernet,
        perception: &'a dyn Perception,
        variant: Variant,
        key_steps: Vec<usize>,
    ) -> Self {
        Self { hypernet, perception, variant, key_steps }
    }
}

impl AdapterSource for HyperSource<'_> {
    fn refresh(
        &self,
        i: usize,
        held: Option<&Held>,
        sample: &Tensor<4>,
        timestep: f64,
        conditioning: &Conditioning,
    ) -> Option<Fresh> {
        self.variant.is_due(i, &self.key_steps, held).then(|| {
            let batch = sample.dims()[0];
            let timesteps = Tensor::full([batch], timestep, &sample.device());
            let sample = sample.clone();
            let (input, start) =
                self.hypernet.perceive_start(self.perception, sample, timesteps, conditioning);
            Fresh { lora: self.hypernet.forward(input), start }
        })
    }
}
