//! What a method is set up with.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::{Conditioning, Decoder, Denoiser},
    noise::{Purpose, Stream, normal},
    schedule::{Scheduler, SolverChoice},
};
use hyperalign_models::{base::Base, hypernet::Adapter};
use hyperalign_rewards::{Prompt, Reward};

use super::TrajectorySettings;
use crate::{
    data::TrainingData,
    learner::{Shard, parallel},
    watch::HeldOut,
};

/// What a run is made of.
#[derive(Clone)]
pub struct Materials {
    /// The frozen base, on the plain device.
    pub base: Arc<dyn Base>,
    /// The reward to maximise, on the plain device, where the method needs one.
    pub reward: Option<Arc<dyn Reward>>,
    /// What makes the pictures that the reward is shown, in place of the base's own decoder.
    pub reward_decoder: Option<Arc<dyn Decoder + Send + Sync>>,
    /// Prompts to learn from, with the rules that a reward may judge by.
    pub prompts: Vec<Prompt>,
    /// What is learned from beside prompts.
    pub data: TrainingData,
    /// Prompts of the sample grids.
    pub sample_prompts: Vec<String>,
    /// What the run is watched by; nothing where it is not.
    pub held_out: Option<HeldOut>,
    /// What pictures of this base have to say of the origin of its data, where a licence asks for
    /// it.
    pub attribution: Option<&'static str>,
    /// The plain device.
    pub device: Device,
}

/// What every method gets: materials that have been checked against its needs, and what all of
/// them share.
#[derive(Clone)]
pub struct Setup {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// What is learned from.
    pub materials: Materials,
    /// How trajectories are sampled.
    pub trajectory: TrajectorySettings,
    /// Threads that share a batch.
    pub threads: usize,
    /// Micro-steps of each thread in an update.
    pub micro_steps: usize,
}

impl Setup {
    /// The base.
    pub fn base(&self) -> &dyn Base {
        self.materials.base.as_ref()
    }

    /// The reward.
    ///
    /// # Panics
    ///
    /// Panics if there is none: a method that needs none does not ask.
    pub fn reward(&self) -> &dyn Reward {
        self.materials.reward.as_deref().expect("checked when the run was set up")
    }

    /// Decodes latents for the reward, clamped to `[-1, 1]`.
    pub(super) fn picture(&self, latents: Tensor<4>) -> Tensor<4> {
        let image = match &self.materials.reward_decoder {
            Some(decoder) => decoder.decode(latents),
            None => self.base().decode(latents),
        };
        image.clamp(-1.0, 1.0)
    }

    /// The stream of sample `k` of an update.
    pub(super) fn stream(&self, purpose: Purpose, update: u64, k: usize) -> Stream {
        Stream::new(self.seed, purpose, update as u32, k as u32)
    }

    /// The stream of what is drawn once in an update, for all of its samples.
    pub(super) fn update_stream(&self, update: u64) -> Stream {
        // No sample has this number.
        self.stream(Purpose::Timestep, update, u32::MAX as usize)
    }

    /// Standard normal noise of the shape of the base's latents, a row from each stream.
    pub(super) fn noise(&self, streams: impl IntoIterator<Item = Stream>) -> Tensor<4> {
        let [channels, height, width] = self.base().latent_shape();
        normal([1, channels, height, width], streams, &self.materials.device)
    }

    /// The noise that trajectory `k` of an update begins from, for each of `rows`.
    pub(crate) fn start(&self, update: u64, rows: impl IntoIterator<Item = usize>) -> Tensor<4> {
        self.noise(rows.into_iter().map(|k| self.stream(Purpose::Start, update, k)))
    }

    /// The base under the guidance that trajectories have.
    pub(crate) fn guided(&self) -> Box<dyn Denoiser + '_> {
        self.base().guided(self.base().unconditional(), self.trajectory.guidance_scale)
    }

    /// What `work` gives for every shard of an update, in their order. As many are done at once as
    /// there are threads.
    pub(super) fn shards<T: Send>(
        &self,
        adapter: &Adapter,
        work: impl Fn(&Adapter, Shard) -> T + Sync,
    ) -> Vec<T> {
        let (threads, count) = (self.threads, self.threads * self.micro_steps);
        let first_of_threads = (0..count).step_by(threads);
        let results = first_of_threads.flat_map(|first| {
            let works = (first..first + threads).map(|index| {
                let (adapter, work) = (adapter.clone(), &work);
                parallel::pooled(threads, move || work(&adapter, Shard { index, count }))
            });
            parallel::all(works.collect())
        });
        results.collect()
    }

    /// The plan of a trajectory by the solver of a method.
    pub(super) fn plan(&self, solver: SolverChoice) -> Box<dyn Scheduler> {
        let plan = self.base().plan(self.trajectory.steps, solver, self.base().latent_shape());
        plan.expect("checked when the run was set up")
    }

    /// The prompts of samples `rows` of an update.
    pub(super) fn prompts(&self, update: u64, rows: impl Iterator<Item = usize>) -> Vec<Prompt> {
        let all = &self.materials.prompts;
        rows.map(|k| self.stream(Purpose::Data, update, k).pick(all).clone()).collect()
    }

    pub(super) fn encode(&self, prompts: &[String]) -> Conditioning {
        self.base().encode_prompts(prompts).expect("prompts were checked when the run was set up")
    }

    /// Shape `[timesteps]`.
    pub(super) fn times(&self, timesteps: &[f64]) -> Tensor<1> {
        let values: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        Tensor::from_data(&values[..], &self.materials.device)
    }
}
