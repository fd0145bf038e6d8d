//! `hyperalign inspect keys MODEL`.

use burn::tensor::Device;
use hyperalign_models::{
    blip::{BlipConfig, BlipReward},
    clip::{ClipConfig, ClipTextConfig, open_clip},
    flux::FluxConfig,
    t5::T5Config,
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{Key, keys},
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
    /// Its text encoder.
    #[value(name = "sd15-text")]
    Sd15Text,
    /// The transformer of FLUX.1 [dev].
    #[value(name = "flux1-dev")]
    Flux1Dev,
    /// The transformer of FLUX.1 [schnell].
    #[value(name = "flux1-schnell")]
    Flux1Schnell,
    /// The autoencoder of both.
    #[value(name = "flux-vae")]
    FluxVae,
    /// T5 v1.1 XXL, the second text encoder of both.
    #[value(name = "t5-xxl")]
    T5Xxl,
    /// HPSv2: a ViT-H/14 in the layout of open_clip.
    #[value(name = "hpsv2")]
    Hpsv2,
    /// PickScore: a ViT-H/14 in the layout of transformers.
    #[value(name = "pickscore")]
    PickScore,
    /// OpenAI's ViT-L/14 in the layout of transformers.
    #[value(name = "clip-vit-l-14")]
    ClipVitL14,
    /// ImageReward: BLIP and a head.
    #[value(name = "imagereward")]
    ImageReward,
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
    match model {
        Model::Sd15Unet => keys(&UnetConfig::sd15().init(&device)),
        Model::Sd15Vae => keys(&AutoencoderKlConfig::sd15().init(&device)),
        Model::Sd15Text => keys(&ClipTextConfig::sd15().init(&device)),
        Model::Flux1Dev => keys(&FluxConfig::dev().init(&device)),
        Model::Flux1Schnell => keys(&FluxConfig::schnell().init(&device)),
        Model::FluxVae => keys(&AutoencoderKlConfig::flux1().init(&device)),
        Model::T5Xxl => keys(&T5Config::xxl().init(&device)),
        Model::Hpsv2 => open_clip::from_transformers(&keys(&ClipConfig::vit_h_14().init(&device))),
        Model::PickScore => keys(&ClipConfig::vit_h_14().init(&device)),
        Model::ImageReward => BlipReward::keys(&BlipConfig::image_reward()),
        Model::ClipVitL14 => keys(&ClipConfig::vit_l_14().init(&device)),
    }
}
