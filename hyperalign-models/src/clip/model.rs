//! Both sides of CLIP and the space that they meet in.

use burn::{
    module::{Module, Param},
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Int, Tensor},
};

use hyperalign_core::fused::silu;

use super::{
    ClipConfig, open_clip, step_aware,
    text::{TextOutput, TextTransformer},
    vision::{VisionOutput, VisionTransformer},
};
use crate::{
    scope::Scope,
    timestep_embedding::{Sinusoids, TimestepEmbedding, sinusoidal},
    weights::{
        Folder, LoadError, Tensors, check, keys, load,
        published::{Kind, without_extras},
    },
};

/// A text and a vision transformer with linear maps into one space (Radford et al. 2021,
/// arXiv:2103.00020, figure 3). Differentiable to the image.
#[derive(Module, Debug)]
pub struct ClipModel {
    text_model: TextTransformer,
    vision_model: VisionTransformer,
    visual_projection: Linear,
    text_projection: Linear,
    /// Logarithm of the factor on cosines, `[1]`; a scalar in files.
    logit_scale: Param<Tensor<1>>,
    time_embedding: Option<TimestepEmbedding>,
    #[module(skip)]
    config: ClipConfig,
    /// Keys of the file that are of no use.
    #[module(skip)]
    passed_over: Vec<String>,
}

impl ClipConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if the heads do not divide the width on either side.
    pub fn init(&self, device: &Device) -> ClipModel {
        let projection =
            |dim| LinearConfig::new(dim, self.projection_dim).with_bias(false).init(device);
        ClipModel {
            text_model: TextTransformer::new(&self.text_config, device),
            vision_model: VisionTransformer::new(&self.vision_config, self.step_aware, device),
            visual_projection: projection(self.vision_config.hidden_size),
            text_projection: projection(self.text_config.hidden_size),
            logit_scale: Initializer::Constant { value: self.logit_scale_init_value }
                .init([1], device),
            time_embedding: self.step_aware.then(|| {
                let dim = self.vision_config.hidden_size;
                TimestepEmbedding::new(step_aware::SINUSOIDS, dim, device)
            }),
            config: self.clone(),
            passed_over: Vec::new(),
        }
    }
}

impl ClipModel {
    /// Reads the network of the sizes `config` from `tensors`, in the layout of `transformers`, of
    /// open_clip, or of SPO's step-aware preference models.
    ///
    /// # Errors
    ///
    /// Fails if the tensors are not exactly those of the network.
    pub fn from_tensors(
        config: &ClipConfig,
        tensors: Tensors,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let is_step_aware = config.step_aware
            || step_aware::is_ours(&tensors)
            || step_aware::is_published(&tensors);
        let model = ClipConfig { step_aware: is_step_aware, ..config.clone() }.init(device);
        let (tensors, passed_over) = if is_step_aware && !step_aware::is_ours(&tensors) {
            let (tensors, extras) = without_extras(Kind::Clip, step_aware::to_ours(tensors));
            let published = tensors.clone().rename(|key| Some(step_aware::their_name(key)));
            check(&step_aware::from_ours(&keys(&model)), &published)?;
            (tensors, extras)
        } else if open_clip::is_open_clip(&tensors) {
            // Before the names are ours, so that an error is in those of the file.
            check(&open_clip::from_transformers(&keys(&model)), &tensors)?;
            (open_clip::to_transformers(tensors), Vec::new())
        } else {
            without_extras(Kind::Clip, tensors)
        };
        Ok(Self { passed_over, ..load(model, &tensors)? })
    }

    /// Reads `config.json` (or `open_clip_config.json`) and the weights from the folder `sub` of
    /// `folder`; the empty name is the folder itself.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, describes another network, or does not hold its weights.
    pub fn from_folder(folder: &Folder, sub: &str, device: &Device) -> Result<Self, LoadError> {
        let at =
            |file: &str| if sub.is_empty() { file.to_owned() } else { format!("{sub}/{file}") };
        let file = match at("open_clip_config.json") {
            file if folder.contains(&file) => file,
            _ => at("config.json"),
        };
        let json: serde_json::Value = folder.read_config(&file)?;
        let config = ClipConfig::from_json(&json.to_string()).map_err(|error| {
            LoadError::Config { file: folder.display(&file), reason: error.to_string() }
        })?;
        Self::from_tensors(&config, folder.tensors(sub)?, device)
    }

    /// The sizes of the network.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// What the file of the network held beside it and was not read.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// All states of the text side.
    ///
    /// # Shapes
    ///
    /// - `ids`: `[batch, tokens]`
    pub fn text(&self, ids: Tensor<2, Int>) -> TextOutput {
        self.text_model.forward(ids, &Scope::bare())
    }

    /// Whether its vision side reads the timestep that a picture was estimated at. Where none is
    /// given it is 0, that of a clean picture.
    pub fn is_step_aware(&self) -> bool {
        self.time_embedding.is_some()
    }

    /// All states of the vision side.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, channels, image_size, image_size]`, normalised
    pub fn vision(&self, image: Tensor<4>) -> VisionOutput {
        let timesteps = Tensor::zeros([image.dims()[0]], &image.device());
        self.vision_at(image, timesteps)
    }

    /// The same of pictures that were estimated at `timesteps` of the thousand that diffusion is
    /// trained with, for a network that [reads](Self::is_step_aware) them.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, channels, image_size, image_size]`, normalised
    /// - `timesteps`: `[batch]`
    pub fn vision_at(&self, image: Tensor<4>, timesteps: Tensor<1>) -> VisionOutput {
        let time = self.time_embedding.as_ref().map(|embedding| {
            let kind = Sinusoids::default();
            let sinusoids = sinusoidal(timesteps, step_aware::SINUSOIDS, kind).cast(image.dtype());
            silu(embedding.forward(sinusoids, &Scope::bare()))
        });
        self.vision_model.forward(image, time.as_ref())
    }

    /// Texts in the shared space, not normalised.
    ///
    /// # Shapes
    ///
    /// - `ids`: `[batch, tokens]`
    /// - output: `[batch, projection_dim]`
    pub fn text_features(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        self.project_text(self.text(ids).pooled)
    }

    /// Pooled text states ([`TextOutput::pooled`]) in the shared space, not normalised.
    ///
    /// # Shapes
    ///
    /// - `pooled`: `[batch, dim]`
    /// - output: `[batch, projection_dim]`
    pub fn project_text(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.text_projection.forward(pooled)
    }

    /// Images in the shared space, not normalised.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, channels, image_size, image_size]`, normalised
    /// - output: `[batch, projection_dim]`
    pub fn image_features(&self, image: Tensor<4>) -> Tensor<2> {
        self.project_image(self.vision(image).pooled)
    }

    /// The same of pictures that were estimated at `timesteps`.
    ///
    /// # Shapes
    ///
    /// As of [`vision_at`](Self::vision_at), and [`image_features`](Self::image_features).
    pub fn image_features_at(&self, image: Tensor<4>, timesteps: Tensor<1>) -> Tensor<2> {
        self.project_image(self.vision_at(image, timesteps).pooled)
    }

    /// Pooled image states ([`VisionOutput::pooled`]) in the shared space, not normalised.
    ///
    /// # Shapes
    ///
    /// - `pooled`: `[batch, dim]`
    /// - output: `[batch, projection_dim]`
    pub fn project_image(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.visual_projection.forward(pooled)
    }

    /// The factor on cosines, `exp(logit_scale)`, `[1]`.
    pub fn logit_scale(&self) -> Tensor<1> {
        self.logit_scale.val().exp()
    }

    /// The cosine between each image and its own text, in `[-1, 1]`.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, channels, image_size, image_size]`, normalised
    /// - `ids`: `[batch, tokens]`
    /// - output: `[batch]`
    pub fn score(&self, image: Tensor<4>, ids: Tensor<2, Int>) -> Tensor<1> {
        let timesteps = Tensor::zeros([image.dims()[0]], &image.device());
        self.score_at(image, timesteps, ids)
    }

    /// The same of pictures that were estimated at `timesteps`.
    ///
    /// # Shapes
    ///
    /// As of [`vision_at`](Self::vision_at), and [`score`](Self::score).
    pub fn score_at(
        &self,
        image: Tensor<4>,
        timesteps: Tensor<1>,
        ids: Tensor<2, Int>,
    ) -> Tensor<1> {
        let image = normalize(self.image_features_at(image, timesteps));
        let text = normalize(self.text_features(ids));
        (image * text).sum_dim(1).squeeze_dim(1)
    }

    /// Scaled cosines between all images and all texts, `exp(logit_scale) cos`
    /// (arXiv:2103.00020, figure 3).
    ///
    /// # Shapes
    ///
    /// - `image`: `[images, channels, image_size, image_size]`, normalised
    /// - `ids`: `[texts, tokens]`
    /// - output: `[images, texts]`
    pub fn logits(&self, image: Tensor<4>, ids: Tensor<2, Int>) -> Tensor<2> {
        let image = normalize(self.image_features(image));
        let text = normalize(self.text_features(ids));
        image.matmul(text.transpose()) * self.logit_scale().unsqueeze()
    }
}

/// Scales every row to length 1.
///
/// # Shapes
///
/// - `features` and output: `[batch, dim]`
pub fn normalize(features: Tensor<2>) -> Tensor<2> {
    // A length of 0 would make the gradient of the root infinite and the quotient NaN.
    let length = features.clone().square().sum_dim(1).clamp_min(1e-24).sqrt();
    features / length
}

#[cfg(test)]
mod tests;
