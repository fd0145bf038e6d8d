//! Attention inside of windows.

use burn::{
    module::{Module, Param},
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::attention::attention;

use super::window::relative_position_index;

/// Spread of fresh biases.
const STD: f64 = 0.02;

/// Attention of the tokens of a window to each other, with a learned bias for each offset
/// (arXiv:2103.14030, eq. 4), and the layer after it.
#[derive(Module, Debug)]
pub(super) struct WindowAttention {
    /// Called `self` in published files.
    attend: Attend,
    output: Output,
}

#[derive(Module, Debug)]
struct Attend {
    query: Linear,
    key: Linear,
    value: Linear,
    /// `[(2 size - 1)^2, heads]`
    relative_position_bias_table: Param<Tensor<2>>,
    heads: usize,
    window_size: usize,
}

/// A layer behind an attention or a perceptron.
#[derive(Module, Debug)]
pub(super) struct Output {
    pub(super) dense: Linear,
}

impl WindowAttention {
    pub(super) fn new(
        dim: usize,
        heads: usize,
        window_size: usize,
        qkv_bias: bool,
        device: &Device,
    ) -> Self {
        let linear = || LinearConfig::new(dim, dim).with_bias(qkv_bias).init(device);
        let normal = Initializer::Normal { mean: 0.0, std: STD };
        Self {
            attend: Attend {
                query: linear(),
                key: linear(),
                value: linear(),
                relative_position_bias_table: normal
                    .init([(2 * window_size - 1).pow(2), heads], device),
                heads,
                window_size,
            },
            output: Output { dense: LinearConfig::new(dim, dim).init(device) },
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch * windows, tokens, dim]`
    /// - `apart`: added to the scores, `[windows, 1, tokens, tokens]`
    /// - output: that of `x`
    pub(super) fn forward(&self, x: Tensor<3>, apart: Option<Tensor<4>>) -> Tensor<3> {
        self.output.dense.forward(self.attend.forward(x, apart))
    }
}

impl Attend {
    fn forward(&self, x: Tensor<3>, apart: Option<Tensor<4>>) -> Tensor<3> {
        let [windows, tokens, dim] = x.dims();
        let [q, k, v] = [&self.query, &self.key, &self.value].map(|linear| {
            let x = linear.forward(x.clone());
            x.reshape([windows, tokens, self.heads, dim / self.heads]).swap_dims(1, 2)
        });
        let bias = match apart {
            Some(apart) => {
                let pictures = windows / apart.dims()[0];
                (self.bias() + apart).repeat_dim(0, pictures)
            }
            None => self.bias(),
        };
        let out = attention(q, k, v, Some(bias));
        out.swap_dims(1, 2).reshape([windows, tokens, dim])
    }

    /// The bias of each pair of tokens, `[1, heads, tokens, tokens]`.
    fn bias(&self) -> Tensor<4> {
        let table = self.relative_position_bias_table.val();
        let tokens = self.window_size.pow(2);
        let index = relative_position_index(self.window_size, &table.device());
        table.select(0, index).reshape([tokens, tokens, self.heads]).permute([2, 0, 1]).unsqueeze()
    }
}
