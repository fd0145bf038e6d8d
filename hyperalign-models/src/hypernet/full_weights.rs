//! Whole weights, trained beside those of the base.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use hyperalign_core::lora::{LoraDelta, LoraSet, LoraTarget};
use serde::{Deserialize, Serialize};

/// Hyper-parameters of [`FullWeights`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullWeightsConfig {
    /// The trained layers.
    pub targets: Vec<LoraTarget>,
}

/// What training has added to the weights of linear layers and convolutions: of each layer a matrix of
/// the shape of its weight, zero at the start. Biases and norms stay those of the base.
///
/// It is an update like any other, beside the frozen weights, so that the base itself is still there:
/// as the reference of a preference, and for a divergence.
#[derive(Module, Debug)]
pub struct FullWeights {
    change: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    config: FullWeightsConfig,
}

impl FullWeightsConfig {
    /// Numbers that are trained.
    pub fn numbers(&self) -> u64 {
        self.targets.iter().map(|target| (target.d_input * target.d_output) as u64).sum()
    }

    /// Nothing learned as yet.
    pub fn init(&self, device: &Device) -> FullWeights {
        let zeros = |target: &LoraTarget| {
            Param::from_tensor(Tensor::zeros([target.d_input, target.d_output], device))
        };
        FullWeights { change: self.targets.iter().map(zeros).collect(), config: self.clone() }
    }
}

impl FullWeights {
    /// The hyper-parameters.
    pub fn config(&self) -> &FullWeightsConfig {
        &self.config
    }

    /// The update, of one row that every sample shares.
    pub fn forward(&self) -> LoraSet {
        let change = |(target, change): (&LoraTarget, &Param<Tensor<2>>)| {
            (target.path.clone(), LoraDelta::whole(change.val()))
        };
        LoraSet::new(self.config.targets.iter().zip(&self.change).map(change))
    }
}
