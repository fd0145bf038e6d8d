//! The smallest FLUX pipeline that has every part, with random weights.

use super::{WORDS, shaken};
use crate::{
    clip::ClipTextConfig,
    flux::FluxConfig,
    pipeline::{Flux, FluxParts},
    t5::T5Config,
    tokenizer::Tokenizer,
    vae::AutoencoderKlConfig,
    weights::reinit,
};
use burn::tensor::Device;
use hyperalign_core::schedule::FlowSchedulerConfig;

/// A base of 4 x 4 latents and 8 x 8 pictures that knows [`WORDS`]; one with a guidance embedding
/// if it is `distilled`.
///
/// # Panics
///
/// Never: its own parts fit each other.
pub fn small_flux(distilled: bool, device: &Device) -> Flux {
    Flux::new("small", small_parts(distilled, device), device).expect("parts that fit")
}

/// The parts of [`small_flux`].
///
/// # Panics
///
/// Never: its own configurations can be read.
pub fn small_parts(distilled: bool, device: &Device) -> FluxParts {
    let text = ClipTextConfig {
        vocab_size: 8,
        hidden_size: 6,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 6,
        eos_token_id: 2,
        ..ClipTextConfig::default()
    };
    let t5 = T5Config {
        vocab_size: 8,
        d_model: 10,
        d_kv: 4,
        d_ff: 12,
        num_layers: 2,
        num_heads: 2,
        ..T5Config::default()
    };
    let transformer = FluxConfig {
        in_channels: 8,
        num_layers: 2,
        num_single_layers: 1,
        attention_head_dim: 8,
        num_attention_heads: 2,
        joint_attention_dim: 10,
        pooled_projection_dim: 6,
        guidance_embeds: distilled,
        axes_dims_rope: [2, 2, 4],
        ..FluxConfig::default()
    };
    let vae: AutoencoderKlConfig = serde_json::from_str(
        r#"{"sample_size": 8, "latent_channels": 2, "layers_per_block": 1,
            "block_out_channels": [4, 4], "norm_num_groups": 2, "shift_factor": 0.1,
            "use_quant_conv": false, "use_post_quant_conv": false,
            "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]}"#,
    )
    .expect("a configuration");
    FluxParts {
        tokenizer: Tokenizer::from_words(&WORDS, 6).expect("five words"),
        tokenizer_2: Tokenizer::from_words(&WORDS, 7).expect("five words"),
        text_encoder: shaken(reinit(text.init(device), 1), 0.3),
        text_encoder_2: shaken(reinit(t5.init(device), 1), 0.3),
        transformer: shaken(reinit(transformer.init(device), 1), 0.2),
        vae: shaken(reinit(vae.init(device), 1), 0.1),
        scheduler_config: FlowSchedulerConfig::flux_dev(),
    }
}
