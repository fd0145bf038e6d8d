//! The vector that modulates every block: time, guidance and pooled text.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::{fused::silu, precision::to};

use super::FluxConfig;
use crate::{
    scope::Scope,
    timestep_embedding::{Sinusoids, TimestepEmbedding, sinusoidal},
};

/// Sinusoids of a time.
const SINUSOIDS: usize = 256;
/// Times in `[0, 1]` and guidance weights are multiplied by this.
const SCALE: f64 = 1000.0;

/// The sum of the embeddings of the time, of the guidance weight where the network reads one,
/// and of the pooled text.
#[derive(Module, Debug)]
pub struct TimeTextEmbedding {
    timestep_embedder: TimestepEmbedding,
    guidance_embedder: Option<TimestepEmbedding>,
    text_embedder: TextProjection,
}

impl TimeTextEmbedding {
    /// A fresh embedding for a network of these sizes.
    pub fn new(config: &FluxConfig, device: &Device) -> Self {
        let dim = config.dim();
        let number = || TimestepEmbedding::new(SINUSOIDS, dim, device);
        Self {
            timestep_embedder: number(),
            guidance_embedder: config.guidance_embeds.then(number),
            text_embedder: TextProjection {
                linear_1: LinearConfig::new(config.pooled_projection_dim, dim).init(device),
                linear_2: LinearConfig::new(dim, dim).init(device),
            },
        }
    }

    /// # Shapes
    ///
    /// - `timesteps`, `guidance`: `[batch]`
    /// - `pooled`: `[batch, pooled_projection_dim]`, in the format of the weights
    /// - output: `[batch, dim]`
    ///
    /// # Panics
    ///
    /// Panics if the network reads a guidance weight and there is none.
    pub(super) fn forward(
        &self,
        timesteps: Tensor<1>,
        guidance: Option<Tensor<1>>,
        pooled: Tensor<2>,
        scope: &Scope<'_>,
    ) -> Tensor<2> {
        // Half precision knows no time as fine as a step: it is rounded after the sinusoids.
        let dtype = pooled.dtype();
        let sinusoids =
            |x: Tensor<1>| to(sinusoidal(x * SCALE, SINUSOIDS, Sinusoids::default()), dtype);
        let time = scope.child("timestep_embedder");
        let sum = self.timestep_embedder.forward(sinusoids(timesteps), &time)
            + self.text_embedder.forward(pooled, &scope.child("text_embedder"));
        let sum = match &self.guidance_embedder {
            Some(embedder) => {
                let guidance = guidance.expect("a network with guidance_embeds reads a weight");
                let scope = scope.child("guidance_embedder");
                sum + embedder.forward(sinusoids(guidance), &scope)
            }
            None => sum,
        };
        scope.vector(sum)
    }
}

#[derive(Module, Debug)]
struct TextProjection {
    linear_1: Linear,
    linear_2: Linear,
}

impl TextProjection {
    fn forward(&self, pooled: Tensor<2>, scope: &Scope<'_>) -> Tensor<2> {
        let hidden = silu(scope.linear_of_vector("linear_1", &self.linear_1, pooled));
        scope.linear_of_vector("linear_2", &self.linear_2, hidden)
    }
}
