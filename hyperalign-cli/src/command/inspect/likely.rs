//! The published model that a file of weights most likely is, and the keys that it should have.

use burn::tensor::Device;
use hyperalign_models::clip::{ClipConfig, ClipTextConfig, open_clip};
use hyperalign_models::flux::FluxConfig;
use hyperalign_models::mask2former::{self, Mask2FormerConfig};
use hyperalign_models::t5::T5Config;
use hyperalign_models::tiny_codec::{TinyDecoder, TinyEncoder};
use hyperalign_models::unet::UnetConfig;
use hyperalign_models::vae::AutoencoderKlConfig;
use hyperalign_models::weights::published::{self, Kind, MmdetNames, SingleFile, published_keys};
use hyperalign_models::weights::{Key, Tensors, keys};

/// The keys of the network whose keys are `ours` in a file of another layout.
pub(super) fn in_layout_of(kind: Option<Kind>, ours: Vec<Key>) -> Vec<Key> {
    match kind {
        Some(Kind::VaeLdm) => published_keys(&ours, published::vae(&ours)),
        Some(Kind::VaeOld) => published_keys(&ours, published::old_attention),
        Some(Kind::FluxBfl) => published_keys(&ours, published::flux),
        Some(Kind::OpenClip) => open_clip::from_transformers(&ours),
        _ => ours,
    }
}

/// The published transformer that the file of a FLUX.1 most likely is.
pub(super) fn flux(tensors: &Tensors) -> FluxConfig {
    let guided = ["guidance_in.", "time_text_embed.guidance_embedder."];
    match tensors.iter().any(|(key, _)| guided.iter().any(|part| key.starts_with(part))) {
        true => FluxConfig::dev(),
        false => FluxConfig::schnell(),
    }
}

/// The published model that a file of this kind most likely is, and the keys of its file.
pub(super) fn expected(kind: Kind, tensors: &Tensors) -> Option<(&'static str, Vec<Key>)> {
    let device = Device::default();
    let has = |part: &str| tensors.iter().any(|(key, _)| key.starts_with(part));
    let vae = || match has("quant_conv.") {
        true => ("Stable Diffusion 1.5", keys(&AutoencoderKlConfig::sd15().init(&device))),
        false => ("FLUX.1", keys(&AutoencoderKlConfig::flux1().init(&device))),
    };
    let flux = || {
        let config = flux(tensors);
        let name = if config.guidance_embeds { "FLUX.1 [dev]" } else { "FLUX.1 [schnell]" };
        (name, keys(&config.init(&device)))
    };
    let (name, ours) = match kind {
        Kind::StableDiffusion1 => {
            let unet = keys(&UnetConfig::sd15().init(&device));
            let vae = match published::has_autoencoder(tensors) {
                true => keys(&AutoencoderKlConfig::sd15().init(&device)),
                false => Vec::new(),
            };
            let text = keys(&ClipTextConfig::sd15().init(&device));
            ("Stable Diffusion 1.5", SingleFile::keys(&unet, &vae, &text))
        }
        Kind::FluxBfl | Kind::Flux => flux(),
        Kind::Unet => ("Stable Diffusion 1.5", keys(&UnetConfig::sd15().init(&device))),
        Kind::VaeLdm | Kind::VaeOld | Kind::Vae => vae(),
        Kind::ClipText => ("OpenAI's ViT-L/14", keys(&ClipTextConfig::sd15().init(&device))),
        Kind::Clip | Kind::OpenClip => {
            match tensors.shape("logit_scale").is_some() && has("visual.transformer.resblocks.31.")
                || has("vision_model.encoder.layers.31.")
            {
                true => ("a ViT-H/14", keys(&ClipConfig::vit_h_14().init(&device))),
                false => ("OpenAI's ViT-L/14", keys(&ClipConfig::vit_l_14().init(&device))),
            }
        }
        Kind::T5 => ("T5 v1.1 XXL", keys(&T5Config::xxl().init(&device))),
        Kind::Mask2Former => {
            ("Swin-S", mask2former::weight_keys(&Mask2FormerConfig::swin_small_coco()))
        }
        Kind::Mask2FormerMmdet => {
            let names = MmdetNames::of(tensors)?;
            ("Swin-S", mask2former::mmdet_keys(&Mask2FormerConfig::swin_small_coco(), names))
        }
        Kind::TinyEncoder => ("VAElight", keys(&TinyEncoder::new(&device))),
        Kind::TinyDecoder => ("VAElight", keys(&TinyDecoder::new(&device))),
        _ => return None,
    };
    Some((name, in_layout_of(Some(kind), ours)))
}
