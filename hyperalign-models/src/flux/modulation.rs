//! Shifts, scales and gates that the time and the pooled text decide.

use burn::{
    module::Module,
    nn::{Initializer, Linear, LinearConfig},
    tensor::{DType, Device, Tensor, module::layer_norm},
};

use crate::scope::Scope;

/// Epsilon of the norms without parameters.
const EPS: f64 = 1e-6;

/// A linear layer from the embedding to shifts, scales and gates of a block (adaLN-Zero; Peebles
/// & Xie 2022, arXiv:2212.09748, section 3.2). It begins at zero, so that a fresh block is the
/// identity.
#[derive(Module, Debug)]
pub struct Modulation {
    linear: Linear,
}

impl Modulation {
    /// A layer for `parts` vectors of width `dim`.
    pub fn new(dim: usize, parts: usize, device: &Device) -> Self {
        let linear = LinearConfig::new(dim, parts * dim).with_initializer(Initializer::Zeros);
        Self { linear: linear.init(device) }
    }

    /// The vectors, to be broadcast over tokens.
    ///
    /// # Shapes
    ///
    /// - `embedding`: `[batch, dim]`, after its activation
    /// - output: `[batch, 1, dim]` each
    pub(super) fn forward<const PARTS: usize>(
        &self,
        embedding: &Tensor<2>,
        scope: &Scope<'_>,
    ) -> [Tensor<3>; PARTS] {
        let all = scope.linear_of_vector("linear", &self.linear, embedding.clone());
        let all = all.unsqueeze_dim::<3>(1);
        let dim = all.dims()[2] / PARTS;
        std::array::from_fn(|part| all.clone().narrow(2, part * dim, dim))
    }
}

/// What sums and angles are computed in: f32 at least, whatever the precision of the network.
pub(super) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { dtype } else { DType::F32 }
}

/// `norm(x) (1 + scale) + shift`, with a layer norm that has no parameters of its own.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, dim]`
/// - `shift`, `scale`: `[batch, 1, dim]`
pub(super) fn modulate(x: Tensor<3>, shift: Tensor<3>, scale: Tensor<3>) -> Tensor<3> {
    let dtype = x.dtype();
    let dim = x.dims()[2];
    let ones = Tensor::ones([dim], (&x.device(), wide(dtype)));
    let normed = layer_norm(x.cast(wide(dtype)), ones, None, EPS).cast(dtype);
    normed * (scale + 1.0) + shift
}
