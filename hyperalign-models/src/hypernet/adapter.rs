//! An adapter of either kind, as one module.

use std::fmt;

use burn::{
    module::{
        Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    },
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, PassStart, StaticAdapter},
    lora::LoraSet,
};

use super::{FullWeights, HyperSource, Hypernet, Perception, StaticLora, Variant};

/// A trained or trainable adapter.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a run holds one or two")]
pub enum Adapter {
    /// A hypernetwork.
    Hypernet(Hypernet),
    /// A LoRA that is the same for every prompt and step.
    StaticLora(StaticLora),
    /// Whole weights, the same for every prompt and step.
    FullWeights(FullWeights),
}

/// An update as an [`Adapter`] gives it.
#[derive(Debug, Clone)]
pub struct Emission {
    /// The update.
    pub lora: LoraSet,
    /// The emitted factors where they depend on what was read, `[batch, targets, rank * (a + b)]`.
    pub factors: Option<Tensor<3>>,
    /// The beginning of the base's evaluation of the same sample, where what was read is that.
    pub start: Option<PassStart>,
}

/// An update that depends on nothing.
impl From<LoraSet> for Emission {
    fn from(lora: LoraSet) -> Self {
        Self { lora, factors: None, start: None }
    }
}

impl Adapter {
    /// The hypernetwork, if it is one.
    pub fn hypernet(&self) -> Option<&Hypernet> {
        match self {
            Self::Hypernet(hypernet) => Some(hypernet),
            Self::StaticLora(_) | Self::FullWeights(_) => None,
        }
    }

    /// See [`Hypernet::with_statistics`]; the others read nothing, and need none.
    #[must_use]
    pub fn with_statistics(self, features: Tensor<4>, context: Tensor<3>) -> Self {
        match self {
            Self::Hypernet(hypernet) => Self::Hypernet(hypernet.with_statistics(features, context)),
            Self::StaticLora(_) | Self::FullWeights(_) => self,
        }
    }

    /// The update for these inputs.
    ///
    /// # Shapes
    ///
    /// As of [`Perception::features`].
    pub fn emit(
        &self,
        perception: &dyn Perception,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Emission {
        match self {
            Self::Hypernet(hypernet) => {
                let (input, start) =
                    hypernet.perceive_start(perception, sample, timesteps, conditioning);
                let (lora, factors) = hypernet.forward_with_factors(input);
                Emission { lora, factors: Some(factors), start }
            }
            Self::StaticLora(lora) => lora.forward().into(),
            Self::FullWeights(weights) => weights.forward().into(),
        }
    }

    /// The adapter as the sampler reads it.
    pub fn source<'a>(
        &'a self,
        perception: &'a dyn Perception,
        variant: Variant,
        key_steps: Vec<usize>,
    ) -> Box<dyn AdapterSource + 'a> {
        match self {
            Self::Hypernet(hypernet) => {
                Box::new(HyperSource::new(hypernet, perception, variant, key_steps))
            }
            Self::StaticLora(lora) => Box::new(StaticAdapter(lora.forward())),
            Self::FullWeights(weights) => Box::new(StaticAdapter(weights.forward())),
        }
    }

    /// The level that the keys of this kind have in files and checkpoints.
    fn level(&self) -> &'static str {
        match self {
            Self::Hypernet(_) => "hypernet",
            Self::StaticLora(_) => "static_lora",
            Self::FullWeights(_) => "full_weights",
        }
    }
}

/// What a visitor is told that holds the level.
const CONTAINER: &str = "Struct:Adapter";

/// Written out, because the derived one would call the level by the name of the variant: files and
/// checkpoints have had it as `hypernet` and `static_lora` ever since.
impl Module for Adapter {
    fn num_params(&self) -> usize {
        match self {
            Self::Hypernet(hypernet) => Module::num_params(hypernet),
            Self::StaticLora(lora) => Module::num_params(lora),
            Self::FullWeights(weights) => Module::num_params(weights),
        }
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.enter_module(self.level(), CONTAINER);
        match self {
            Self::Hypernet(hypernet) => hypernet.visit(visitor),
            Self::StaticLora(lora) => lora.visit(visitor),
            Self::FullWeights(weights) => weights.visit(visitor),
        }
        visitor.exit_module(self.level(), CONTAINER);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let level = self.level();
        mapper.enter_module(level, CONTAINER);
        let mapped = match self {
            Self::Hypernet(hypernet) => Self::Hypernet(hypernet.map(mapper)),
            Self::StaticLora(lora) => Self::StaticLora(lora.map(mapper)),
            Self::FullWeights(weights) => Self::FullWeights(weights.map(mapper)),
        };
        mapper.exit_module(level, CONTAINER);
        mapped
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        match self {
            Self::Hypernet(hypernet) => hypernet.collect_devices(devices),
            Self::StaticLora(lora) => lora.collect_devices(devices),
            Self::FullWeights(weights) => weights.collect_devices(devices),
        }
    }

    fn to_device(self, device: &Device) -> Self {
        match self {
            Self::Hypernet(hypernet) => Self::Hypernet(hypernet.to_device(device)),
            Self::StaticLora(lora) => Self::StaticLora(lora.to_device(device)),
            Self::FullWeights(weights) => Self::FullWeights(weights.to_device(device)),
        }
    }

    fn fork(self, device: &Device) -> Self {
        match self {
            Self::Hypernet(hypernet) => Self::Hypernet(hypernet.fork(device)),
            Self::StaticLora(lora) => Self::StaticLora(lora.fork(device)),
            Self::FullWeights(weights) => Self::FullWeights(weights.fork(device)),
        }
    }

    fn valid(&self) -> Self {
        match self {
            Self::Hypernet(hypernet) => Self::Hypernet(hypernet.valid()),
            Self::StaticLora(lora) => Self::StaticLora(lora.valid()),
            Self::FullWeights(weights) => Self::FullWeights(weights.valid()),
        }
    }

    fn train(self) -> Self {
        match self {
            Self::Hypernet(hypernet) => Self::Hypernet(hypernet.train()),
            Self::StaticLora(lora) => Self::StaticLora(lora.train()),
            Self::FullWeights(weights) => Self::FullWeights(weights.train()),
        }
    }

    fn materialize(self) -> Self {
        match self {
            Self::Hypernet(hypernet) => Self::Hypernet(hypernet.materialize()),
            Self::StaticLora(lora) => Self::StaticLora(lora.materialize()),
            Self::FullWeights(weights) => Self::FullWeights(weights.materialize()),
        }
    }
}

impl ModuleDisplay for Adapter {}

impl ModuleDisplayDefault for Adapter {
    fn content(&self, content: Content) -> Option<Content> {
        let content = content.set_top_level_type("Adapter");
        match self {
            Self::Hypernet(hypernet) => content.add(self.level(), hypernet),
            Self::StaticLora(lora) => content.add(self.level(), lora),
            Self::FullWeights(weights) => content.add(self.level(), weights),
        }
        .optional()
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(burn::module::DisplaySettings::default()))
    }
}
