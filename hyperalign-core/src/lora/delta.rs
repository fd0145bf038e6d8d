//! One update of one layer.

use burn::{
    nn::{PaddingConfig2d, conv::Conv2d},
    tensor::{Tensor, module::conv2d, ops::ConvOptions},
};

use crate::precision::{like, to};

/// One update for each sample of a batch,
/// `delta y = scale * (((x down_aux) down) up) up_aux`.
///
/// Without the auxiliary factors this is LoRA (Hu et al. 2021, arXiv:2106.09685); with them the
/// factorisation of HyperAlign (arXiv:2601.15968), in which a hypernetwork emits only the small
/// inner factors. Evaluated from left to right on the activations: no tensor of the shape of the
/// weight is ever formed. Without an up factor the update is that of a whole weight, and its `down` has
/// the shape of it.
///
/// For a convolution, `x` is the patch that the kernel sees, channels first, so that `d_input` is
/// `channels * kernel height * kernel width`; the down factor is then itself a convolution to
/// `rank` channels, and the up factor one of a single pixel.
#[derive(Debug, Clone)]
pub struct LoraDelta {
    /// Outer input factor shared by the batch, `[d_input, a]`.
    pub down_aux: Option<Tensor<2>>,
    /// `[batch, a or d_input, rank]`; a batch of 1 is shared by all samples. Of a whole weight
    /// `[batch, d_input, d_output]`.
    pub down: Tensor<3>,
    /// `[batch, rank, b or d_output]`; a batch of 1 is shared by all samples. None for a whole weight,
    /// which has no auxiliary factors either.
    pub up: Option<Tensor<3>>,
    /// Outer output factor shared by the batch, `[b, d_output]`.
    pub up_aux: Option<Tensor<2>>,
    /// `alpha / rank` (arXiv:2106.09685, section 4.1).
    pub scale: f64,
}

impl LoraDelta {
    /// The update of a whole weight, `[d_input, d_output]`, that all samples share.
    pub fn whole(change: Tensor<2>) -> Self {
        Self { down_aux: None, down: change.unsqueeze(), up: None, up_aux: None, scale: 1.0 }
    }

    /// The factor that is zero in an update that has not been trained.
    pub fn last(&self) -> &Tensor<3> {
        self.up.as_ref().unwrap_or(&self.down)
    }

    /// What the update adds to the weight, `[batch, d_input, d_output]`.
    pub fn change(&self) -> Tensor<3> {
        let outer = |aux: &Tensor<2>| aux.clone().unsqueeze::<3>();
        let down = match &self.down_aux {
            Some(aux) => outer(aux).matmul(self.down.clone()),
            None => self.down.clone(),
        };
        let inner = match &self.up {
            Some(up) => down.matmul(up.clone()),
            None => down,
        };
        let change = match &self.up_aux {
            Some(aux) => inner.matmul(outer(aux)),
            None => inner,
        };
        change.mul_scalar(self.scale)
    }

    /// The change of the layer's output for the input `x`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, d_input]`
    /// - output: `[batch, tokens, d_output]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        // A base may compute in half precision; what is trained keeps its own.
        let dtype = x.dtype();
        let x = like(x, &self.down);
        let x = match &self.down_aux {
            Some(aux) => x.matmul(aux.clone().unsqueeze()),
            None => x,
        };
        let inner = x.matmul(self.down.clone());
        let inner = match &self.up {
            Some(up) => inner.matmul(up.clone()),
            None => inner,
        };
        let outer = match &self.up_aux {
            Some(aux) => inner.matmul(aux.clone().unsqueeze()),
            None => inner,
        };
        to(outer.mul_scalar(self.scale), dtype)
    }

    /// The change of the output of a convolution `conv` for the input `x`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, channels_in, height, width]`
    /// - output: `[batch, channels_out, ...]`, as large as what `conv` makes of `x`
    ///
    /// # Panics
    ///
    /// Panics for a layer in groups, which no adapted network has.
    pub fn convolve(&self, conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        assert_eq!(conv.groups, 1, "an update of a convolution in groups");
        let dtype = x.dtype();
        let x = like(x, &self.down);
        let down = match &self.down_aux {
            Some(aux) => aux.clone().unsqueeze::<3>().matmul(self.down.clone()),
            None => self.down.clone(),
        };
        let [batch, channels, ..] = x.dims();
        let [rows, _, rank] = down.dims();
        let [height, width] = conv.kernel_size;
        let kernels = down.swap_dims(1, 2).reshape([rows, rank, channels, height, width]);
        let kernel = |row: usize| kernels.clone().narrow(0, row, 1).squeeze_dim::<4>(0);
        let options = ConvOptions::new_with_padding(conv.stride, padding(conv), conv.dilation, 1);
        let inner = match rows {
            1 => conv2d(x, kernel(0), None, options),
            _ => {
                let one =
                    |row| conv2d(x.clone().narrow(0, row, 1), kernel(row), None, options.clone());
                Tensor::cat((0..batch).map(one).collect(), 0)
            }
        };
        let Some(up) = &self.up else { return to(inner.mul_scalar(self.scale), dtype) };
        let up = match &self.up_aux {
            Some(aux) => up.clone().matmul(aux.clone().unsqueeze::<3>()),
            None => up.clone(),
        };
        let [_, _, height, width] = inner.dims();
        let outer = up.swap_dims(1, 2).matmul(inner.reshape([batch, rank, height * width]));
        let outputs = outer.dims()[1];
        to(outer.reshape([batch, outputs, height, width]).mul_scalar(self.scale), dtype)
    }

    /// The same values, cut off from any autodiff graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            down_aux: self.down_aux.clone().map(Tensor::detach),
            down: self.down.clone().detach(),
            up: self.up.clone().map(Tensor::detach),
            up_aux: self.up_aux.clone().map(Tensor::detach),
            scale: self.scale,
        }
    }

    pub(super) fn map_rows(&self, f: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        Self { down: f(self.down.clone()), up: self.up.clone().map(&f), ..self.clone() }
    }
}

/// The pixels that `conv` puts around a picture, before and after each axis.
fn padding(conv: &Conv2d) -> [(usize, usize); 2] {
    match conv.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
        PaddingConfig2d::Valid => [(0, 0); 2],
        PaddingConfig2d::Same => conv.kernel_size.map(|side| ((side - 1) / 2, side / 2)),
    }
}
