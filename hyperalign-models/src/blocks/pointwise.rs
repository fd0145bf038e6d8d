//! A 1x1 convolution, as the matrix that it is.

use burn::{
    module::{Module, Param},
    nn::{Initializer, LinearConfig},
    tensor::{Device, Tensor, module::linear},
};

/// A 1x1 convolution: the same linear map at every pixel.
///
/// The published files store `[d_output, d_input, 1, 1]`; here it is a matrix, applied to tokens
/// (where a transformer wants them anyway) or to a picture.
#[derive(Module, Debug)]
pub struct PointwiseConv {
    /// `[d_input, d_output]`
    weight: Param<Tensor<2>>,
    /// `[d_output]`
    bias: Option<Param<Tensor<1>>>,
}

impl PointwiseConv {
    /// A fresh map.
    pub fn new(d_input: usize, d_output: usize, device: &Device) -> Self {
        let linear = LinearConfig::new(d_input, d_output).init(device);
        Self { weight: linear.weight, bias: linear.bias }
    }

    /// A map that begins at zero.
    pub fn zeros(d_input: usize, d_output: usize, device: &Device) -> Self {
        let config = LinearConfig::new(d_input, d_output).with_initializer(Initializer::Zeros);
        let linear = config.init(device);
        Self { weight: linear.weight, bias: linear.bias }
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// Maps tokens.
    ///
    /// # Shapes
    ///
    /// - `tokens`: `[batch, tokens, d_input]`
    /// - output: `[batch, tokens, d_output]`
    pub fn tokens(&self, tokens: Tensor<3>) -> Tensor<3> {
        linear(tokens, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// Maps pixels.
    ///
    /// # Shapes
    ///
    /// - `picture`: `[batch, d_input, height, width]`
    /// - output: `[batch, d_output, height, width]`
    pub fn pixels(&self, picture: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = picture.dims();
        let tokens = picture.reshape([batch, channels, height * width]).swap_dims(1, 2);
        let [_, d_output] = self.weight.dims();
        self.tokens(tokens).swap_dims(1, 2).reshape([batch, d_output, height, width])
    }

    /// The map `output * scale + shift` after this one, folded into it.
    ///
    /// # Shapes
    ///
    /// - `scale`, `shift`: `[d_output]`
    #[must_use]
    pub fn then_affine(self, scale: Tensor<1>, shift: Tensor<1>) -> Self {
        let bias = self.bias.map_or_else(|| shift.zeros_like(), |bias| bias.val());
        Self {
            weight: Param::from_tensor(self.weight.val() * scale.clone().unsqueeze()),
            bias: Some(Param::from_tensor(bias * scale + shift)),
        }
    }

    /// The map `input * scale + shift` before this one, folded into it.
    ///
    /// # Shapes
    ///
    /// - `scale`, `shift`: `[d_input]`
    #[must_use]
    pub fn after_affine(self, scale: Tensor<1>, shift: Tensor<1>) -> Self {
        let weight = self.weight.val();
        let moved = shift.unsqueeze::<2>().matmul(weight.clone()).squeeze_dim::<1>(0);
        let bias = self.bias.map_or_else(|| moved.zeros_like(), |bias| bias.val());
        Self {
            weight: Param::from_tensor(weight * scale.unsqueeze_dim(1)),
            bias: Some(Param::from_tensor(bias + moved)),
        }
    }
}
