//! Sinusoidal features of a timestep.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor, TensorData, assert_shape},
};
use hyperalign_core::fused::silu;

use crate::scope::Scope;

/// Which sinusoids a network was trained with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sinusoids {
    /// Cosines before sines.
    pub flip_sin_to_cos: bool,
    /// Shift of the denominator of the frequencies; 0 leaves the slowest wave just above
    /// `max_period`, 1 makes it `max_period`.
    pub freq_shift: f64,
    /// The timestep is multiplied by this, 1000 where it is a noise level in `[0, 1]`.
    pub scale: f64,
    /// Period of the slowest wave, over two pi.
    pub max_period: f64,
}

impl Default for Sinusoids {
    fn default() -> Self {
        Self { flip_sin_to_cos: true, freq_shift: 0.0, scale: 1.0, max_period: 10_000.0 }
    }
}

/// `sin(t w_k)` and `cos(t w_k)` with `w_k = max_period ^ (-k / (dim / 2 - freq_shift))`
/// (Vaswani et al. 2017, arXiv:1706.03762, section 3.5; Ho et al. 2020, arXiv:2006.11239).
///
/// # Shapes
///
/// - `timesteps`: `[batch]`
/// - output: `[batch, dim]`; an odd `dim` ends with a zero
pub fn sinusoidal(timesteps: Tensor<1>, dim: usize, kind: Sinusoids) -> Tensor<2> {
    let [batch] = timesteps.dims();
    let device = timesteps.device();
    let half = dim / 2;
    // In f32 from the start, as the networks were trained: at timestep 999 a frequency that is
    // rounded another way moves the phase by 1e-4.
    let frequencies: Vec<f32> = (0..half)
        .map(|k| {
            let exponent = -(kind.max_period.ln() as f32) * k as f32;
            (exponent / (half as f64 - kind.freq_shift) as f32).exp()
        })
        .collect();
    let frequencies = Tensor::<2>::from_data(TensorData::new(frequencies, [1, half]), &device)
        .cast(timesteps.dtype());
    let phases = timesteps.unsqueeze_dim::<2>(1) * frequencies * kind.scale;
    let (sin, cos) = (phases.clone().sin(), phases.cos());
    let mut parts = if kind.flip_sin_to_cos { vec![cos, sin] } else { vec![sin, cos] };
    if dim % 2 == 1 {
        parts.push(parts[0].clone().slice([0..batch, 0..1]).zeros_like());
    }
    Tensor::cat(parts, 1)
}

/// The two layers that turn sinusoids into the embedding that every residual block reads.
#[derive(Module, Debug)]
pub struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    /// A fresh pair of layers from `d_input` sinusoids to `d_output` features.
    pub fn new(d_input: usize, d_output: usize, device: &Device) -> Self {
        Self {
            linear_1: LinearConfig::new(d_input, d_output).init(device),
            linear_2: LinearConfig::new(d_output, d_output).init(device),
        }
    }

    /// `linear_2(silu(linear_1(sinusoids)))`.
    ///
    /// # Shapes
    ///
    /// - `sinusoids`: `[batch, d_input]`
    /// - output: `[batch, d_output]`
    pub(crate) fn forward(&self, sinusoids: Tensor<2>, scope: &Scope<'_>) -> Tensor<2> {
        let [batch, _] = sinusoids.dims();
        let hidden = silu(scope.linear_of_vector("linear_1", &self.linear_1, sinusoids));
        let embedding = scope.linear_of_vector("linear_2", &self.linear_2, hidden);
        assert_shape!(embedding, [batch, _]);
        scope.vector(embedding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyperalign_core::testing;

    fn values(timestep: f32, dim: usize, kind: Sinusoids) -> Vec<f32> {
        let timesteps = Tensor::from_data(TensorData::from([timestep]), &testing::device());
        sinusoidal(timesteps, dim, kind).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn closed_form() {
        // Frequencies 1 and 1 / 100.
        let close = |a: Vec<f32>, b: [f64; 4]| {
            assert!(a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{a:?} {b:?}");
        };
        let kind = Sinusoids::default();
        let (sin, cos) = ([5f64.sin(), 0.05f64.sin()], [5f64.cos(), 0.05f64.cos()]);
        close(values(5.0, 4, kind), [cos[0], cos[1], sin[0], sin[1]]);
        let kind = Sinusoids { flip_sin_to_cos: false, ..kind };
        close(values(5.0, 4, kind), [sin[0], sin[1], cos[0], cos[1]]);
        // A shift of 1 makes the slowest of two waves that of the full period.
        let kind = Sinusoids { freq_shift: 1.0, scale: 10.0, ..kind };
        let slow = 50.0 / 10_000.0;
        close(values(5.0, 4, kind), [50f64.sin(), f64::sin(slow), 50f64.cos(), f64::cos(slow)]);
    }

    #[test]
    fn an_odd_width_ends_with_zero() {
        let odd = values(3.0, 5, Sinusoids::default());
        assert_eq!(odd[..4], values(3.0, 4, Sinusoids::default()));
        assert_eq!(odd[4], 0.0);
    }
}
