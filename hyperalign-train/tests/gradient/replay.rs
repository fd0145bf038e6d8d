//! A base that repeats its trajectories.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Decoder, Denoiser, Prediction},
    diffusion::Process,
    guidance::ClassifierFreeGuidance,
    lora::{LoraSet, LoraTarget},
    noise::Stream,
    schedule::{Scheduler, Solver, SolverChoice},
};
use hyperalign_models::{
    base::{Base, BaseError},
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

impl Base for Replay {
    fn name(&self) -> &str {
        self.base.name()
    }
    fn hash(&self) -> &str {
        self.base.hash()
    }
    fn process(&self) -> &Process {
        self.base.process()
    }
    fn draw_timestep(&self, stream: &mut Stream) -> f64 {
        self.base.draw_timestep(stream)
    }
    fn guided(&self, unconditional: Conditioning, guidance_scale: f64) -> Box<dyn Denoiser + '_> {
        Box::new(ClassifierFreeGuidance::new(self, unconditional, guidance_scale))
    }
    fn downscale(&self) -> usize {
        self.base.downscale()
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
    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError> {
        Base::encode_prompts(&self.base, prompts)
    }
    fn unconditional(&self) -> Conditioning {
        Base::unconditional(&self.base)
    }
    fn encode_images(&self, images: Tensor<4>) -> Tensor<4> {
        self.base.encode_images(images)
    }
    fn latent_shape(&self) -> [usize; 3] {
        Base::latent_shape(&self.base)
    }
    fn lora_targets(&self) -> Vec<LoraTarget> {
        self.base.lora_targets()
    }
    fn feature_dim(&self, depth: Option<usize>) -> usize {
        self.base.feature_dim(depth)
    }
    fn context_dim(&self) -> usize {
        self.base.context_dim()
    }
}
