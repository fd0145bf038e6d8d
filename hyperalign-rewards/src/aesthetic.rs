//! LAION's aesthetic predictors: an affine map of the normalised picture features of OpenAI's
//! ViT-L/14 (Schuhmann et al. 2022, arXiv:2210.08402, section 3.4). Prompts play no part.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use hyperalign_models::{
    affine::AffineHead,
    clip::{ClipConfig, ClipModel, ClipPreprocess, normalize},
    weights::{Tensors, reinit},
};
use image::RgbImage;

use crate::{
    OpenError, Prompt, Reward, ScoreError,
    clip_kind::{OTHER_SIZES, fingerprint, open_clip_model},
    inputs::{check_size, score_prepared, unit},
    memory,
    registry::Entry,
    source::{Source, differences},
};

const NAME: &str = "aesthetic";
/// Heads, in the order in which they are looked for: the second version, as a stack of five
/// layers; the first, as one layer.
const HEADS: [&str; 4] = [
    "sac+logos+ava1-l14-linearMSE.pth",
    "sac+logos+ava1-l14-linearMSE.safetensors",
    "sa_0_4_vit_l_14_linear.pth",
    "sa_0_4_vit_l_14_linear.safetensors",
];

pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    about: "LAION's aesthetic predictor over CLIP ViT-L/14, about 1 to 10",
    files: "sac+logos+ava1-l14-linearMSE.pth of christophschuhmann/improved-aesthetic-predictor \
            (or sa_0_4_vit_l_14_linear.pth of LAION-AI/aesthetic-predictor), and \
            model.safetensors and config.json of openai/clip-vit-large-patch14",
    open: |source, device| Ok(Box::new(Aesthetic::open(source, device)?)),
    random: |device| Ok(Box::new(Aesthetic::random(device))),
};

#[derive(Debug)]
struct Aesthetic {
    version: String,
    model: ClipModel,
    head: AffineHead,
    preprocess: ClipPreprocess,
}

impl Aesthetic {
    fn open(source: &Source, device: &Device) -> Result<Self, OpenError> {
        let missing = || OpenError::NoFiles { name: NAME.to_owned(), files: ENTRY.files };
        let file = source.file(&HEADS).ok_or_else(missing)?;
        let head = AffineHead::from_tensors(&Tensors::open_pytorch(&file)?)?;
        let model =
            open_clip_model(NAME, source, ClipConfig::vit_l_14(), source.model(&[])?, device)?;
        let (expected, found) = (model.config().projection_dim, head.inputs());
        if expected != found {
            return Err(OpenError::Width { file, expected, found });
        }
        Ok(Self::new(model, head, &title(&file)))
    }

    fn new(model: ClipModel, head: AffineHead, title: &str) -> Self {
        let mut version = format!("{title} {} over {}", &head.hash()[..12], fingerprint(&model));
        if !differences(model.config(), &ClipConfig::vit_l_14()).is_empty() {
            version = format!("{OTHER_SIZES} {version}");
        }
        let preprocess = ClipPreprocess::new(model.config().vision_config.image_size);
        Self { version, model, head, preprocess }
    }

    fn random(device: &Device) -> Self {
        let config = ClipConfig::vit_l_14();
        let model = reinit(config.init(device), 1);
        Self::new(model, AffineHead::new(vec![1.0; config.projection_dim], 5.0), "random")
    }

    /// The score of prepared pictures.
    fn of_prepared(&self, images: Tensor<4>) -> Tensor<1> {
        self.head.forward(normalize(self.model.image_features(images)))
    }
}

/// The name of the head's file, without its ending.
fn title(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl Reward for Aesthetic {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
        self.of_prepared(self.preprocess.forward(unit(images)))
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn needs_prompt(&self) -> bool {
        false
    }

    fn score_pictures(
        &self,
        pictures: &[RgbImage],
        prompts: &[Prompt],
        device: &Device,
    ) -> Vec<f32> {
        let prepare = |picture: &RgbImage| self.preprocess.picture(picture, device);
        score_prepared(pictures, prompts, prepare, |images| self.of_prepared(images))
    }

    fn passed_over(&self) -> Vec<String> {
        self.model.passed_over().to_vec()
    }

    fn memory_per_picture(&self) -> u64 {
        memory::of_clip_pictures(self.model.config())
    }

    fn check(&self, size: [usize; 2], _: &[Prompt]) -> Result<(), ScoreError> {
        check_size(NAME, size)
    }
}
