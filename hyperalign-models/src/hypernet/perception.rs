//! The perception encoder, seen from the hypernetwork.

use burn::tensor::Tensor;
use hyperalign_core::contract::{Conditioning, PassStart};

/// A frozen encoder of (latents, timestep, prompt): the first half of the base itself.
pub trait Perception {
    /// The feature map after the first `depth` blocks of the encoder, LoRA off, from the conditional
    /// rows only; `None` is how the base itself has it.
    ///
    /// # Shapes
    ///
    /// - `sample`: `[batch, channels, height, width]`
    /// - `timesteps`: `[batch]`
    /// - output: `[batch, feature_dim, h, w]`, see [`Adaptable::feature_dim`](crate::base::Adaptable::feature_dim)
    ///
    /// # Panics
    ///
    /// Panics if the encoder has fewer blocks than that, or [none](Self::depths) to choose from.
    fn features_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<4>;

    /// [`features_at`](Self::features_at) the base's own depth.
    fn features(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<4> {
        self.features_at(None, sample, timesteps, conditioning)
    }

    /// [`features_at`](Self::features_at), and the beginning of the base's own evaluation of the same
    /// rows: what the encoder computed, and the evaluation need not compute again. It holds as long
    /// as no update changes a layer that does not [come behind](Self::comes_behind) the encoder.
    fn start_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> (Tensor<4>, Option<PassStart>) {
        (self.features_at(depth, sample, timesteps, conditioning), None)
    }

    /// Whether the layer at `path` comes behind the encoder, so that its features are the same
    /// whatever changes that layer.
    fn comes_behind(&self, depth: Option<usize>, path: &str) -> bool {
        let _ = (depth, path);
        false
    }

    /// How many blocks the encoder has, after any of which it may be cut off; 0 for an encoder of
    /// one depth.
    fn depths(&self) -> usize {
        0
    }

    /// What times are multiplied by before the hypernetwork sees them, so that they lie in
    /// 0..1000 whatever the unit of the base.
    fn time_scale(&self) -> f64 {
        1.0
    }
}
