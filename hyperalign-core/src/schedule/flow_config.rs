//! The scheduler part of a flow's model folder: diffusers' `scheduler_config.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    FlowDiffusion, FlowSdeOptions, GaussianScheduler, HeunScheduler, Scheduler,
    SchedulerConfigError, Solver, SolverChoice, StepCountError, UniPcScheduler, config,
};

/// How noise levels are moved towards pure noise, `f` being the strength of the shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeShift {
    /// `exp(f) sigma / (1 + (exp(f) - 1) sigma)`.
    Exponential,
    /// `f sigma / (1 + (f - 1) sigma)`.
    Linear,
}

/// Settings of a rectified flow's sampling, under diffusers' names and with its defaults: those of
/// its `FlowMatchEulerDiscreteScheduler`, its `FlowMatchHeunDiscreteScheduler`, and its
/// `UniPCMultistepScheduler` with `use_flow_sigmas`.
///
/// Noise levels are evenly spaced from 1 and then shifted towards 1, since a larger picture needs
/// more noise to be hidden as well (Esser et al. 2024, arXiv:2403.03206, eq. 23). The shift is
/// either a constant or depends on the number of image tokens. Where the last level before 0 lies
/// depends on the class that the file names, whichever solver is chosen.
///
/// Keys that only other schedulers of diffusers know are kept and not read: the file is theirs. A
/// key that asks for something that changes pictures and is not built here is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowSchedulerConfig {
    /// Name of diffusers' class for these settings.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// The number that stands for pure noise in the timesteps of other programs. Networks here
    /// are told the noise level itself.
    pub num_train_timesteps: usize,
    /// The constant shift; 1 is none.
    pub shift: f64,
    /// The constant shift of `UniPCMultistepScheduler`, which does not read `shift`.
    pub flow_shift: f64,
    /// Whether the levels are those of a flow, which `UniPCMultistepScheduler` has to be told.
    pub use_flow_sigmas: bool,
    /// Whether the shift depends on the number of image tokens; the constant is then not read.
    pub use_dynamic_shifting: bool,
    /// Logarithm of the shift at `base_image_seq_len` tokens.
    pub base_shift: f64,
    /// Logarithm of the shift at `max_image_seq_len` tokens.
    pub max_shift: f64,
    /// The number of image tokens for `base_shift`.
    pub base_image_seq_len: usize,
    /// The number of image tokens for `max_shift`.
    pub max_image_seq_len: usize,
    /// How the dynamic shift enters.
    pub time_shift_type: TimeShift,
    /// Stretching to a last noise level; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift_terminal: Option<f64>,
    /// Levels from data to noise; not supported.
    pub invert_sigmas: bool,
    /// Another spacing; not supported.
    pub use_karras_sigmas: bool,
    /// Another spacing; not supported.
    pub use_exponential_sigmas: bool,
    /// Another spacing; not supported.
    pub use_beta_sigmas: bool,
    /// Drawing anew from each estimate; not supported.
    pub stochastic_sampling: bool,
    /// What single solvers read, and keys of other programs.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

const EULER: &str = "FlowMatchEulerDiscreteScheduler";
const HEUN: &str = "FlowMatchHeunDiscreteScheduler";
/// A class for diffusions and flows; the file says which.
const UNIPC: &str = "UniPCMultistepScheduler";

/// Whether a class of diffusers is one for rectified flows alone.
pub(super) fn is_only_for_flows(class: &str) -> bool {
    matches!(class, EULER | HEUN)
}

impl Default for FlowSchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: EULER.to_owned(),
            num_train_timesteps: 1000,
            shift: 1.0,
            flow_shift: 1.0,
            use_flow_sigmas: false,
            use_dynamic_shifting: false,
            base_shift: 0.5,
            max_shift: 1.15,
            base_image_seq_len: 256,
            max_image_seq_len: 4096,
            time_shift_type: TimeShift::Exponential,
            shift_terminal: None,
            invert_sigmas: false,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            stochastic_sampling: false,
            other: Map::new(),
        }
    }
}

impl FlowSchedulerConfig {
    /// The schedule of FLUX.1-dev: shifted by the number of image tokens.
    pub fn flux_dev() -> Self {
        Self { shift: 3.0, use_dynamic_shifting: true, ..Self::default() }
    }

    /// The schedule of FLUX.1-schnell: not shifted.
    pub fn flux_schnell() -> Self {
        Self::default()
    }

    /// Reads `path`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or has a wrong type or an unknown name in it. What it
    /// asks for is checked by [`sigmas`](Self::sigmas).
    pub fn read(path: &Path) -> Result<Self, SchedulerConfigError> {
        config::read(path)
    }

    /// The logarithm of the dynamic shift: linear in the number of image tokens, through
    /// (`base_image_seq_len`, `base_shift`) and (`max_image_seq_len`, `max_shift`), also beyond.
    pub fn mu(&self, image_tokens: usize) -> f64 {
        let [low, high, at] = [self.base_image_seq_len, self.max_image_seq_len, image_tokens]
            .map(|tokens| tokens as f64);
        let slope = (self.max_shift - self.base_shift) / (high - low);
        self.base_shift + slope * (at - low)
    }

    /// The `steps + 1` noise levels of a run, falling from 1 to 0.
    ///
    /// `image_tokens` is the length of the image part of the network's sequence; it is read for
    /// dynamic shifting alone.
    ///
    /// # Errors
    ///
    /// Fails for settings that are not built here, for shifts that are no numbers above 0, and for
    /// 0 steps or more than `num_train_timesteps`.
    pub fn sigmas(
        &self,
        steps: usize,
        image_tokens: usize,
    ) -> Result<Vec<f64>, SchedulerConfigError> {
        self.check()?;
        if steps == 0 {
            return Err(StepCountError::Zero.into());
        }
        let most = self.num_train_timesteps;
        if steps > most {
            let spacing = "even";
            let (given, train_steps) = (steps, most);
            return Err(StepCountError::TooMany { given, train_steps, spacing, most }.into());
        }
        let own = self.own_solver()?;
        let constant = if own == Solver::FlowUniPc { self.flow_shift } else { self.shift };
        let strength = match (self.use_dynamic_shifting, self.time_shift_type) {
            // The class for Heun's method knows no other shift.
            (true, _) if own == Solver::FlowHeun => constant,
            (false, _) => constant,
            (true, TimeShift::Exponential) => self.mu(image_tokens).exp(),
            (true, TimeShift::Linear) => self.mu(image_tokens),
        };
        if !(strength.is_finite() && strength > 0.0) {
            return Err(SchedulerConfigError::Shift { shift: strength, image_tokens });
        }
        let shifted = |sigma: f64| strength * sigma / (1.0 + (strength - 1.0) * sigma);
        // How far the last level before the shift lies below 1, and the gaps on the way there.
        let smallest = 1.0 / self.num_train_timesteps as f64;
        let (reach, gaps) = match own {
            Solver::FlowHeun => (1.0 - shifted(smallest), steps.max(2) - 1),
            Solver::FlowUniPc => (1.0 - smallest, steps),
            _ => (1.0, steps),
        };
        let even = (0..steps).map(|k| (1.0 - reach) + reach * (gaps - k) as f64 / gaps as f64);
        Ok(even.map(shifted).chain([0.0]).collect())
    }

    /// The plan of `steps` steps of Euler's method, FLUX's own solver.
    ///
    /// # Errors
    ///
    /// Fails where [`sigmas`](Self::sigmas) does.
    pub fn flow_match_euler(
        &self,
        steps: usize,
        image_tokens: usize,
    ) -> Result<GaussianScheduler, SchedulerConfigError> {
        Ok(GaussianScheduler::flow_match_euler(&self.sigmas(steps, image_tokens)?))
    }

    /// The solver that plans are made for: the one that is chosen, or the file's own.
    ///
    /// # Errors
    ///
    /// Fails for a file of a class that describes no flow, and for the choice of a solver that is
    /// not for flows.
    pub fn solver(&self, choice: SolverChoice) -> Result<Solver, SchedulerConfigError> {
        match choice.solver {
            Some(solver) if !solver.is_for_flows() => Err(SchedulerConfigError::Process {
                solver,
                of: "diffusions",
                base: "a rectified flow",
                choices: Solver::names(Solver::is_for_flows),
            }),
            Some(solver) => Ok(solver),
            None => self.own_solver(),
        }
    }

    /// The plan of `steps` sampling steps by the file's own solver with all of its settings, or by
    /// a chosen one at the file's noise levels. A stochastic one takes its last step along the ODE,
    /// so that no noise is left at the end.
    ///
    /// # Errors
    ///
    /// Fails where [`sigmas`](Self::sigmas) and [`solver`](Self::solver) do, for an eta that does
    /// not fit, and for settings of the file's own solver that are not built here.
    pub fn plan(
        &self,
        steps: usize,
        image_tokens: usize,
        choice: SolverChoice,
    ) -> Result<Box<dyn Scheduler>, SchedulerConfigError> {
        let solver = self.solver(choice)?;
        let eta = choice.eta_of(solver)?;
        if choice.solver.is_none() {
            config::check_settings(solver, &self.other)?;
        }
        let sigmas = self.sigmas(steps, image_tokens)?;
        let sde = |diffusion| {
            let options = FlowSdeOptions { diffusion, eta, stochastic: 0..steps - 1 };
            Box::new(GaussianScheduler::flow_sde(&sigmas, &options))
        };
        Ok(match solver {
            Solver::FlowSdeDance => sde(FlowDiffusion::Constant),
            Solver::FlowSdeGrpo => sde(FlowDiffusion::Ratio),
            Solver::FlowCps => Box::new(GaussianScheduler::flow_cps(&sigmas, eta)),
            Solver::FlowHeun => Box::new(HeunScheduler::flow(&sigmas)),
            Solver::FlowUniPc => Box::new(UniPcScheduler::flow(&sigmas)),
            _ => Box::new(GaussianScheduler::flow_match_euler(&sigmas)),
        })
    }

    /// The solver of the class that the file names.
    fn own_solver(&self) -> Result<Solver, SchedulerConfigError> {
        match self.class_name.as_str() {
            EULER => Ok(Solver::FlowEuler),
            HEUN => Ok(Solver::FlowHeun),
            UNIPC if self.use_flow_sigmas => Ok(Solver::FlowUniPc),
            _ => Err(SchedulerConfigError::NoFlow { class: self.class_name.clone() }),
        }
    }

    fn check(&self) -> Result<(), SchedulerConfigError> {
        let unsupported = [
            ("shift_terminal", self.shift_terminal.is_some()),
            ("invert_sigmas", self.invert_sigmas),
            ("use_karras_sigmas", self.use_karras_sigmas),
            ("use_exponential_sigmas", self.use_exponential_sigmas),
            ("use_beta_sigmas", self.use_beta_sigmas),
            ("stochastic_sampling", self.stochastic_sampling),
        ];
        match unsupported.into_iter().find(|(_, set)| *set) {
            Some((key, _)) => Err(SchedulerConfigError::Unsupported { key }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
