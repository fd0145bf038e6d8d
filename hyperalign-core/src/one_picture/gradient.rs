//! The gradient of a value of a one-step estimate.

use burn::tensor::{DType, Tensor};

use super::OnePicture;
use crate::{
    contract::TextWatch,
    precision,
    sampler::{Look, Sampler, Trajectory},
};

/// An evaluation of the network with the gradient of what was made of it.
#[derive(Debug, Clone)]
pub struct Graded {
    /// The evaluation, off the tape.
    pub look: Look,
    /// The value of each row; `None` where it is no number.
    pub values: Vec<Option<f64>>,
    /// The gradient of each row's value to the row's own sample, through decoder and denoiser,
    /// `[rows, channels, height, width]`; zero for rows whose value or gradient is no number.
    pub gradient: Tensor<4>,
}

impl OnePicture<'_> {
    /// Evaluates `sampler` at `trajectory`, and `value` at what it finds, a number for each row;
    /// rows must not mix. The update of an adapter is a constant to the gradient.
    ///
    /// A row whose value or gradient is no number moves nothing, and is counted.
    pub fn graded(
        &self,
        sampler: &Sampler,
        trajectory: &Trajectory,
        value: impl FnOnce(&Look) -> Tensor<1>,
    ) -> Graded {
        self.graded_with(sampler, trajectory, None, value)
    }

    /// [`graded`](Self::graded) that shows `watch` where the picture looks at the text, before
    /// `value` is asked.
    pub fn graded_with(
        &self,
        sampler: &Sampler,
        trajectory: &Trajectory,
        watch: Option<TextWatch>,
        value: impl FnOnce(&Look) -> Tensor<1>,
    ) -> Graded {
        let held = sampler.held(trajectory);
        let sample = trajectory.sample.clone().autodiff().require_grad();
        let tracked = Trajectory { sample: sample.clone(), ..trajectory.clone() };
        let look = sampler.look_with(&tracked, held, watch);
        let values = value(&look);
        let look = look.inner();
        let zeros = trajectory.sample.zeros_like();
        let rows = zeros.dims()[0];
        assert_eq!(values.dims(), [rows], "a value for each row");
        let gradients = values.clone().sum().backward();
        self.account.gradient_pass(rows);
        let gradient = sample.grad(&gradients).unwrap_or(zeros);

        let values = values.inner().into_data().convert::<f64>();
        let sums: Tensor<2> = widened(gradient.clone()).flatten(1, 3).sum_dim(1);
        let sums: Vec<f64> = sums.into_data().convert::<f64>().iter::<f64>().collect();
        let values: Vec<Option<f64>> = values
            .iter::<f64>()
            .zip(&sums)
            .map(|(value, sum)| Some(value).filter(|value| value.is_finite() && sum.is_finite()))
            .collect();
        let broken = values.iter().filter(|value| value.is_none()).count();
        if broken == 0 {
            return Graded { look, values, gradient };
        }
        self.account.skipped(broken);
        let row = |k: usize| gradient.clone().slice(k..k + 1);
        let kept = values.iter().enumerate();
        let kept = kept.map(|(k, value)| match value {
            Some(_) => row(k),
            None => row(k).zeros_like(),
        });
        Graded { look, gradient: Tensor::cat(kept.collect(), 0), values }
    }
}

/// The root of the mean square of all numbers.
pub(crate) fn rms(tensor: &Tensor<4>) -> f64 {
    let mean = widened(tensor.clone()).square().mean().into_data().convert::<f64>();
    mean.iter::<f64>().sum::<f64>().sqrt()
}

/// Squares of small gradients vanish in half precision.
pub(crate) fn widened(tensor: Tensor<4>) -> Tensor<4> {
    if precision::is_half(&tensor) { tensor.cast(DType::F32) } else { tensor }
}
