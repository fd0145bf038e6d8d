//! The distribution of the latents of a picture.

use burn::tensor::Tensor;

/// Bounds of the log-variance: outside of them its exponential is of no use.
const LOGVAR: [f64; 2] = [-30.0, 20.0];

/// A diagonal Gaussian over unscaled latents (Kingma & Welling 2014, arXiv:1312.6114).
#[derive(Debug, Clone)]
pub struct Posterior {
    /// `[batch, latent_channels, height, width]`
    pub mean: Tensor<4>,
    /// Log-variance, of the shape of `mean`, within `[-30, 20]`.
    pub logvar: Tensor<4>,
}

impl Posterior {
    /// Splits the encoder's output, mean first.
    ///
    /// # Shapes
    ///
    /// - `moments`: `[batch, 2 * latent_channels, height, width]`
    pub(super) fn from_moments(moments: Tensor<4>) -> Self {
        let channels = moments.dims()[1] / 2;
        let mean = moments.clone().narrow(1, 0, channels);
        let logvar = moments.narrow(1, channels, channels).clamp(LOGVAR[0], LOGVAR[1]);
        Self { mean, logvar }
    }

    /// Standard deviation, of the shape of `mean`.
    pub fn std(&self) -> Tensor<4> {
        self.logvar.clone().mul_scalar(0.5).exp()
    }

    /// `mean + std * noise`, with standard normal `noise` of the shape of `mean`.
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + self.std() * noise
    }

    /// The most likely latents: the mean.
    pub fn mode(&self) -> Tensor<4> {
        self.mean.clone()
    }

    /// Divergence from the standard normal, summed over a picture's latents
    /// (arXiv:1312.6114, appendix B), `[batch]`.
    pub fn kl(&self) -> Tensor<1> {
        let variance = self.logvar.clone().exp();
        let each = self.mean.clone().square() + variance - self.logvar.clone() - 1.0;
        let [batch, _, _, _] = each.dims();
        each.reshape([batch as i32, -1]).sum_dim(1).mul_scalar(0.5).reshape([batch])
    }
}
