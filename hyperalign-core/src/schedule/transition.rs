//! What a step leads to, before any noise is drawn.

use burn::tensor::{DType, Tensor};

use crate::{
    precision,
    rows::{self, select_rows},
};

/// The distribution of the next sample, `N(mean, deviation^2)`, as a solver has it after one
/// evaluation of the network. A deterministic step has deviation 0 and leads to its mean.
///
/// Policy gradients take the density of what was drawn from here, guidance moves the mean, and a
/// search draws more than once.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The mean, `[batch, channels, height, width]`.
    pub mean: Tensor<4>,
    /// The standard deviation of every element; 0 in a deterministic step.
    pub deviation: f64,
    /// The one-step estimate of the original, of the shape of `mean`.
    pub pred_original: Tensor<4>,
}

impl Transition {
    /// Whether a draw needs noise.
    pub fn is_stochastic(&self) -> bool {
        self.deviation > 0.0
    }

    /// The next sample, `mean + deviation * noise`. `noise` is standard normal and of the shape of
    /// the mean; a deterministic step does not read it.
    ///
    /// # Panics
    ///
    /// Panics if the step is stochastic and there is no noise.
    pub fn draw(&self, noise: Option<Tensor<4>>) -> Tensor<4> {
        if !self.is_stochastic() {
            return self.mean.clone();
        }
        let noise = noise.expect("a step that needs noise is given it");
        self.mean.clone() + noise.mul_scalar(self.deviation)
    }

    /// The log-density of going to `sample`, as the *mean* over all dimensions but the batch,
    /// `[batch]`; `None` where the step is deterministic. In f32 where the tensors are in half
    /// precision.
    ///
    /// The mean is what the clip ranges of published policy-gradient methods are made for; for
    /// the log-density of a whole sample multiply by its number of elements.
    pub fn log_prob(&self, sample: Tensor<4>) -> Option<Tensor<1>> {
        self.is_stochastic().then(|| {
            let constant = self.deviation.ln() + 0.5 * std::f64::consts::TAU.ln();
            let squares = (widened(sample) - widened(self.mean.clone())).square();
            rows::mean(squares)
                .mul_scalar(-0.5 / (self.deviation * self.deviation))
                .sub_scalar(constant)
        })
    }

    /// The Kullback-Leibler divergence of `other` from `self`, `KL(self || other)`, as the mean
    /// over all dimensions but the batch, `[batch]`; `None` where either is deterministic. Between
    /// equal deviations it is `(mean - other.mean)^2 / (2 deviation^2)`.
    pub fn kl(&self, other: &Self) -> Option<Tensor<1>> {
        (self.is_stochastic() && other.is_stochastic()).then(|| {
            let (own, theirs) = (self.deviation, other.deviation);
            let constant = (theirs / own).ln() + (own / theirs).powi(2) / 2.0 - 0.5;
            let squares = (widened(self.mean.clone()) - widened(other.mean.clone())).square();
            rows::mean(squares).mul_scalar(0.5 / (theirs * theirs)).add_scalar(constant)
        })
    }

    /// The transitions of these rows of the batch, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            mean: select_rows(self.mean.clone(), rows),
            deviation: self.deviation,
            pred_original: select_rows(self.pred_original.clone(), rows),
        }
    }

    /// The same values, cut off from any autodiff graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            mean: self.mean.clone().detach(),
            deviation: self.deviation,
            pred_original: self.pred_original.clone().detach(),
        }
    }

    /// The transitions of several batches as those of one.
    pub(crate) fn join(parts: &[&Self]) -> Self {
        let join = |of: fn(&Self) -> &Tensor<4>| {
            Tensor::cat(parts.iter().map(|part| of(part).clone()).collect(), 0)
        };
        let deviation = parts.first().map_or(0.0, |first| first.deviation);
        Self {
            mean: join(|part| &part.mean),
            deviation,
            pred_original: join(|part| &part.pred_original),
        }
    }

    /// The same values without autodiff.
    #[must_use]
    pub fn inner(self) -> Self {
        Self { mean: self.mean.inner(), pred_original: self.pred_original.inner(), ..self }
    }
}

/// Differences of neighbouring samples vanish in eight bits.
fn widened(x: Tensor<4>) -> Tensor<4> {
    if precision::is_half(&x) { x.cast(DType::F32) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::gaussian_data::{tensor, values};

    fn transition(mean: f64, deviation: f64) -> Transition {
        Transition { mean: tensor(vec![mean]), deviation, pred_original: tensor(vec![0.0]) }
    }

    fn scalar(tensor: Tensor<1>) -> f64 {
        tensor.into_scalar()
    }

    /// The divergence against its definition, summed over a fine grid.
    #[test]
    fn kl_is_the_mean_log_ratio() {
        for (other_mean, other_deviation) in [(0.3, 0.5), (-0.4, 0.8), (0.1, 0.5)] {
            let (p, q) = (transition(0.1, 0.5), transition(other_mean, other_deviation));
            let step = 1e-3;
            let grid = || tensor((-6000..6000).map(|k| f64::from(k) * step).collect());
            let (log_p, log_q) = (p.log_prob(grid()).unwrap(), q.log_prob(grid()).unwrap());
            let expected = scalar((log_p.clone().exp() * (log_p - log_q)).sum()) * step;
            let found = scalar(p.kl(&q).unwrap());
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
        assert!(transition(0.1, 0.0).kl(&transition(0.1, 0.5)).is_none());
        assert!(transition(0.1, 0.5).kl(&transition(0.1, 0.0)).is_none());
    }

    #[test]
    fn a_deterministic_step_leads_to_its_mean() {
        let still = transition(0.7, 0.0);
        assert_eq!(values(still.draw(None)), [0.7]);
        assert!(still.log_prob(tensor(vec![0.7])).is_none());
        assert_eq!(values(transition(0.7, 0.5).draw(Some(tensor(vec![2.0])))), [1.7]);
    }
}
