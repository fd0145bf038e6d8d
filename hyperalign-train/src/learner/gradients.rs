//! Sums, weights and clipping of the gradients of a whole module.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::reduce::{self, Sum};

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

/// The same tensors once more.
pub(crate) fn copy<M: Module>(module: &M, gradients: &GradientsParams) -> GradientsParams {
    let mut copier = Copier { from: gradients, into: GradientsParams::new() };
    module.visit(&mut copier);
    copier.into
}

struct Copier<'a> {
    from: &'a GradientsParams,
    into: GradientsParams,
}

impl ModuleVisitor for Copier<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.get::<D>(param.id) {
            self.into.register(param.id, gradient);
        }
    }
}

/// The cosine between the gradient of the first half of a batch and that of the rest, of which
/// `whole` is the sum: near 0 a gradient is noise.
pub(crate) fn cosine_of_halves<M: Module>(
    module: &M,
    first: GradientsParams,
    whole: &GradientsParams,
) -> f64 {
    let mut second = copy(module, &first);
    scale(module, &mut second, -1.0);
    add(module, &mut second, copy(module, whole), 1.0);
    // |a + b|^2 = |a|^2 + |b|^2 + 2 a b.
    let squares = [&first, &second, whole].map(|of| Sum::of_gradients(module, of));
    let [first, second, whole] = reduce::read(squares)[..] else { return f64::NAN };
    let norms = (first * second).sqrt();
    if norms == 0.0 { 0.0 } else { (whole - first - second) / (2.0 * norms) }
}

fn scale<M: Module>(module: &M, gradients: &mut GradientsParams, factor: f64) {
    let mut scaled = GradientsParams::new();
    add(module, &mut scaled, std::mem::take(gradients), factor);
    *gradients = scaled;
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
