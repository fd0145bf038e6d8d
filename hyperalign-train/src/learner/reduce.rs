//! Losses and norms: reduced where the tensors lie, and read together.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};
use hyperalign_core::device;

/// A sum of numbers, of which those on a device are not read yet.
///
/// On the CPU everything is added at once, in `f64` and in order: the backend's own sum of a large
/// tensor depends on the order in which its threads finish. Elsewhere each tensor is reduced on
/// its device, and [`read`] fetches the results of many sums in one transfer.
#[derive(Default)]
pub(crate) struct Sum {
    known: f64,
    waiting: Vec<Tensor<1>>,
}

impl Sum {
    /// Adds a number. Shape `[1]`.
    pub(crate) fn add(&mut self, number: Tensor<1>) {
        let number = number.inner();
        if device::is_cpu(&number.device()) {
            self.known += number.into_scalar::<f64>();
        } else {
            self.waiting.push(number.cast(FloatDType::F32));
        }
    }

    /// Adds the squares of all elements.
    pub(crate) fn add_squares<const D: usize>(&mut self, tensor: Tensor<D>) {
        if device::is_cpu(&tensor.device()) {
            self.known += squares(tensor);
        } else {
            self.waiting.push(tensor.cast(FloatDType::F32).square().sum());
        }
    }

    /// Adds what another sum has.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.known += other.known;
        self.waiting.append(&mut other.waiting);
    }

    /// The squares of the gradients of the parameters of `module`.
    pub(crate) fn of_gradients<M: Module>(module: &M, gradients: &GradientsParams) -> Self {
        let mut visitor = OfGradients { gradients, sum: Self::default() };
        module.visit(&mut visitor);
        visitor.sum
    }

    /// The squares of the trained parameters of `module`.
    pub(crate) fn of_parameters<M: Module>(module: &M) -> Self {
        let mut visitor = OfParameters(Self::default());
        module.visit(&mut visitor);
        visitor.0
    }

    /// The value, of this sum alone.
    pub(crate) fn value(self) -> f64 {
        read([self])[0]
    }
}

/// The values of all `sums`, in one transfer. Not a number where one of its terms is not.
pub(crate) fn read(sums: impl IntoIterator<Item = Sum>) -> Vec<f64> {
    let (mut known, mut counts, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for sum in sums {
        known.push(sum.known);
        counts.push(sum.waiting.len());
        waiting.extend(sum.waiting);
    }
    if waiting.is_empty() {
        return known;
    }
    let values: Vec<f64> = Tensor::cat(waiting, 0).into_data().iter::<f64>().collect();
    let mut values = values.into_iter();
    let of_device = counts.into_iter().map(|count| values.by_ref().take(count).sum::<f64>());
    known.iter().zip(of_device.collect::<Vec<_>>()).map(|(known, more)| known + more).collect()
}

/// The sum of the squares of the elements, in `f64` and in order.
fn squares<const D: usize>(tensor: Tensor<D>) -> f64 {
    let data = tensor.into_data();
    match data.as_slice::<f32>() {
        Ok(values) => values.iter().map(|&v| f64::from(v) * f64::from(v)).sum(),
        Err(_) => data.iter::<f64>().map(|v| v * v).sum(),
    }
}

struct OfGradients<'a> {
    gradients: &'a GradientsParams,
    sum: Sum,
}

impl ModuleVisitor for OfGradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum.add_squares(gradient);
        }
    }
}

struct OfParameters(Sum);

impl ModuleVisitor for OfParameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.is_require_grad() {
            self.0.add_squares(value.inner());
        }
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;

    /// What a GPU leaves waiting, on the CPU.
    fn waiting(values: &[f32]) -> Sum {
        let device = testing::device();
        let numbers = values.iter().map(|&value| Tensor::<1>::from_data([value], &device));
        Sum { known: 0.5, waiting: numbers.collect() }
    }

    #[test]
    fn sums_are_read_together_and_stay_apart() {
        let sums = [waiting(&[1.0, 2.0]), Sum::default(), waiting(&[]), waiting(&[4.0])];
        assert_eq!(read(sums), [3.5, 0.0, 0.5, 4.5]);
        let mut one = waiting(&[1.0]);
        one.append(waiting(&[f32::NAN]));
        assert!(one.value().is_nan());
    }
}
