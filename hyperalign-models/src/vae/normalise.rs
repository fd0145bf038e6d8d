//! Latents of mean 0 and deviation 1, without a factor in the config.

use burn::tensor::Tensor;

use super::AutoencoderKl;

impl AutoencoderKl {
    /// Folds the normalisation of the latents per channel into the 1x1 convolutions next to
    /// them. Pictures that go through the autoencoder come out as before.
    ///
    /// # Shapes
    ///
    /// - `latents`: `[samples, channels, height, width]`, unscaled posterior means of data
    ///
    /// # Panics
    ///
    /// Panics if the autoencoder has no such convolutions.
    #[must_use]
    pub fn with_normalised_latents(mut self, latents: Tensor<4>) -> Self {
        let channels = latents.dims()[1];
        let flat = latents.swap_dims(0, 1).reshape([channels as i32, -1]);
        let (variance, mean) = flat.var_mean_bias(1);
        let mean: Tensor<1> = mean.squeeze_dim(1);
        let std: Tensor<1> = variance.sqrt().squeeze_dim(1);
        let quant = self.quant_conv.take().expect("an autoencoder with a quant_conv");
        let post = self.post_quant_conv.take().expect("an autoencoder with a post_quant_conv");
        // The convolution gives the means of the posterior, then its log variances.
        let scale = Tensor::cat(vec![std.clone().recip(), std.ones_like()], 0);
        let shift =
            Tensor::cat(vec![mean.clone().neg() / std.clone(), std.clone().log() * -2.0], 0);
        self.quant_conv = Some(quant.then_affine(scale, shift));
        self.post_quant_conv = Some(post.after_affine(std, mean));
        self
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use hyperalign_core::testing;

    use super::super::AutoencoderKlConfig;
    use super::*;

    #[test]
    fn pictures_stay_and_latents_are_normal() {
        let device = testing::device();
        let config = AutoencoderKlConfig {
            block_out_channels: vec![8, 8],
            norm_num_groups: 2,
            scaling_factor: 1.0,
            ..AutoencoderKlConfig::default()
        };
        let vae = crate::weights::reinit(config.init(&device), 3);
        let picture = Tensor::random([2, 3, 16, 16], Distribution::Uniform(-1.0, 1.0), &device);
        let before = vae.encode(picture.clone());
        let decoded = vae.decode(before.mean.clone());

        let normal = vae.with_normalised_latents(before.mean.clone());
        let after = normal.encode(picture);
        let (variance, mean) =
            after.mean.clone().swap_dims(0, 1).flatten::<2>(1, 3).var_mean_bias(1);
        let far = |tensor: Tensor<2>, value: f64| (tensor - value).abs().max().into_scalar::<f32>();
        assert!(far(mean, 0.0) < 1e-4);
        assert!(far(variance, 1.0) < 1e-3);
        let difference = (normal.decode(after.mean) - decoded).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-4, "decoded pictures differ by {difference}");
        let ratio = after.logvar - before.logvar;
        let per_channel = ratio.swap_dims(0, 1).flatten::<2>(1, 3);
        let spread = per_channel.var_mean_bias(1).0.max().into_scalar::<f32>();
        assert!(spread < 1e-8, "log variances shift by one number a channel, not {spread}");
    }
}
