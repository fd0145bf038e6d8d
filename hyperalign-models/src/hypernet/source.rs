//! A hypernetwork as the sampler's adapter source.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, Held},
    lora::LoraSet,
};

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
    ) -> Option<LoraSet> {
        self.variant.is_due(i, &self.key_steps, held).then(|| {
            let batch = sample.dims()[0];
            let timesteps = Tensor::full([batch], timestep, &sample.device());
            let input =
                self.hypernet.perceive(self.perception, sample.clone(), timesteps, conditioning);
            self.hypernet.forward(input)
        })
    }
}
