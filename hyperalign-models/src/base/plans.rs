//! What a base was noised by, and what it is solved with.

use hyperalign_core::{
    diffusion::Process,
    noise::Stream,
    schedule::{Scheduler, Solver, SolverChoice},
};

use super::BaseError;

/// The process that a base was trained on, and the plans of steps back through it.
pub trait Plans {
    /// The process that it was trained on.
    fn process(&self) -> &Process;

    /// A time from the distribution that it was trained on, in the unit of its
    /// [`process`](Self::process): each training step as often as any other for a diffusion, and
    /// [`logit_normal`] for a rectified flow.
    fn draw_timestep(&self, stream: &mut Stream) -> f64 {
        match self.process() {
            Process::VariancePreserving { alphas_cumprod } => {
                stream.below(alphas_cumprod.len()) as f64
            }
            Process::RectifiedFlow => logit_normal(stream),
        }
    }

    /// The plan of so many steps by its own solver or the one that is chosen, for latents of
    /// `[channels, height, width]`, which some schedules depend on.
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take, and for a choice that does not
    /// fit the process that the base was trained on.
    fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
        latents: [usize; 3],
    ) -> Result<Box<dyn Scheduler>, BaseError>;

    /// The solver that plans are made for: the one that is chosen, or its own.
    ///
    /// # Errors
    ///
    /// Fails where its own is not built here, and for a choice that does not fit its process.
    fn solver(&self, choice: SolverChoice) -> Result<Solver, BaseError>;

    /// How pictures are sampled from it where nobody says otherwise.
    fn preset(&self) -> Preset {
        Preset::STABLE_DIFFUSION
    }
}

/// The logistic function of a standard normal number: the middle of the way comes more often than
/// its ends (Esser et al. 2024, arXiv:2403.03206, section 3.1).
pub fn logit_normal(stream: &mut Stream) -> f64 {
    1.0 / (1.0 + (-stream.normal()).exp())
}

/// How pictures are sampled from a base where nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Sampling steps.
    pub steps: usize,
    /// Weight of guidance.
    pub guidance_scale: f64,
}

impl Preset {
    /// Of HyperAlign's evaluation of Stable Diffusion 1.5 (arXiv:2601.15968).
    pub const STABLE_DIFFUSION: Self = Self { steps: 50, guidance_scale: 7.5 };
    /// Of its evaluation of FLUX.1-dev.
    pub const FLUX_DEV: Self = Self { steps: 50, guidance_scale: 3.5 };
    /// Of FLUX.1-schnell, which is distilled to a few steps without guidance.
    pub const FLUX_SCHNELL: Self = Self { steps: 4, guidance_scale: 1.0 };
}
