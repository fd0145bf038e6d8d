//! Resizing and cropping of pictures, for tensors with gradients and for 8-bit pictures.
//!
//! A separable filter is a matrix for each axis ([`weights`](self)), so a tensor is resized by
//! two matrix products: exact, differentiable and the same on every backend. (Burn's own
//! interpolation has no gradient on GPUs beyond nearest, and no antialiasing anywhere.)

mod opencv;
mod pil;
mod preprocess;
mod weights;

use burn::tensor::{DType, Tensor, TensorData};

pub use opencv::resize_u8_opencv;
pub use pil::{FixedPoint, resize_u8, resize_u8_in};
pub use preprocess::{Normalization, center_crop, center_crop_u8, shorter_side};
use weights::Positions;

/// A resampling filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// A triangle, widened when shrinking: PIL's `BILINEAR`, torch's bilinear with antialiasing.
    Bilinear,
    /// A triangle at the sampling points only, torch's bilinear without antialiasing. Aliases when
    /// shrinking.
    BilinearSampled,
    /// Keys' cubic with a = -0.5, widened when shrinking: PIL's `BICUBIC`, torch's bicubic with
    /// antialiasing.
    Bicubic,
    /// Keys' cubic with a = -0.75 at the sampling points only, torch's bicubic without
    /// antialiasing. Aliases when shrinking.
    BicubicSampled,
}

/// Resizes pictures to `height` x `width`, half-pixel centred, as torch's `interpolate` does.
/// Differentiable in `x`.
///
/// # Shapes
///
/// - `x`: `[batch, channels, old_height, old_width]`
/// - output: `[batch, channels, height, width]`
///
/// # Panics
///
/// Panics if an extent is 0.
pub fn resize(x: Tensor<4>, height: usize, width: usize, filter: Filter) -> Tensor<4> {
    let [batch, channels, old_height, old_width] = x.dims();
    let options = (&x.device(), x.dtype());
    let positions = if x.dtype() == DType::F64 { Positions::F64 } else { Positions::F32 };
    let x = if old_width == width {
        x
    } else {
        let weights = weights::matrix(old_width, width, filter, positions);
        let data = TensorData::new(weights, [width, old_width]);
        let weights = Tensor::<2>::from_data(data, options);
        x.reshape([batch * channels * old_height, old_width])
            .matmul(weights.transpose())
            .reshape([batch, channels, old_height, width])
    };
    if old_height == height {
        return x;
    }
    let weights = weights::matrix(old_height, height, filter, positions);
    let data = TensorData::new(weights, [1, 1, height, old_height]);
    Tensor::<4>::from_data(data, options).matmul(x)
}

#[cfg(test)]
mod tests;
