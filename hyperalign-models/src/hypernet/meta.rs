//! What an adapter file says about itself.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{
    Adapter, AdapterError, ConfigError, FullWeightsConfig, HypernetConfig, StaticLoraConfig,
    Variant, file::FORMAT,
};
use crate::base::Identity;

/// What kind of adapter it is, with its whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdapterKind {
    /// A hypernetwork.
    Hypernet(HypernetConfig),
    /// A LoRA that is the same for every prompt and step.
    StaticLora(StaticLoraConfig),
    /// Whole weights, the same for every prompt and step.
    FullWeights(FullWeightsConfig),
}

/// The reward that an adapter was trained against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingReward {
    /// Its name; of a mix, the whole description.
    pub name: String,
    /// What tells it from another reward of the same name.
    pub version: String,
    /// Its weight in the loss beside the preferred data's of 1, where the method has both.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weight: Option<f64>,
}

/// What an adapter file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterMeta {
    /// Version of this metadata.
    pub format: u32,
    /// Name of the base that it was trained on, for people.
    pub base: String,
    /// Fingerprint of that base's weights. On another base the update is meaningless.
    pub base_hash: String,
    /// The variant that it was trained as.
    pub variant: Variant,
    /// Key steps of P, as sampling steps of a run of `key_steps_of` steps.
    pub key_steps: Vec<usize>,
    /// The number of sampling steps that `key_steps` belong to.
    pub key_steps_of: usize,
    /// The reward that it was trained against. None for an adapter of the regulariser alone, and
    /// for files of earlier programs, which do not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reward: Option<TrainingReward>,
    /// The network and its configuration.
    pub network: AdapterKind,
}

impl AdapterMeta {
    /// Metadata of this program's format.
    pub fn new(base: &str, base_hash: &str, variant: Variant, network: AdapterKind) -> Self {
        Self {
            format: FORMAT,
            base: base.to_owned(),
            base_hash: base_hash.to_owned(),
            variant,
            key_steps: Vec::new(),
            key_steps_of: 0,
            reward: None,
            network,
        }
    }

    /// Blocks of the perception encoder that the network looks through; see
    /// [`Perception::features_at`](super::Perception::features_at).
    pub fn encoder_depth(&self) -> Option<usize> {
        match &self.network {
            AdapterKind::Hypernet(config) => config.encoder_depth,
            AdapterKind::StaticLora(_) | AdapterKind::FullWeights(_) => None,
        }
    }

    /// The key steps, scaled to a run of `steps` sampling steps and kept inside of it.
    pub fn key_steps_for(&self, steps: usize) -> Vec<usize> {
        let of = self.key_steps_of.max(1);
        let scaled = |&key: &usize| ((key * steps + of / 2) / of).min(steps.saturating_sub(1));
        let mut keys: Vec<usize> = self.key_steps.iter().map(scaled).collect();
        keys.dedup();
        keys
    }

    /// Builds the network with fresh weights.
    ///
    /// # Errors
    ///
    /// Fails if the configuration cannot be built.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Adapter, ConfigError> {
        Ok(match &self.network {
            AdapterKind::Hypernet(config) => Adapter::Hypernet(config.init(seed, device)?),
            AdapterKind::StaticLora(config) => Adapter::StaticLora(config.init(seed, device)),
            AdapterKind::FullWeights(config) => Adapter::FullWeights(config.init(device)),
        })
    }
}

impl AdapterMeta {
    /// Checks that the adapter belongs to the base at hand: to its weights, or to these with the
    /// LoRA files that are laid over them.
    ///
    /// # Errors
    ///
    /// Fails if the fingerprints differ.
    pub fn check(&self, base: &(impl Identity + ?Sized)) -> Result<(), AdapterError> {
        if self.base_hash == base.hash() {
            return Ok(());
        }
        self.check_base(base.name(), base.weights_hash())
    }

    /// Checks that the adapter belongs to the base called `name` whose weights have this
    /// fingerprint.
    ///
    /// # Errors
    ///
    /// Fails if the fingerprints differ.
    pub fn check_base(&self, name: &str, hash: &str) -> Result<(), AdapterError> {
        if self.base_hash == hash {
            return Ok(());
        }
        Err(AdapterError::OtherBase {
            trained_on: self.base.clone(),
            expected: self.base_hash.clone(),
            given: name.to_owned(),
            given_hash: hash.to_owned(),
        })
    }
}
