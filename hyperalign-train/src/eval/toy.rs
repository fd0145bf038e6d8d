//! The smallest base of the embedded world and adapters for it, for tests.

use hyperalign_core::testing;
use hyperalign_models::{
    base::{Adaptable, PromptEncoder},
    hypernet::{Adapter, AdapterKind, AdapterMeta, HypernetConfig, StaticLoraConfig, Variant},
    pipeline::StableDiffusion,
    testing::{shaken, small_world},
};
use hyperalign_rewards::emoji;

/// A base that draws pictures of the world's size and knows its words.
pub fn base() -> StableDiffusion {
    let words = emoji::vocabulary();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    small_world(&words, 1, &testing::device())
}

fn meta_of(network: AdapterKind) -> AdapterMeta {
    AdapterMeta::new("toy", "toy", Variant::S, network)
}

/// A hypernetwork for the base; `strength` of noise on every weight stands for training.
pub fn adapter(seed: u64, strength: f64) -> Adapter {
    let base = base();
    let config = HypernetConfig {
        rank: 2,
        a: 4,
        b: 4,
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    let adapter = meta_of(AdapterKind::Hypernet(config)).init(seed, &testing::device()).unwrap();
    if strength == 0.0 { adapter } else { shaken(adapter, strength) }
}

/// A static LoRA that does something.
pub fn static_lora() -> Adapter {
    let config = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base().lora_targets() };
    let meta = meta_of(AdapterKind::StaticLora(config));
    shaken(meta.init(1, &testing::device()).unwrap(), 0.5)
}
