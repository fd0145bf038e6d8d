//! The sizes of the embedded models, as their `config.json` files, and how they are trained.

use hyperalign_rewards::emoji::World;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::learner::{AdamW, Schedule, Settings};

/// One of the configurations below, as the network that it belongs to takes it.
///
/// # Panics
///
/// Panics for the configuration of another network.
pub fn read<T: DeserializeOwned>(config: Value) -> T {
    serde_json::from_value(config).expect("the recipe's own configuration")
}

/// The world that the models learn.
pub const WORLD: World = World::LARGE;

/// Tokens of a prompt.
pub const CONTEXT_LENGTH: usize = 12;

/// Updates of a preference model on renders alone. Afterwards three of four of its preference pairs are
/// the base's own pictures.
pub const RENDERED_UPDATES: u64 = 2000;

/// Weight of the read-out of places beside the two other losses of a preference model. Squares of
/// coordinates in `[-1, 1]` are small beside cross entropies.
pub const PLACES_WEIGHT: f64 = 10.0;

/// Weight of the read-out of contents, cross entropies as the two other losses.
pub const CONTENTS_WEIGHT: f64 = 1.0;

/// Weight of the sides that a base's text encoder tells, beside the base's own loss.
pub const SIDES_WEIGHT: f64 = 0.3;

/// Captions of relations an update that it learns these sides from.
pub const RELATED_CAPTIONS: usize = 96;

/// Latents an update of the denoiser. A GPU takes as long for a quarter of them: it waits for its
/// kernels to be started. On a CPU the time goes with the number of latents, whatever their batches.
pub const DENOISER_BATCH: usize = 192;

/// Training prompts that the base draws for a preference model.
pub const DRAWN_PROMPTS: usize = 800;

/// Pictures that it draws of each.
pub const DRAWS: usize = 8;

/// The autoencoder: four latent channels at a quarter of the resolution.
pub fn vae() -> Value {
    json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": [16, 32, 64],
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 1,
        "mid_block_add_attention": false,
        // Eight groups of sixteen channels lose colour.
        "norm_num_groups": 2,
        "out_channels": 3,
        "sample_size": 64,
        "scaling_factor": 1.0,
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
    })
}

/// The text encoder.
pub fn text_encoder(vocabulary: usize) -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "bos_token_id": 1,
        "eos_token_id": vocabulary - 1,
        "hidden_act": "quick_gelu",
        "hidden_size": 128,
        "intermediate_size": 512,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": CONTEXT_LENGTH,
        "model_type": "clip_text_model",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "pad_token_id": 0,
        "projection_dim": 128,
        "vocab_size": vocabulary,
    })
}

/// The denoiser.
pub fn unet() -> Value {
    json!({
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": 4,
        "block_out_channels": [48, 96],
        "cross_attention_dim": 128,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "in_channels": 4,
        "layers_per_block": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": 8,
        "out_channels": 4,
        "sample_size": 16,
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    })
}

/// A preference model.
pub fn preference(vocabulary: usize) -> Value {
    let mut text = text_encoder(vocabulary);
    text["model_type"] = "clip_text_model".into();
    json!({
        "architectures": ["CLIPModel"],
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": 128,
        "text_config": text,
        "vision_config": {
            "hidden_act": "quick_gelu",
            "hidden_size": 128,
            "image_size": 64,
            "intermediate_size": 512,
            "layer_norm_eps": 1e-5,
            "num_attention_heads": 4,
            "num_channels": 3,
            "num_hidden_layers": 4,
            "patch_size": 8,
            "projection_dim": 128,
        },
    })
}

/// The scheduler of the denoiser: SD 1.5's noise, with v-prediction.
pub fn scheduler() -> Value {
    json!({
        "_class_name": "DDIMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": false,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    })
}

/// The first text encoder of emoji-flux, whose pooled state is read alone.
pub fn pooled_text_encoder(vocabulary: usize) -> Value {
    let mut config = text_encoder(vocabulary);
    for (name, size) in [("hidden_size", 64), ("intermediate_size", 256), ("num_hidden_layers", 1)]
    {
        config[name] = size.into();
    }
    config
}

/// The second text encoder of emoji-flux.
pub fn t5(vocabulary: usize) -> Value {
    json!({
        "architectures": ["T5EncoderModel"],
        "d_ff": 192,
        "d_kv": 24,
        "d_model": 96,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-6,
        "model_type": "t5",
        "num_heads": 4,
        "num_layers": 2,
        "relative_attention_max_distance": 16,
        "relative_attention_num_buckets": 16,
        "vocab_size": vocabulary,
    })
}

/// The transformer of emoji-flux: 64 tokens of the emoji world's latents.
pub fn transformer() -> Value {
    json!({
        "_class_name": "FluxTransformer2DModel",
        "attention_head_dim": 28,
        "axes_dims_rope": [4, 12, 12],
        "guidance_embeds": false,
        "in_channels": 16,
        "joint_attention_dim": 96,
        "num_attention_heads": 4,
        "num_layers": 4,
        "num_single_layers": 4,
        "patch_size": 1,
        "pooled_projection_dim": 64,
    })
}

/// The scheduler of emoji-flux: evenly spaced noise levels, as FLUX.1-schnell has them.
pub fn flow_scheduler() -> Value {
    json!({
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "use_dynamic_shifting": false,
    })
}

/// How a stage of so many updates is trained: by a learning rate that stays, and a moving average
/// that is used instead of a decay. A stage can so be continued for longer than was planned.
pub fn settings(updates: u64, lr: f64, ema: f64) -> Settings {
    Settings {
        updates,
        seed: 1,
        optimizer: AdamW { lr, weight_decay: 0.01, ..AdamW::default() },
        schedule: Schedule::Constant { warmup: 100 },
        clip: Some(1.0),
        ema: Some(ema),
        shards: 4,
        checkpoint_every: 250,
        log_every: 25,
        ..Settings::default()
    }
}
