//! `hyperalign inspect keys MODEL`.

use burn::tensor::Device;
use hyperalign_models::{
    blip::{BlipConfig, BlipReward},
    clip::{ClipConfig, ClipTextConfig, open_clip, step_aware},
    flux::FluxConfig,
    mask2former::{self, Mask2FormerConfig},
    t5::T5Config,
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{
        Key, keys,
        published::{self, MmdetNames, SingleFile, published_keys},
    },
};
use miette::IntoDiagnostic;

use crate::outcome::Outcome;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The published model.
    #[arg(value_enum)]
    model: Model,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Model {
    /// The U-Net of Stable Diffusion 1.5.
    #[value(name = "sd15-unet")]
    Sd15Unet,
    /// Its autoencoder.
    #[value(name = "sd15-vae")]
    Sd15Vae,
    /// Its autoencoder under the attention names of its published file.
    #[value(name = "sd15-vae-legacy")]
    Sd15VaeLegacy,
    /// Its text encoder.
    #[value(name = "sd15-text")]
    Sd15Text,
    /// All of Stable Diffusion 1.5 in the one file of its authors.
    #[value(name = "sd15-single-file")]
    Sd15SingleFile,
    /// The transformer of FLUX.1-dev.
    #[value(name = "flux1-dev")]
    Flux1Dev,
    /// The transformer of FLUX.1-schnell.
    #[value(name = "flux1-schnell")]
    Flux1Schnell,
    /// The transformer of FLUX.1-dev in the one file of its authors.
    #[value(name = "flux1-dev-bfl")]
    Flux1DevBfl,
    /// The autoencoder of both.
    #[value(name = "flux-vae")]
    FluxVae,
    /// The autoencoder of both as its authors' `ae.safetensors`.
    #[value(name = "flux-ae-bfl")]
    FluxAeBfl,
    /// T5 v1.1 XXL, the second text encoder of both.
    #[value(name = "t5-xxl")]
    T5Xxl,
    /// HPSv2: a ViT-H/14 in the layout of open_clip.
    #[value(name = "hpsv2")]
    Hpsv2,
    /// PickScore: a ViT-H/14 in the layout of transformers.
    #[value(name = "pickscore")]
    PickScore,
    /// SPO's step-aware preference model: PickScore's network, which reads the timestep.
    #[value(name = "spm")]
    Spm,
    /// OpenAI's ViT-L/14 in the layout of transformers.
    #[value(name = "clip-vit-l-14")]
    ClipVitL14,
    /// ImageReward: BLIP and a head.
    #[value(name = "imagereward")]
    ImageReward,
    /// Mask2Former over Swin-S, for the instances of COCO.
    #[value(name = "mask2former-swin-s")]
    Mask2FormerSwinS,
    /// The same as GenEval names it, in the layout of mmdetection 2.
    #[value(name = "mask2former-swin-s-mmdet")]
    Mask2FormerSwinSMmdet,
}

/// Prints one line of JSON for each key.
pub(super) fn run(args: &Args) -> miette::Result<Outcome> {
    let mut text = String::new();
    for key in expected(args.model) {
        text.push_str(&serde_json::to_string(&key).into_diagnostic()?);
        text.push('\n');
    }
    output::print(&text)?;
    Ok(Outcome::Done)
}

/// Nothing is allocated for the weights: parameters are made when they are first read.
fn expected(model: Model) -> Vec<Key> {
    let device = Device::default();
    let vae = |config: AutoencoderKlConfig| keys(&config.init(&device));
    match model {
        Model::Sd15Unet => keys(&UnetConfig::sd15().init(&device)),
        Model::Sd15Vae => vae(AutoencoderKlConfig::sd15()),
        Model::Sd15VaeLegacy => {
            published_keys(&vae(AutoencoderKlConfig::sd15()), published::old_attention)
        }
        Model::Sd15Text => keys(&ClipTextConfig::sd15().init(&device)),
        Model::Sd15SingleFile => SingleFile::keys(
            &expected(Model::Sd15Unet),
            &expected(Model::Sd15Vae),
            &expected(Model::Sd15Text),
        ),
        Model::Flux1Dev => keys(&FluxConfig::dev().init(&device)),
        Model::Flux1Schnell => keys(&FluxConfig::schnell().init(&device)),
        Model::Flux1DevBfl => published_keys(&expected(Model::Flux1Dev), published::flux),
        Model::FluxVae => vae(AutoencoderKlConfig::flux1()),
        Model::FluxAeBfl => {
            let ours = expected(Model::FluxVae);
            published_keys(&ours, published::vae(&ours))
        }
        Model::T5Xxl => keys(&T5Config::xxl().init(&device)),
        Model::Hpsv2 => open_clip::from_transformers(&keys(&ClipConfig::vit_h_14().init(&device))),
        Model::PickScore => keys(&ClipConfig::vit_h_14().init(&device)),
        Model::Spm => step_aware::from_ours(&keys(&ClipConfig::spm().init(&device))),
        Model::ImageReward => BlipReward::keys(&BlipConfig::image_reward()),
        Model::Mask2FormerSwinS => {
            mask2former::published_keys(&Mask2FormerConfig::swin_small_coco())
        }
        Model::Mask2FormerSwinSMmdet => {
            mask2former::mmdet_keys(&Mask2FormerConfig::swin_small_coco(), MmdetNames::Numbered)
        }
        Model::ClipVitL14 => keys(&ClipConfig::vit_l_14().init(&device)),
    }
}
