//! Sums, weights and clipping of the gradients of a whole module.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Adds `from`, times `factor`, to `into`.
pub(crate) fn add<M: Module>(
    module: &M,
    into: &mut GradientsParams,
    mut from: GradientsParams,
    factor: f64,
) {
    module.visit(&mut Adder { into, from: &mut from, factor });
}

struct Adder<'a> {
    into: &'a mut GradientsParams,
    from: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Adder<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(mut gradient) = self.from.remove::<D>(param.id) else { return };
        if self.factor != 1.0 {
            gradient = gradient * self.factor;
        }
        let sum = match self.into.remove::<D>(param.id) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        self.into.register(param.id, sum);
    }
}

/// Shortens gradients of global norm `norm` to `limit`, as PyTorch's `clip_grad_norm_` does:
/// the factor is `min(1, limit / (norm + 1e-6))` (Pascanu et al. 2013, arXiv:1211.5063, algorithm 1).
///
/// burn's own `GradientClipping::Norm` clips each tensor by itself, which turns the direction of
/// the whole gradient.
pub(crate) fn clip<M: Module>(
    module: &M,
    gradients: GradientsParams,
    norm: f64,
    limit: f64,
) -> GradientsParams {
    let factor = limit / (norm + 1e-6);
    if factor >= 1.0 {
        return gradients;
    }
    let mut clipped = GradientsParams::new();
    add(module, &mut clipped, gradients, factor);
    clipped
}
