//! The pretraining of a flow, on minute networks.

use std::sync::Arc;

use hyperalign_core::testing;
use hyperalign_models::{
    clip::ClipTextConfig,
    flux::FluxConfig,
    t5::T5Config,
    tokenizer::Tokenizer,
    vae::AutoencoderKlConfig,
    weights::{hash, reinit},
};
use hyperalign_rewards::emoji;
use hyperalign_train::{
    learner::{AdamW, Objective, Run, Schedule, Settings, Shard, fit},
    pretrain::{FlowObjective, LatentSet, TextToVelocity, recipe},
};

fn read<T: serde::de::DeserializeOwned>(config: serde_json::Value) -> T {
    serde_json::from_value(config).expect("a configuration")
}

/// Networks of a few thousand weights, and the latents of an untrained autoencoder.
fn setup() -> (TextToVelocity, FlowObjective) {
    let device = testing::device();
    let words = emoji::vocabulary();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let tokenizer = Tokenizer::from_words(&words, recipe::CONTEXT_LENGTH).expect("words");
    let vae = reinit(read::<AutoencoderKlConfig>(recipe::vae()).init(&device), 1);
    let data = LatentSet::build(&vae, &tokenizer, 1, 32, &device);
    let text = ClipTextConfig {
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        ..read(recipe::text_encoder(tokenizer.vocab_size()))
    };
    let t5 = T5Config {
        d_model: 8,
        d_kv: 4,
        d_ff: 8,
        num_heads: 2,
        ..read(recipe::t5(tokenizer.vocab_size()))
    };
    let transformer = FluxConfig {
        num_layers: 1,
        num_single_layers: 1,
        attention_head_dim: 12,
        num_attention_heads: 2,
        joint_attention_dim: 8,
        pooled_projection_dim: 8,
        axes_dims_rope: [4, 4, 4],
        ..read(recipe::transformer())
    };
    let autodiff = device.autodiff();
    let model = TextToVelocity {
        text_encoder: reinit(text.init(&autodiff), 1),
        text_encoder_2: reinit(t5.init(&autodiff), 1),
        transformer: reinit(transformer.init(&autodiff), 1),
    };
    let empty = tokenizer.encode(&[""]).expect("no word").ids.swap_remove(0);
    let objective = FlowObjective {
        seed: 1,
        batch: 8,
        caption_dropout: 0.1,
        related: 8,
        sides_weight: 0.1,
        data,
        empty,
        device: autodiff,
    };
    (model, objective)
}

#[test]
fn the_loss_falls_and_every_part_learns() {
    let (model, objective) = setup();
    let objective = Arc::new(objective);
    let loss = |model: &TextToVelocity| -> f64 {
        let of = |update: u64| {
            let mut losses = objective.losses(model, 1000 + update, Shard { index: 0, count: 1 });
            losses.parts.remove(0).loss.into_scalar::<f64>()
        };
        (0..8).map(of).sum::<f64>() / 8.0
    };
    let before = loss(&model);
    let settings = Settings {
        updates: 40,
        optimizer: AdamW { lr: 1e-2, ..AdamW::default() },
        schedule: Schedule::Constant { warmup: 5 },
        shards: 2,
        ..Settings::default()
    };
    let dir = tempfile::tempdir().expect("a folder");
    let start = model.clone();
    let outcome = fit(objective.clone(), model, &settings, &Run::new(dir.path(), "flow"));
    let learned = outcome.expect("a run").learned();
    let after = loss(&learned);
    // A fresh network predicts zero.
    assert!(after < 0.8 * before, "the loss goes from {before} to {after}");
    assert_ne!(hash(&start.text_encoder), hash(&learned.text_encoder));
    assert_ne!(hash(&start.text_encoder_2), hash(&learned.text_encoder_2));
}
