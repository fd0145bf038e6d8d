//! The model as a policy: trajectories of its own, and where each of its steps leads, on the tape or
//! off it.
//!
//! Only solvers of one evaluation a step and no memory are used here, so that a step is a function of
//! the sample that enters it.

use std::{ops::ControlFlow, sync::Arc};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Denoiser},
    diffusion::Process,
    lora::LoraSet,
    recompute::recompute,
    sampler::{Sampler, StepNoise},
    schedule::{History, Scheduler, Solver, SolverChoice, Transition},
};
use hyperalign_models::hypernet::Adapter;

use super::{Materials, Setup, TrajectorySettings};

/// The solver of one evaluation a step that draws the share `eta` of the noise: DDIM for a diffusion,
/// and `flow` for a rectified flow, or Euler's method where nothing is drawn.
pub(super) fn one_step_solver(process: &Process, flow: Solver, eta: f64) -> SolverChoice {
    let (solver, eta) = match process {
        Process::VariancePreserving { .. } => (Solver::Ddim, Some(eta)),
        Process::RectifiedFlow if eta > 0.0 => (flow, Some(eta)),
        Process::RectifiedFlow => (Solver::FlowEuler, None),
    };
    SolverChoice { solver: Some(solver), eta }
}

/// A model that samples pictures of some prompts along a plan.
#[derive(Clone)]
pub(super) struct Policy<'a> {
    setup: &'a Setup,
    scheduler: Arc<dyn Scheduler>,
    conditioning: Conditioning,
}

impl<'a> Policy<'a> {
    /// `conditioning` has a row for each trajectory.
    pub(super) fn new(
        setup: &'a Setup,
        scheduler: Arc<dyn Scheduler>,
        conditioning: Conditioning,
    ) -> Self {
        Self { setup, scheduler, conditioning }
    }

    /// The plan.
    pub(super) fn scheduler(&self) -> &dyn Scheduler {
        self.scheduler.as_ref()
    }

    /// The policy for these trajectories of the batch.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        Self { conditioning: self.conditioning.select(rows), ..self.clone() }
    }

    /// The samples that enter steps 0 to `to`, off the tape, from standard normal `start`.
    ///
    /// # Shapes
    ///
    /// - `start`, output: `[batch, channels, height, width]` each
    pub(super) fn rollout(
        &self,
        adapter: &Adapter,
        start: Tensor<4>,
        to: usize,
        noise: Option<&StepNoise>,
    ) -> Vec<Tensor<4>> {
        let TrajectorySettings { variant, key_steps, .. } = &self.setup.trajectory;
        let source = adapter.source(self.setup.base(), *variant, key_steps.clone());
        let denoiser = self.setup.guided();
        let sampler = Sampler::new(&denoiser, self.scheduler(), &self.conditioning);
        let sampler = sampler.with_adapter(source.as_ref());
        let mut samples = Vec::with_capacity(to + 1);
        let end = sampler.run(sampler.start(start), to, noise, &mut |state| {
            samples.push(state.sample.clone());
            ControlFlow::Continue(())
        });
        samples.push(end.sample);
        samples
    }

    /// The update that step `i` is taken with; `samples` are those that entered the steps up to it.
    pub(super) fn lora(&self, adapter: &Adapter, samples: &[Tensor<4>], i: usize) -> LoraSet {
        let source = self.source_step(adapter, i);
        let sample = samples[source].clone();
        let timestep = self.scheduler.timestep(source);
        let times = Tensor::full([sample.dims()[0]], timestep, &self.setup.materials.device);
        adapter.emit(self.setup.base(), sample, times, &self.conditioning).lora
    }

    /// Where step `i` leads from `sample` with an update, or without one; on the tape if one of them
    /// is.
    pub(super) fn transition(
        &self,
        lora: Option<&LoraSet>,
        sample: Tensor<4>,
        i: usize,
    ) -> Transition {
        let denoiser = self.setup.guided();
        transition(&denoiser, self.scheduler(), &self.conditioning, lora, sample, i)
    }

    /// Takes the steps that are left after `samples` were rolled out, on the tape of `adapter`, and
    /// gives the last sample.
    ///
    /// Each step is computed again in the backward pass, so that memory holds the graph of one step
    /// however many there are, and of each the sample that enters it (Chen et al. 2016,
    /// arXiv:1604.06174). A hypernetwork reads the samples as they are: no gradient leads back through
    /// what it sees.
    pub(super) fn finish(
        &self,
        adapter: &Adapter,
        samples: &[Tensor<4>],
        noise: &StepNoise,
    ) -> Tensor<4> {
        let from = samples.len() - 1;
        let mut seen = samples.to_vec();
        let mut sample = seen[from].clone();
        let mut held = None;
        for i in from..self.scheduler.steps() {
            let source = self.source_step(adapter, i);
            let (numbers, layout) = match held.take() {
                Some((of, packed)) if of == source => packed,
                _ => self.lora(adapter, &seen, i).pack(),
            };
            let noise = self.scheduler.needs_noise(i).then(|| noise(i));
            let step = {
                let (scheduler, conditioning) = (self.scheduler.clone(), self.conditioning.clone());
                let Setup { materials: Materials { base, .. }, trajectory, .. } = self.setup;
                let (base, scale) = (base.clone(), trajectory.guidance_scale);
                let layout = layout.clone();
                move |[sample, numbers]: [Tensor<4>; 2]| {
                    let lora = layout.unpack(numbers);
                    let denoiser = base.guided(base.unconditional(), scale);
                    transition(&denoiser, &*scheduler, &conditioning, Some(&lora), sample, i)
                        .draw(noise.clone())
                }
            };
            sample = recompute([sample, numbers.clone()], step);
            seen.push(sample.clone().inner());
            held = Some((source, (numbers, layout)));
        }
        sample
    }

    /// The step that the update of step `i` comes from. A static LoRA has one update.
    fn source_step(&self, adapter: &Adapter, i: usize) -> usize {
        let TrajectorySettings { variant, key_steps, .. } = &self.setup.trajectory;
        match adapter.hypernet() {
            Some(_) => variant.source_step(i, key_steps),
            None => 0,
        }
    }
}

fn transition(
    denoiser: &dyn Denoiser,
    scheduler: &dyn Scheduler,
    conditioning: &Conditioning,
    lora: Option<&LoraSet>,
    sample: Tensor<4>,
    i: usize,
) -> Transition {
    let batch = sample.dims()[0];
    let times = Tensor::full([batch], scheduler.timestep(i), &conditioning.context.device());
    let output = denoiser.predict(sample.clone(), times, conditioning, lora);
    scheduler.transition(i, output, sample, &mut History::default())
}
