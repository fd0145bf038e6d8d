//! What the tests of all crates share: the smallest base that has every part, with random weights.

mod archive;
mod checkpoint;
mod detector;
mod flux;
mod pictures;
mod published;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    noise::{Purpose, Stream, normal},
    schedule::SchedulerConfig,
};

use crate::{
    clip::ClipTextConfig, pipeline::StableDiffusion, tokenizer::Tokenizer, unet::UnetConfig,
    vae::AutoencoderKlConfig, weights::reinit,
};

pub use archive::stored_zip;
pub use checkpoint::checkpoint;
pub use detector::{
    mmdet_file, small_detector, write_clip, write_detector, write_geneval, write_mmdet,
};
pub use flux::{small_flux, small_parts};
pub use pictures::pictures;
pub use published::{File, published_file, write_file};

/// Its vocabulary.
pub const WORDS: [&str; 5] = ["a", "red", "blue", "dog", "heart"];

/// A base of 4 x 4 latents and 8 x 8 pictures that knows [`WORDS`], in the float type of `device`.
/// Another `seed` is another base.
///
/// # Panics
///
/// Never: its own parts fit each other.
pub fn small_base(seed: u64, device: &Device) -> StableDiffusion {
    let vae = r#"{"sample_size": 8, "latent_channels": 2, "layers_per_block": 1,
        "block_out_channels": [4, 4], "norm_num_groups": 2,
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;
    base_of(&WORDS, [2, 4], serde_json::from_str(vae).expect("a configuration"), seed, device)
}

/// A base with the latents of Stable Diffusion 1.x, 8 x 8 of them, and so of 64 x 64 pictures; else
/// as [`small_base`].
///
/// # Panics
///
/// Never: its own parts fit each other.
pub fn small_sd1(seed: u64, device: &Device) -> StableDiffusion {
    small_world(&WORDS, seed, device)
}

/// A base as [`small_sd1`] whose vocabulary are these words, at most twelve to a prompt.
///
/// # Panics
///
/// Panics for words that no vocabulary can have.
pub fn small_world(words: &[&str], seed: u64, device: &Device) -> StableDiffusion {
    let vae = AutoencoderKlConfig {
        sample_size: 64,
        layers_per_block: 1,
        block_out_channels: vec![4; 4],
        norm_num_groups: 2,
        ..AutoencoderKlConfig::sd15()
    };
    base_of(words, [vae.latent_channels, 8], vae, seed, device)
}

/// A base that knows `words`, with this autoencoder, whose latents have so many channels and such a
/// side.
fn base_of(
    words: &[&str],
    [channels, side]: [usize; 2],
    vae: AutoencoderKlConfig,
    seed: u64,
    device: &Device,
) -> StableDiffusion {
    // The marks of the ends, and one for what is left over.
    let (vocab_size, tokens) = (words.len() + 3, if words.len() > WORDS.len() { 14 } else { 6 });
    let text = ClipTextConfig {
        vocab_size,
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: tokens,
        eos_token_id: 2,
        ..ClipTextConfig::default()
    };
    let unet: UnetConfig = serde_json::from_value(serde_json::json!({
        "sample_size": side, "in_channels": channels, "out_channels": channels,
        "layers_per_block": 1, "block_out_channels": [4, 8], "norm_num_groups": 2,
        "cross_attention_dim": 8, "attention_head_dim": 2,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    }))
    .expect("a configuration");
    StableDiffusion::new(
        "small",
        Tokenizer::from_words(words, tokens).expect("words without a space"),
        // Token states of embeddings of deviation 0.02 would hardly tell prompts apart.
        shaken(reinit(text.init(device), seed), 0.3),
        shaken(reinit(unet.init(device), seed), 0.2),
        shaken(reinit(vae.init(device), seed), 0.1),
        SchedulerConfig::stable_diffusion(),
        device,
    )
    .expect("parts that fit")
}

/// `module` with noise on every weight, which stands for training: layers that begin at zero
/// would hide everything behind them.
pub fn shaken<M: Module>(module: M, deviation: f64) -> M {
    module.map(&mut Shake { deviation, count: 0 })
}

struct Shake {
    deviation: f64,
    count: u32,
}

impl ModuleMapper for Shake {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.count += 1;
        let stream = Stream::new(17, Purpose::Init, 1, self.count);
        let deviation = self.deviation;
        param.map(|old| {
            let noise = normal([1, old.shape().num_elements()], [stream], &old.device());
            let new = (old.clone() + noise.reshape(old.dims()) * deviation).detach();
            if old.is_require_grad() { new.require_grad() } else { new }
        })
    }
}
