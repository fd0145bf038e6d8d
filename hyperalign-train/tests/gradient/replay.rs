//! A base that repeats its trajectories.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Decoder, Denoiser, Prediction},
    diffusion::Process,
    lora::{LoraSet, LoraTarget},
    schedule::{Scheduler, Solver, SolverChoice},
};
use hyperalign_models::{
    base::{Adaptable, BaseError, Guided, Identity, LatentSpace, Plans, PromptEncoder},
    hypernet::Perception,
    pipeline::StableDiffusion,
};

/// The base, with the rollouts of the first loss played back in later ones: the gradient of the
/// method takes trajectories for given, and so must the differences.
pub struct Replay {
    base: StableDiffusion,
    outputs: Mutex<Vec<Tensor<4>>>,
    next: AtomicUsize,
}

impl Replay {
    pub fn new(base: StableDiffusion) -> Self {
        Self { base, outputs: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// The next loss begins.
    pub fn rewind(&self) {
        self.next.store(0, Ordering::Relaxed);
    }
}

impl Denoiser for Replay {
    fn predict(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
    ) -> Tensor<4> {
        let output = self.base.predict(sample, timesteps, conditioning, lora);
        if output.is_autodiff() {
            return output;
        }
        let mut outputs = self.outputs.lock().unwrap();
        let k = self.next.fetch_add(1, Ordering::Relaxed);
        if k == outputs.len() {
            outputs.push(output);
        }
        outputs[k].clone()
    }

    fn prediction(&self) -> Prediction {
        self.base.prediction()
    }
}

impl Decoder for Replay {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.base.decode(latents)
    }
}

impl Perception for Replay {
    fn features_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        c: &Conditioning,
    ) -> Tensor<4> {
        self.base.features_at(depth, sample, timesteps, c)
    }
}

impl Identity for Replay {
    fn name(&self) -> &str {
        self.base.name()
    }
    fn hash(&self) -> &str {
        self.base.hash()
    }
}

impl Plans for Replay {
    fn process(&self) -> &Process {
        self.base.process()
    }
    fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
        latents: [usize; 3],
    ) -> Result<Box<dyn Scheduler>, BaseError> {
        self.base.plan(steps, choice, latents)
    }
    fn solver(&self, choice: SolverChoice) -> Result<Solver, BaseError> {
        self.base.solver(choice)
    }
}

impl Guided for Replay {}

impl PromptEncoder for Replay {
    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError> {
        PromptEncoder::encode_prompts(&self.base, prompts)
    }
    fn context_dim(&self) -> usize {
        self.base.context_dim()
    }
}

impl LatentSpace for Replay {
    fn latent_shape(&self) -> [usize; 3] {
        self.base.latent_shape()
    }
    fn downscale(&self) -> usize {
        self.base.downscale()
    }
    fn encode_images(&self, images: Tensor<4>) -> Tensor<4> {
        self.base.encode_images(images)
    }
}

impl Adaptable for Replay {
    fn lora_targets(&self) -> Vec<LoraTarget> {
        self.base.lora_targets()
    }
    fn feature_dim(&self, depth: Option<usize>) -> usize {
        self.base.feature_dim(depth)
    }
}
