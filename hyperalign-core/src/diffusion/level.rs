//! Conversions between original, noise, noisy sample and what a network predicts.

use burn::tensor::{Device, Tensor, TensorData};

use crate::contract::Prediction;

/// How much of the original and of the noise a sample holds,
/// `sample = signal * original + noise * standard_normal`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Factor of the original; `sqrt(alphas_cumprod)` for a variance-preserving diffusion,
    /// `1 - sigma` for a rectified flow.
    pub signal: f64,
    /// Factor of the noise; `sqrt(1 - alphas_cumprod)` or `sigma`.
    pub noise: f64,
}

/// Factors of two tensors that are added.
type Weights = [f64; 2];

impl Level {
    /// The level of a variance-preserving diffusion with this squared signal.
    pub fn of_alpha(alpha_cumprod: f64) -> Self {
        Self { signal: alpha_cumprod.sqrt(), noise: (1.0 - alpha_cumprod).sqrt() }
    }

    /// The level of a variance-preserving diffusion with this [`sigma`](Self::sigma).
    pub fn of_sigma(sigma: f64) -> Self {
        let signal = 1.0 / (1.0 + sigma * sigma).sqrt();
        Self { signal, noise: sigma * signal }
    }

    /// The noise relative to the signal: the sigma of Karras et al. 2022 (arXiv:2206.00364).
    pub fn sigma(self) -> f64 {
        self.noise / self.signal
    }

    /// The noisy sample made of `original` and `noise`, all of one shape.
    pub fn mix<const D: usize>(self, original: Tensor<D>, noise: Tensor<D>) -> Tensor<D> {
        combine(self.mix_weights(), original, noise)
    }

    /// The estimate of the original that a prediction implies.
    pub fn original<const D: usize>(
        self,
        prediction: Prediction,
        sample: Tensor<D>,
        model_output: Tensor<D>,
    ) -> Tensor<D> {
        combine(self.original_weights(prediction), sample, model_output)
    }

    /// The estimate of the noise that a prediction implies.
    pub fn noise<const D: usize>(
        self,
        prediction: Prediction,
        sample: Tensor<D>,
        model_output: Tensor<D>,
    ) -> Tensor<D> {
        combine(self.noise_weights(prediction), sample, model_output)
    }

    /// The score `-noise_estimate / noise`, the gradient of the log-density of the noisy samples
    /// (Song et al. 2021, arXiv:2011.13456).
    pub fn score<const D: usize>(
        self,
        prediction: Prediction,
        sample: Tensor<D>,
        model_output: Tensor<D>,
    ) -> Tensor<D> {
        combine(self.score_weights(prediction), sample, model_output)
    }

    /// What a network of this kind should answer for the sample made of `original` and `noise`.
    pub fn target<const D: usize>(
        self,
        prediction: Prediction,
        original: Tensor<D>,
        noise: Tensor<D>,
    ) -> Tensor<D> {
        combine(self.target_weights(prediction), original, noise)
    }

    /// What a prediction implies for another level: the estimates of the original and of the
    /// noise, mixed anew as `target` says. One combination of sample and model output, whose
    /// factors are computed in `f64`.
    pub fn transport<const D: usize>(
        self,
        target: Level,
        prediction: Prediction,
        sample: Tensor<D>,
        model_output: Tensor<D>,
    ) -> Tensor<D> {
        let (original, noise) = (self.original_weights(prediction), self.noise_weights(prediction));
        let weight = |of: usize| target.signal * original[of] + target.noise * noise[of];
        combine([weight(0), weight(1)], sample, model_output)
    }

    fn mix_weights(self) -> Weights {
        [self.signal, self.noise]
    }

    /// Solves `sample = signal o + noise n` together with the definition of the prediction for
    /// `o`. The sums in the denominators are 1 where the process is variance preserving and the
    /// prediction is v, or the process is a flow and the prediction its velocity.
    fn original_weights(self, prediction: Prediction) -> Weights {
        let Self { signal, noise } = self;
        match prediction {
            Prediction::Epsilon => [1.0 / signal, -noise / signal],
            Prediction::VPrediction => {
                let power = signal * signal + noise * noise;
                [signal / power, -noise / power]
            }
            Prediction::Sample => [0.0, 1.0],
            Prediction::Velocity => [1.0 / (signal + noise), -noise / (signal + noise)],
        }
    }

    fn noise_weights(self, prediction: Prediction) -> Weights {
        let Self { signal, noise } = self;
        match prediction {
            Prediction::Epsilon => [0.0, 1.0],
            Prediction::VPrediction => {
                let power = signal * signal + noise * noise;
                [noise / power, signal / power]
            }
            Prediction::Sample => [1.0 / noise, -signal / noise],
            Prediction::Velocity => [1.0 / (signal + noise), signal / (signal + noise)],
        }
    }

    fn score_weights(self, prediction: Prediction) -> Weights {
        self.noise_weights(prediction).map(|weight| -weight / self.noise)
    }

    fn target_weights(self, prediction: Prediction) -> Weights {
        match prediction {
            Prediction::Epsilon => [0.0, 1.0],
            Prediction::VPrediction => [-self.noise, self.signal],
            Prediction::Sample => [1.0, 0.0],
            Prediction::Velocity => [-1.0, 1.0],
        }
    }
}

/// One [`Level`] for each row of a batch, as a loss needs it that draws timesteps per sample.
#[derive(Debug, Clone)]
pub struct Levels {
    rows: Vec<Level>,
    device: Device,
}

impl Levels {
    /// The levels of the rows of a batch on `device`.
    pub fn new(rows: Vec<Level>, device: &Device) -> Self {
        Self { rows, device: device.clone() }
    }

    /// The levels, row by row.
    pub fn rows(&self) -> &[Level] {
        &self.rows
    }

    /// The noisy sample made of `original` and `noise`, all `[batch, channels, height, width]`.
    pub fn mix(&self, original: Tensor<4>, noise: Tensor<4>) -> Tensor<4> {
        self.combine(Level::mix_weights, original, noise)
    }

    /// The estimate of the original that a prediction implies; see [`Level::original`].
    pub fn original(
        &self,
        prediction: Prediction,
        sample: Tensor<4>,
        model_output: Tensor<4>,
    ) -> Tensor<4> {
        self.combine(|level| level.original_weights(prediction), sample, model_output)
    }

    /// The estimate of the noise that a prediction implies; see [`Level::noise`].
    pub fn noise(
        &self,
        prediction: Prediction,
        sample: Tensor<4>,
        model_output: Tensor<4>,
    ) -> Tensor<4> {
        self.combine(|level| level.noise_weights(prediction), sample, model_output)
    }

    /// The score; see [`Level::score`].
    pub fn score(
        &self,
        prediction: Prediction,
        sample: Tensor<4>,
        model_output: Tensor<4>,
    ) -> Tensor<4> {
        self.combine(|level| level.score_weights(prediction), sample, model_output)
    }

    /// What a network of this kind should answer; see [`Level::target`].
    pub fn target(
        &self,
        prediction: Prediction,
        original: Tensor<4>,
        noise: Tensor<4>,
    ) -> Tensor<4> {
        self.combine(|level| level.target_weights(prediction), original, noise)
    }

    fn combine(&self, weights: impl Fn(Level) -> Weights, a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
        assert_eq!(a.dims()[0], self.rows.len(), "one noise level a row of the batch");
        let column = |which: usize| {
            let values: Vec<f64> = self.rows.iter().map(|level| weights(*level)[which]).collect();
            let data = TensorData::new(values, [self.rows.len(), 1, 1, 1]);
            Tensor::<4>::from_data(data, (&self.device, a.dtype()))
        };
        let (of_a, of_b) = (column(0), column(1));
        a * of_a + b * of_b
    }
}

fn combine<const D: usize>([of_a, of_b]: Weights, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    a.mul_scalar(of_a) + b.mul_scalar(of_b)
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use burn::tensor::DType;

    use super::*;
    use crate::diffusion::Process;

    const PREDICTIONS: [Prediction; 4] =
        [Prediction::Epsilon, Prediction::VPrediction, Prediction::Sample, Prediction::Velocity];

    fn tensor(values: [f64; 6]) -> Tensor<4> {
        let data = TensorData::new(values.to_vec(), [3, 2, 1, 1]);
        Tensor::from_data(data, (&testing::cpu(), DType::F64))
    }

    fn max_difference(a: Tensor<4>, b: Tensor<4>) -> f64 {
        (a - b).abs().max().into_scalar()
    }

    fn original_and_noise() -> (Tensor<4>, Tensor<4>) {
        (tensor([0.3, -1.2, 0.7, 2.0, -0.4, 0.1]), tensor([1.1, 0.2, -0.9, 0.4, -1.7, 0.6]))
    }

    /// From (original, noise) to (sample, target) and back, for every pair of a process and a
    /// kind of prediction, also those that no published network has.
    #[test]
    fn predictions_round_trip() {
        let diffusion = Process::scaled_linear(0.00085, 0.012, 1000);
        let levels = [
            diffusion.level(0.0),
            diffusion.level(481.0),
            diffusion.level(999.0),
            Process::RectifiedFlow.level(0.02),
            Process::RectifiedFlow.level(0.7),
        ];
        let (original, noise) = original_and_noise();
        for level in levels {
            for prediction in PREDICTIONS {
                let sample = level.mix(original.clone(), noise.clone());
                let target = level.target(prediction, original.clone(), noise.clone());
                let back = level.original(prediction, sample.clone(), target.clone());
                assert!(max_difference(back, original.clone()) < 1e-12, "{prediction:?} {level:?}");
                let back = level.noise(prediction, sample.clone(), target.clone());
                assert!(max_difference(back, noise.clone()) < 1e-12, "{prediction:?} {level:?}");
                let other = Level { signal: 0.8, noise: -0.3 };
                let moved = level.transport(other, prediction, sample.clone(), target.clone());
                let expected = other.mix(original.clone(), noise.clone());
                assert!(max_difference(moved, expected) < 1e-12, "{prediction:?} {level:?}");
                let score = level.score(prediction, sample, target) * -level.noise;
                assert!(max_difference(score, noise.clone()) < 1e-12, "{prediction:?} {level:?}");
            }
        }
    }

    /// The score of Gaussian data is that of their log-density, here by finite differences.
    #[test]
    fn score_is_the_gradient_of_the_log_density() {
        let level = Process::scaled_linear(0.00085, 0.012, 1000).level(300.0);
        let (mean, deviation) = (0.4, 0.5);
        let variance = (level.signal * deviation).powi(2) + level.noise.powi(2);
        let log_density = |x: f64| -(x - level.signal * mean).powi(2) / (2.0 * variance);
        let x = [0.3, -1.2, 0.7, 2.0, -0.4, 0.1];
        // The best estimate of the noise of Gaussian data.
        let epsilon = x.map(|x| level.noise * (x - level.signal * mean) / variance);
        let score = level.score(Prediction::Epsilon, tensor(x), tensor(epsilon));
        let differences = x.map(|x| (log_density(x + 1e-5) - log_density(x - 1e-5)) / 2e-5);
        assert!(max_difference(score, tensor(differences)) < 1e-8);
    }

    #[test]
    fn rows_have_their_own_levels() {
        let process = Process::scaled_linear(0.00085, 0.012, 1000);
        let timesteps = [10.0, 500.0, 990.0];
        let levels = process.levels(&timesteps, &testing::cpu());
        let (original, noise) = original_and_noise();
        let row = |tensor: &Tensor<4>, k: usize| tensor.clone().slice(k..k + 1);
        for prediction in PREDICTIONS {
            let sample = levels.mix(original.clone(), noise.clone());
            let target = levels.target(prediction, original.clone(), noise.clone());
            let estimates = [
                levels.original(prediction, sample.clone(), target.clone()),
                levels.noise(prediction, sample.clone(), target.clone()),
                levels.score(prediction, sample.clone(), target.clone()),
            ];
            for (k, timestep) in timesteps.iter().enumerate() {
                let level = process.level(*timestep);
                let (o, n) = (row(&original, k), row(&noise, k));
                let (s, t) = (row(&sample, k), row(&target, k));
                assert_eq!(max_difference(level.mix(o.clone(), n.clone()), s.clone()), 0.0);
                assert_eq!(max_difference(level.target(prediction, o, n), t.clone()), 0.0);
                let single = [
                    level.original(prediction, s.clone(), t.clone()),
                    level.noise(prediction, s.clone(), t.clone()),
                    level.score(prediction, s, t),
                ];
                for (whole, single) in estimates.iter().zip(single) {
                    assert_eq!(max_difference(row(whole, k), single), 0.0);
                }
            }
        }
    }

    #[test]
    fn conversions_keep_the_gradient() {
        let levels = Process::RectifiedFlow.levels(&[0.25, 0.5, 0.75], &testing::cpu());
        let (sample, output) = original_and_noise();
        let output = output.autodiff().require_grad();
        let original = levels.original(Prediction::Velocity, sample, output.clone());
        let gradient = output.grad(&original.sum().backward()).unwrap();
        let expected = tensor([-0.25, -0.25, -0.5, -0.5, -0.75, -0.75]);
        assert!(max_difference(gradient, expected) < 1e-12);
    }
}
