//! The sampling loop. There is no other.
//!
//! The state of a run is a value, the [`Trajectory`]: it can be cloned, cut by rows, re-noised and
//! continued. [`Sampler::look`] evaluates the network once, [`Sampler::step`] takes the step that
//! was looked at, and [`Sampler::run`] is both in a row until an observer has seen enough.
//!
//! Guidance is a [`Denoiser`] around a denoiser, a hypernetwork an [`AdapterSource`], randomness
//! and progress are the caller's.

mod state;

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::{
    contract::{
        AdapterSource, Answer, Conditioning, Denoiser, Fresh, Held, NoAdapter, PassStart, TextWatch,
    },
    diffusion::Renoising,
    lora::LoraSet,
    schedule::Scheduler,
};

pub use state::{Look, Trajectory};

/// Standard normal noise for a step by its index, of the shape of the sample.
pub type StepNoise<'a> = dyn Fn(usize) -> Tensor<4> + 'a;

/// What is done with each step that has been taken; it may end the run after it.
pub type Observer<'a> = dyn FnMut(&StepState) -> ControlFlow<()> + 'a;

/// What an observer sees of a step that has been taken.
#[derive(Debug)]
pub struct StepState<'a> {
    /// Index of the step.
    pub i: usize,
    /// The network's time.
    pub timestep: f64,
    /// The sample that entered the step, `[batch, channels, height, width]`.
    pub sample: &'a Tensor<4>,
    /// What the network answered (after guidance).
    pub model_output: &'a Tensor<4>,
    /// The one-step estimate of the original.
    pub pred_original: &'a Tensor<4>,
    /// The sample that the step returned.
    pub prev_sample: &'a Tensor<4>,
    /// The low-rank update that was in use, if any.
    pub lora: Option<&'a LoraSet>,
}

/// The [`Observer`] that lets every run go to its end.
pub fn unobserved(_: &StepState) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What a trajectory is sampled by. It has no state of its own: one sampler serves any number of
/// trajectories, and each may be left and taken up again.
///
/// Where the tensors of a trajectory are tracked, so is what comes of them: nothing is detached
/// here but by [`Trajectory::detach`].
#[derive(Clone, Copy)]
pub struct Sampler<'a> {
    denoiser: &'a dyn Denoiser,
    scheduler: &'a dyn Scheduler,
    adapter: &'a dyn AdapterSource,
    conditioning: &'a Conditioning,
}

impl<'a> Sampler<'a> {
    /// Samples with the bare base; `conditioning` are the conditional rows, one for each of a
    /// trajectory.
    ///
    /// # Panics
    ///
    /// Panics if `denoiser` does not predict what `scheduler` reads.
    pub fn new(
        denoiser: &'a dyn Denoiser,
        scheduler: &'a dyn Scheduler,
        conditioning: &'a Conditioning,
    ) -> Self {
        assert_eq!(denoiser.prediction(), scheduler.prediction(), "network and scheduler disagree");
        Self { denoiser, scheduler, adapter: &NoAdapter, conditioning }
    }

    /// The same with the updates of `adapter`.
    #[must_use]
    pub fn with_adapter(self, adapter: &'a dyn AdapterSource) -> Self {
        Self { adapter, ..self }
    }

    /// The same for other prompts, as those of the rows that a search goes on with.
    #[must_use]
    pub fn with_conditioning(self, conditioning: &'a Conditioning) -> Self {
        Self { conditioning, ..self }
    }

    /// Whether the network shows where the picture looks at the text.
    pub fn shows_text(&self) -> bool {
        self.denoiser.shows_text()
    }

    /// The plan of the steps.
    pub fn scheduler(&self) -> &'a dyn Scheduler {
        self.scheduler
    }

    /// The trajectory that begins at step 0 from standard normal `noise`, `[batch, channels,
    /// height, width]`.
    pub fn start(&self, noise: Tensor<4>) -> Trajectory {
        Trajectory::at(0, noise.mul_scalar(self.scheduler.init_noise_sigma()))
    }

    /// The update that the next step of `trajectory` is taken with.
    ///
    /// # Panics
    ///
    /// Panics if the trajectory has no step left.
    pub fn held(&self, trajectory: &Trajectory) -> Option<Held> {
        self.refreshed(trajectory).0
    }

    /// The same, and the beginning of the evaluation where the source of the update has made it.
    fn refreshed(&self, trajectory: &Trajectory) -> (Option<Held>, Option<PassStart>) {
        let Trajectory { i, ref sample, ref held, .. } = *trajectory;
        assert!(i < self.scheduler.steps(), "the trajectory is at its end");
        let timestep = self.scheduler.timestep(i);
        let update = self.adapter.refresh(i, held.as_ref(), sample, timestep, self.conditioning);
        match update {
            Some(Fresh { lora, start }) => (Some(Held { lora, since: i }), start),
            None => (held.clone(), None),
        }
    }

    /// Evaluates the network at the sample of `trajectory`, with the update that its step is taken
    /// with. The trajectory stays as it is.
    ///
    /// # Panics
    ///
    /// Panics if the trajectory has no step left, and if the prompts are not those of its rows.
    pub fn look(&self, trajectory: &Trajectory) -> Look {
        let (held, start) = self.refreshed(trajectory);
        self.look_from(start.as_ref(), trajectory, held, None)
    }

    /// [`look`](Self::look) with an update that the caller has, as one that was
    /// [computed](Self::held) off the tape that the sample is on, and showing `watch` where the
    /// picture looks at the text.
    ///
    /// # Panics
    ///
    /// As [`look`](Self::look).
    pub fn look_with(
        &self,
        trajectory: &Trajectory,
        held: Option<Held>,
        watch: Option<TextWatch>,
    ) -> Look {
        self.look_from(None, trajectory, held, watch)
    }

    fn look_from(
        &self,
        start: Option<&PassStart>,
        trajectory: &Trajectory,
        held: Option<Held>,
        watch: Option<TextWatch>,
    ) -> Look {
        let Trajectory { i, ref sample, ref history, .. } = *trajectory;
        let batch = sample.dims()[0];
        assert!(i < self.scheduler.steps(), "the trajectory is at its end");
        assert_eq!(self.conditioning.batch(), batch, "one prompt for each row of the batch");
        let timesteps = Tensor::full([batch], self.scheduler.timestep(i), &sample.device());
        let lora = held.as_ref().map(|held| &held.lora);
        let (denoiser, conditioning) = (self.denoiser, self.conditioning);
        let Answer { output: model_output, correction } =
            denoiser.answer_from(start, sample.clone(), timesteps, conditioning, lora, watch);
        let mut history = history.clone();
        let transition =
            self.scheduler.transition(i, model_output.clone(), sample.clone(), &mut history);
        Look { i, held, model_output, correction, transition, history }
    }

    /// Takes the step that was looked at. One look may be stepped from more than once, each time
    /// with other noise.
    ///
    /// # Panics
    ///
    /// Panics if the step [needs noise](Scheduler::needs_noise) and there is none.
    pub fn step(&self, look: &Look, noise: Option<Tensor<4>>) -> Trajectory {
        Trajectory {
            i: look.i + 1,
            sample: look.transition.draw(noise),
            held: look.held.clone(),
            history: look.history.clone(),
        }
    }

    /// Takes steps until `trajectory` stands before step `to`, or until `observer` breaks off after
    /// one. The whole plan is a run from [`start`](Self::start) to `scheduler.steps()`.
    ///
    /// `noise` is asked only for steps that [need it](Scheduler::needs_noise); a deterministic plan
    /// needs none.
    ///
    /// # Panics
    ///
    /// Panics where [`look`](Self::look) does, and if a step needs noise and there is none.
    pub fn run(
        &self,
        mut trajectory: Trajectory,
        to: usize,
        noise: Option<&StepNoise>,
        observer: &mut Observer,
    ) -> Trajectory {
        while trajectory.i < to {
            let look = self.look(&trajectory);
            let i = trajectory.i;
            let noise = noise.filter(|_| self.scheduler.needs_noise(i)).map(|noise| noise(i));
            let next = self.step(&look, noise);
            let state = StepState {
                i,
                timestep: self.scheduler.timestep(i),
                sample: &trajectory.sample,
                model_output: &look.model_output,
                pred_original: &look.transition.pred_original,
                prev_sample: &next.sample,
                lora: look.lora(),
            };
            let flow = observer(&state);
            trajectory = next;
            if flow.is_break() {
                break;
            }
        }
        trajectory
    }

    /// Goes back to step `to` along the forward process ([`Renoising`]), as time travel and
    /// recurrent guidance do. What the solver remembers is of the way that is left, and is
    /// forgotten; the update stays in use until its source gives another.
    ///
    /// `noise` is standard normal and of the shape of the sample.
    ///
    /// # Panics
    ///
    /// Panics if `to` lies ahead.
    pub fn renoise(&self, trajectory: &Trajectory, to: usize, noise: Tensor<4>) -> Trajectory {
        let Trajectory { i, ref sample, ref held, .. } = *trajectory;
        assert!(to <= i, "re-noising leads back, and step {to} lies ahead of {i}");
        let renoising = Renoising::between(self.scheduler.level(i), self.scheduler.level(to));
        Trajectory {
            held: held.clone(),
            ..Trajectory::at(to, renoising.draw(sample.clone(), noise))
        }
    }
}

#[cfg(test)]
mod tests;
