//! Plain LoRA, the same for every prompt and step: the control that HyperAlign is compared with.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    lora::{LoraDelta, LoraSet, LoraTarget},
    noise::{Purpose, Stream, normal},
};
use serde::{Deserialize, Serialize};

/// Hyper-parameters of a [`StaticLora`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticLoraConfig {
    /// Rank of the update.
    pub rank: usize,
    /// `alpha` of LoRA; the update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// The adapted layers.
    pub targets: Vec<LoraTarget>,
}

/// LoRA (Hu et al. 2021, arXiv:2106.09685): `down` starts as noise of variance `1 / rank`, `up`
/// at zero.
#[derive(Module, Debug)]
pub struct StaticLora {
    down: Vec<Param<Tensor<2>>>,
    up: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    config: StaticLoraConfig,
}

impl StaticLoraConfig {
    /// Builds the factors with initial values that depend on `seed` alone.
    pub fn init(&self, seed: u64, device: &Device) -> StaticLora {
        let down = self.targets.iter().zip(0..).map(|(target, k)| {
            let stream = Stream::new(seed, Purpose::Init, k, u32::MAX);
            let noise = normal([1, target.d_input * self.rank], [stream], device);
            let noise = noise.reshape([target.d_input, self.rank]);
            Param::from_tensor(noise * (1.0 / (self.rank as f64).sqrt()))
        });
        let up = self
            .targets
            .iter()
            .map(|target| Param::from_tensor(Tensor::zeros([self.rank, target.d_output], device)));
        StaticLora { down: down.collect(), up: up.collect(), config: self.clone() }
    }
}

impl StaticLora {
    /// The hyper-parameters.
    pub fn config(&self) -> &StaticLoraConfig {
        &self.config
    }

    /// The update, of one row that every sample shares.
    pub fn forward(&self) -> LoraSet {
        let scale = self.config.alpha / self.config.rank as f64;
        LoraSet::new(self.config.targets.iter().enumerate().map(|(k, target)| {
            let delta = LoraDelta {
                down_aux: None,
                down: self.down[k].val().unsqueeze(),
                up: Some(self.up[k].val().unsqueeze()),
                up_aux: None,
                scale,
            };
            (target.path.clone(), delta)
        }))
    }
}
