//! Latents to picture.

use burn::{
    module::Module,
    nn::conv::{Conv2d, ConvTranspose2d},
    tensor::{Device, Tensor, assert_shape},
};
use hyperalign_core::resize::{Filter, resize};

use super::{CHANNELS, SCALING_FACTOR, SIDE, double, keep, rectify};
use crate::{
    vae::AutoencoderKlConfig,
    weights::{Folder, LoadError, Tensors, load},
};

/// The file of the published weights.
const FILE: &str = "VAEpreview.safetensors";

/// From latents to a picture, as a pyramid: pictures of 1, 2, 4 and 8 times the side of the
/// latents, each by its own convolutions, are enlarged and added up.
#[derive(Module, Debug)]
pub struct TinyDecoder {
    cv1: Conv2d,
    cv2: Conv2d,
    cv3: ConvTranspose2d,
    cv4: Conv2d,
    cv5: Conv2d,
    cv6: ConvTranspose2d,
    cv7: Conv2d,
    cv8: Conv2d,
    cv9: ConvTranspose2d,
    cv10: Conv2d,
    cv11: Conv2d,
    c4v1: Conv2d,
    c4v2: Conv2d,
    c4v3: ConvTranspose2d,
    c4v4: Conv2d,
    c4v5: Conv2d,
    c4v6: ConvTranspose2d,
    c4v7: Conv2d,
    c4v8: Conv2d,
    c3v1: Conv2d,
    c3v2: Conv2d,
    c3v3: ConvTranspose2d,
    c3v4: Conv2d,
    c3v5: Conv2d,
    c2v1: Conv2d,
    c2v2: Conv2d,
    c2v3: Conv2d,
    c2v4: Conv2d,
}

/// A layer on the way up, with a rectifier after it.
enum Up<'a> {
    Keep(&'a Conv2d),
    Double(&'a ConvTranspose2d),
}

impl TinyDecoder {
    /// A fresh decoder.
    pub fn new(device: &Device) -> Self {
        Self {
            cv1: keep([4, 8], device),
            cv2: keep([8, 16], device),
            cv3: double(16, device),
            cv4: keep([16, 32], device),
            cv5: keep([32, 64], device),
            cv6: double(64, device),
            cv7: keep([64, 64], device),
            cv8: keep([64, 64], device),
            cv9: double(64, device),
            cv10: keep([64, 64], device),
            cv11: keep([64, 3], device),
            c4v1: keep([4, 8], device),
            c4v2: keep([8, 16], device),
            c4v3: double(16, device),
            c4v4: keep([16, 32], device),
            c4v5: keep([32, 64], device),
            c4v6: double(64, device),
            c4v7: keep([64, 64], device),
            c4v8: keep([64, 3], device),
            c3v1: keep([4, 8], device),
            c3v2: keep([8, 16], device),
            c3v3: double(16, device),
            c3v4: keep([16, 32], device),
            c3v5: keep([32, 3], device),
            c2v1: keep([4, 8], device),
            c2v2: keep([8, 16], device),
            c2v3: keep([16, 32], device),
            c2v4: keep([32, 3], device),
        }
    }

    /// Whether it decodes the latents of the autoencoder `config` describes.
    pub fn fits(config: &AutoencoderKlConfig) -> bool {
        config.latent_channels == CHANNELS
            && config.downscale() == SIDE
            && config.scaling_factor == SCALING_FACTOR
            && config.shift_factor.is_none()
    }

    /// Reads `VAEpreview.safetensors` in `folder`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or does not hold exactly the weights of the decoder.
    pub fn from_folder(folder: &Folder, device: &Device) -> Result<Self, LoadError> {
        Self::from_tensors(&folder.weights(FILE)?, device)
    }

    /// Reads the decoder from `tensors`.
    ///
    /// # Errors
    ///
    /// Fails if the tensors are not exactly those of the decoder.
    pub fn from_tensors(tensors: &Tensors, device: &Device) -> Result<Self, LoadError> {
        load(Self::new(device), tensors)
    }

    /// The pictures of the pyramid, the coarsest first.
    ///
    /// # Shapes
    ///
    /// - `latents`: `[batch, 4, height, width]`, unscaled
    /// - output: `[batch, 3, f * height, f * width]` for the factors 1, 2, 4 and 8
    pub fn levels(&self, latents: Tensor<4>) -> [Tensor<4>; 4] {
        use Up::{Double, Keep};
        assert_shape!(latents, [_, 4, _, _]);
        let way = |layers: &[Up], last: &Conv2d| {
            let x = layers.iter().fold(latents.clone(), |x, layer| {
                rectify(match layer {
                    Keep(conv) => conv.forward(x),
                    Double(conv) => conv.forward(x),
                })
            });
            last.forward(x)
        };
        [
            way(&[Keep(&self.c2v1), Keep(&self.c2v2), Keep(&self.c2v3)], &self.c2v4),
            way(
                &[Keep(&self.c3v1), Keep(&self.c3v2), Double(&self.c3v3), Keep(&self.c3v4)],
                &self.c3v5,
            ),
            way(
                &[
                    Keep(&self.c4v1),
                    Keep(&self.c4v2),
                    Double(&self.c4v3),
                    Keep(&self.c4v4),
                    Keep(&self.c4v5),
                    Double(&self.c4v6),
                    Keep(&self.c4v7),
                ],
                &self.c4v8,
            ),
            way(
                &[
                    Keep(&self.cv1),
                    Keep(&self.cv2),
                    Double(&self.cv3),
                    Keep(&self.cv4),
                    Keep(&self.cv5),
                    Double(&self.cv6),
                    Keep(&self.cv7),
                    Keep(&self.cv8),
                    Double(&self.cv9),
                    Keep(&self.cv10),
                ],
                &self.cv11,
            ),
        ]
    }

    /// The picture of unscaled latents: all levels, enlarged bilinearly to the finest.
    ///
    /// # Shapes
    ///
    /// - `latents`: `[batch, 4, height, width]`, unscaled
    /// - output: `[batch, 3, 8 * height, 8 * width]`, nominally in `[-1, 1]`, not clamped
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = latents.dims();
        let levels = self.levels(latents).into_iter();
        let enlarged =
            levels.map(|picture| resize(picture, 8 * height, 8 * width, Filter::Bilinear));
        enlarged.reduce(|sum, picture| sum + picture).expect("a pyramid has levels")
    }
}

impl hyperalign_core::contract::Decoder for TinyDecoder {
    /// The picture of scaled latents.
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.forward(latents / SCALING_FACTOR)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::super::TinyEncoder;
    use super::*;
    use crate::weights::{keys, parameters, reinit};

    /// The number of values in the published files.
    #[test]
    fn the_published_sizes() {
        let device = Device::flex();
        let (encoder, decoder) = (TinyEncoder::new(&device), TinyDecoder::new(&device));
        assert_eq!((keys(&encoder).len(), parameters(&encoder)), (22, 200_344));
        assert_eq!((keys(&decoder).len(), parameters(&decoder)), (56, 266_780));
    }

    #[test]
    fn a_picture_of_any_size_comes_back_in_its_size() {
        let device = Device::flex();
        let encoder = reinit(TinyEncoder::new(&device), 1);
        let decoder = reinit(TinyDecoder::new(&device), 1);
        let picture = Tensor::random([2, 3, 16, 24], Distribution::Uniform(-1.0, 1.0), &device);
        let latents = encoder.forward(picture);
        assert_eq!(latents.dims(), [2, 4, 2, 3]);
        let sides = decoder.levels(latents.clone()).map(|level| level.dims()[2]);
        assert_eq!(sides, [2, 4, 8, 16]);
        assert_eq!(decoder.forward(latents).dims(), [2, 3, 16, 24]);
    }
}
