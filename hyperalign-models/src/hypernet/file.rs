//! The adapter file: one safetensors with everything that is needed to use it.

use std::{collections::BTreeMap, path::Path};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, StaticAdapter},
    lora::LoraSet,
};
use serde::{Deserialize, Serialize};

use super::{
    ConfigError, HyperSource, Hypernet, HypernetConfig, Perception, StaticLora, StaticLoraConfig,
    Variant,
};
use crate::weights::{self, FileFloat, LoadError, SaveError, Tensors};

/// Key of the metadata in the file.
const METADATA: &str = "hyperalign";
/// Key of the fingerprint of the weights.
const SHA256: &str = "hyperalign_weights_sha256";
/// Version of the metadata that this program writes and reads.
const FORMAT: u32 = 2;

/// What kind of adapter it is, with its whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdapterKind {
    /// A hypernetwork.
    Hypernet(HypernetConfig),
    /// A LoRA that is the same for every prompt and step.
    StaticLora(StaticLoraConfig),
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
    /// [`Perception::features_at`].
    pub fn encoder_depth(&self) -> Option<usize> {
        match &self.network {
            AdapterKind::Hypernet(config) => config.encoder_depth,
            AdapterKind::StaticLora(_) => None,
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
            AdapterKind::Hypernet(config) => {
                Adapter { hypernet: Some(config.init(seed, device)?), static_lora: None }
            }
            AdapterKind::StaticLora(config) => {
                Adapter { hypernet: None, static_lora: Some(config.init(seed, device)) }
            }
        })
    }
}

/// The part of [`AdapterMeta`] that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A trained or trainable adapter of either kind. Exactly one of its parts is there.
#[derive(Module, Debug)]
pub struct Adapter {
    hypernet: Option<Hypernet>,
    static_lora: Option<StaticLora>,
}

impl Adapter {
    /// The hypernetwork, if it is one.
    pub fn hypernet(&self) -> Option<&Hypernet> {
        self.hypernet.as_ref()
    }

    /// See [`Hypernet::with_statistics`]; a static LoRA reads nothing, and needs none.
    #[must_use]
    pub fn with_statistics(self, features: Tensor<4>, context: Tensor<3>) -> Self {
        Self {
            hypernet: self.hypernet.map(|hypernet| hypernet.with_statistics(features, context)),
            ..self
        }
    }

    /// The update for these inputs, and the emitted factors where they depend on them.
    ///
    /// # Shapes
    ///
    /// As of [`Perception::features`]; factors: `[batch, targets, rank * (a + b)]`
    pub fn emit(
        &self,
        perception: &dyn Perception,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> (LoraSet, Option<Tensor<3>>) {
        match (&self.hypernet, &self.static_lora) {
            (Some(hypernet), _) => {
                let input = hypernet.perceive(perception, sample, timesteps, conditioning);
                let (lora, factors) = hypernet.forward_with_factors(input);
                (lora, Some(factors))
            }
            (None, Some(lora)) => (lora.forward(), None),
            (None, None) => (LoraSet::default(), None),
        }
    }

    /// The adapter as the sampler reads it.
    pub fn source<'a>(
        &'a self,
        perception: &'a dyn Perception,
        variant: Variant,
        key_steps: Vec<usize>,
    ) -> Box<dyn AdapterSource + 'a> {
        match (&self.hypernet, &self.static_lora) {
            (Some(hypernet), _) => {
                Box::new(HyperSource::new(hypernet, perception, variant, key_steps))
            }
            (None, lora) => {
                Box::new(StaticAdapter(lora.as_ref().map(StaticLora::forward).unwrap_or_default()))
            }
        }
    }

    /// Writes the adapter, atomically.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written or a weight is not finite.
    pub fn save(&self, path: &Path, meta: &AdapterMeta) -> Result<(), SaveError> {
        let json = serde_json::to_string(meta).expect("metadata is plain data");
        let plain = self.valid();
        let metadata = BTreeMap::from([
            (METADATA.to_owned(), json),
            (SHA256.to_owned(), weights::hash(&plain)),
        ]);
        weights::save(&plain, path, FileFloat::F32, &metadata)
    }

    /// Reads an adapter of any base.
    ///
    /// # Errors
    ///
    /// Fails if the file is damaged, is no adapter, or does not hold what its metadata says.
    pub fn load(path: &Path, device: &Device) -> Result<(Self, AdapterMeta), AdapterError> {
        let tensors = Tensors::open(path)?;
        let file = || path.display().to_string();
        let json = tensors
            .metadata()
            .get(METADATA)
            .ok_or_else(|| AdapterError::NotAnAdapter { file: file() })?;
        let damaged = |source| AdapterError::Metadata { file: file(), source };
        // First the number alone: another format may have other fields.
        let Format { format } = serde_json::from_str(json).map_err(damaged)?;
        if format != FORMAT {
            return Err(AdapterError::Format { file: file(), given: format });
        }
        let meta: AdapterMeta = serde_json::from_str(json).map_err(damaged)?;
        let fresh =
            meta.init(0, device).map_err(|source| AdapterError::Config { file: file(), source })?;
        let adapter = weights::load(fresh, &tensors)?;
        // A flipped bit is a number like any other. Files of earlier programs have no fingerprint.
        let recorded = tensors.metadata().get(SHA256);
        if recorded.is_some_and(|recorded| *recorded != weights::hash(&adapter)) {
            return Err(AdapterError::Damaged { file: file() });
        }
        Ok((adapter, meta))
    }
}

/// Why an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The file itself is not readable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It holds something else.
    #[error(
        "`{file}` is a safetensors file but no HyperAlign adapter: its metadata has no key \
         `{METADATA}`; pass the adapter.safetensors of a finished `hyperalign train` run"
    )]
    NotAnAdapter {
        /// The file.
        file: String,
    },
    /// The metadata is not what this program writes.
    #[error("`{file}` has damaged HyperAlign metadata: {source}")]
    Metadata {
        /// The file.
        file: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Its weights are not those that were written.
    #[error(
        "the weights in `{file}` are not those that were written (another SHA-256); the file was \
         damaged or changed: fetch it again, or finish the run with `hyperalign train --resume`"
    )]
    Damaged {
        /// The file.
        file: String,
    },
    /// A newer or older program wrote it.
    #[error(
        "`{file}` is an adapter of format {given}, and this program reads format {FORMAT}; train it \
         again, or use the program that wrote it"
    )]
    Format {
        /// The file.
        file: String,
        /// What it says.
        given: u32,
    },
    /// The stored configuration cannot be built.
    #[error("the adapter `{file}` has a configuration that is not usable: {source}")]
    Config {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// It belongs to another base.
    #[error(
        "this adapter was trained on the base `{trained_on}` (weights {expected:.12}), and the \
         base at hand is `{given}` (weights {given_hash:.12}); {}",
        other_base(trained_on, given)
    )]
    OtherBase {
        /// Name of the base of the adapter.
        trained_on: String,
        /// Its fingerprint.
        expected: String,
        /// Name of the base at hand.
        given: String,
        /// Its fingerprint.
        given_hash: String,
    },
}

/// What to do with an adapter of another base, which may have the same name.
fn other_base(trained_on: &str, given: &str) -> String {
    if trained_on == given {
        "its weights are others than they were then: train the adapter again, or use the base as it \
         was"
        .to_owned()
    } else {
        format!("pass `--base {trained_on}`, or an adapter that was trained on `{given}`")
    }
}

impl AdapterMeta {
    /// Checks that the adapter belongs to the base at hand.
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
