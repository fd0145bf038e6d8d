//! Picture to latents.

use burn::{
    module::Module,
    nn::conv::Conv2d,
    tensor::{Device, Tensor, assert_shape},
};

use super::{SIDE, halve, keep, rectify};
use crate::weights::{Folder, LoadError, Tensors, load};

/// The file of the published weights.
const FILE: &str = "VAEencoder.safetensors";

/// From a picture to latents, on two ways that are added up: through halving convolutions, and
/// over means of 8x8 pixels.
#[derive(Module, Debug)]
pub struct TinyEncoder {
    cv1: Conv2d,
    cv2: Conv2d,
    cv3: Conv2d,
    cv4: Conv2d,
    cv5: Conv2d,
    cv6: Conv2d,
    cv14: Conv2d,
    cv15: Conv2d,
    cv16: Conv2d,
    cv17: Conv2d,
    cv18: Conv2d,
}

impl TinyEncoder {
    /// A fresh encoder.
    pub fn new(device: &Device) -> Self {
        Self {
            cv1: halve([3, 16], device),
            cv2: keep([16, 32], device),
            cv3: halve([32, 32], device),
            cv4: keep([32, 64], device),
            cv5: halve([64, 64], device),
            cv6: keep([64, 4], device),
            cv14: keep([3, 64], device),
            cv15: keep([64, 64], device),
            cv16: keep([64, 64], device),
            cv17: keep([64, 128], device),
            cv18: keep([128, 4], device),
        }
    }

    /// Reads `VAEencoder.safetensors` in `folder`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or does not hold exactly the weights of the encoder.
    pub fn from_folder(folder: &Folder, device: &Device) -> Result<Self, LoadError> {
        Self::from_tensors(&folder.weights(FILE)?, device)
    }

    /// Reads the encoder from `tensors`.
    ///
    /// # Errors
    ///
    /// Fails if the tensors are not exactly those of the encoder.
    pub fn from_tensors(tensors: &Tensors, device: &Device) -> Result<Self, LoadError> {
        load(Self::new(device), tensors)
    }

    /// # Shapes
    ///
    /// - `picture`: `[batch, 3, height, width]`, in `[-1, 1]`, sides divisible by 8
    /// - output: `[batch, 4, height / 8, width / 8]`, unscaled latents
    ///
    /// # Panics
    ///
    /// Panics if a side is not divisible by 8.
    pub fn forward(&self, picture: Tensor<4>) -> Tensor<4> {
        assert_shape!(picture, [_, 3, _, _]);
        let [_, _, height, width] = picture.dims();
        assert!(height % SIDE == 0 && width % SIDE == 0, "{height} x {width} pixels are no 8x8");
        let mut fine = picture.clone();
        for conv in [&self.cv1, &self.cv2, &self.cv3, &self.cv4, &self.cv5] {
            fine = rectify(conv.forward(fine));
        }
        let mut coarse = means(picture);
        for conv in [&self.cv14, &self.cv15, &self.cv16, &self.cv17] {
            coarse = rectify(conv.forward(coarse));
        }
        self.cv6.forward(fine) + self.cv18.forward(coarse)
    }
}

/// The mean of each 8x8 pixels.
fn means(picture: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = picture.dims();
    let rows = batch * channels * height / SIDE;
    let strips: Tensor<3> = picture.reshape([rows, SIDE, width]).mean_dim(1);
    let means = strips.reshape([rows, width / SIDE, SIDE]).mean_dim(2);
    means.reshape([batch, channels, height / SIDE, width / SIDE])
}
