//! From a noise level up to a higher one, along the forward process.

use burn::tensor::Tensor;

use super::Level;

/// How a sample is carried from one noise level up to another:
/// `sample' ~ N(keep * sample, deviation^2)`.
///
/// With `keep = signal' / signal` and `deviation^2 = noise'^2 - keep^2 noise^2` the outcome has the
/// distribution that the forward process has at the higher level. For a diffusion this is its own
/// step, `sqrt(r) sample + sqrt(1 - r) z` with `r` the ratio of the squared signals (Ho et al.
/// 2020, arXiv:2006.11239, eq. 2); for a rectified flow `keep = (1 - sigma') / (1 - sigma)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Renoising {
    /// Factor of the sample in the mean.
    pub keep: f64,
    /// Standard deviation of the noise that is added.
    pub deviation: f64,
}

impl Renoising {
    /// From the level `from` up to `to`.
    ///
    /// # Panics
    ///
    /// Panics if `to` holds less noise relative to its signal than `from`.
    pub fn between(from: Level, to: Level) -> Self {
        // Pure noise has no signal to scale by, and stays what it is.
        let keep = if from.signal == 0.0 { 1.0 } else { to.signal / from.signal };
        let variance = to.noise * to.noise - keep * keep * from.noise * from.noise;
        // A level is its own target but for rounding.
        let rounding = 1e-9 * to.noise.max(from.noise);
        let rises = from.signal > 0.0 || to.signal == 0.0;
        assert!(rises && variance >= -rounding, "{to:?} is not above {from:?}");
        Self { keep, deviation: variance.max(0.0).sqrt() }
    }

    /// The sample at the higher level; `noise` is standard normal and of its shape.
    pub fn draw<const D: usize>(self, sample: Tensor<D>, noise: Tensor<D>) -> Tensor<D> {
        sample.mul_scalar(self.keep) + noise.mul_scalar(self.deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::Process;

    /// Noising in two stages is noising in one, for both processes.
    #[test]
    fn two_stages_are_one() {
        let diffusion = Process::scaled_linear(0.00085, 0.012, 1000);
        let flow = Process::RectifiedFlow;
        let pairs = [
            [diffusion.level(10.0), diffusion.level(700.0)],
            [diffusion.level(300.0), diffusion.level(300.0)],
            [flow.level(0.0), flow.level(0.4)],
            [flow.level(0.3), flow.level(0.9)],
            [flow.level(0.3), flow.level(1.0)],
            [flow.level(1.0), flow.level(1.0)],
        ];
        for [from, to] in pairs {
            let Renoising { keep, deviation } = Renoising::between(from, to);
            assert!((keep * from.signal - to.signal).abs() < 1e-12, "{from:?} {to:?}");
            let variance = (keep * from.noise).powi(2) + deviation.powi(2);
            assert!((variance - to.noise.powi(2)).abs() < 1e-12, "{from:?} {to:?}");
        }
    }

    /// The two published forms, in their own terms.
    #[test]
    fn the_published_forms() {
        let diffusion = Process::scaled_linear(0.00085, 0.012, 1000);
        let [from, to] = [200.0, 220.0].map(|timestep| diffusion.level(timestep));
        let ratio = (to.signal / from.signal).powi(2);
        let found = Renoising::between(from, to);
        assert!((found.keep - ratio.sqrt()).abs() < 1e-12);
        assert!((found.deviation - (1.0 - ratio).sqrt()).abs() < 1e-12);

        let [low, high] = [0.3, 0.5];
        let found = Renoising::between(
            Process::RectifiedFlow.level(low),
            Process::RectifiedFlow.level(high),
        );
        let keep = (1.0 - high) / (1.0 - low);
        assert!((found.keep - keep).abs() < 1e-12);
        let variance: f64 = high * high - keep * keep * low * low;
        assert!((found.deviation - variance.sqrt()).abs() < 1e-12);
    }
}
