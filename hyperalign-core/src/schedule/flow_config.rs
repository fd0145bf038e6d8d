//! The scheduler part of a flow's model folder: diffusers' `scheduler_config.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    FlowDiffusion, FlowSdeOptions, GaussianScheduler, SchedulerConfigError, Solver, SolverChoice,
    StepCountError, config,
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
/// its `FlowMatchEulerDiscreteScheduler`.
///
/// Noise levels are evenly spaced from 1 and then shifted towards 1, since a larger picture needs
/// more noise to be hidden as well (Esser et al. 2024, arXiv:2403.03206, eq. 23). The shift is
/// either a constant or depends on the number of image tokens.
///
/// Keys that only other schedulers of diffusers know are ignored: the file is theirs. A key that
/// asks for something that changes pictures and is not built here is an error.
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
    /// Whether the shift depends on the number of image tokens; `shift` is then not read.
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
}

/// The only class of diffusers that describes a rectified flow here.
pub(super) const CLASS: &str = "FlowMatchEulerDiscreteScheduler";

impl Default for FlowSchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: CLASS.to_owned(),
            num_train_timesteps: 1000,
            shift: 1.0,
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
        let strength = match (self.use_dynamic_shifting, self.time_shift_type) {
            (false, _) => self.shift,
            (true, TimeShift::Exponential) => self.mu(image_tokens).exp(),
            (true, TimeShift::Linear) => self.mu(image_tokens),
        };
        if !(strength.is_finite() && strength > 0.0) {
            return Err(SchedulerConfigError::Shift { shift: strength, image_tokens });
        }
        let shifted = |sigma: f64| strength * sigma / (1.0 + (strength - 1.0) * sigma);
        Ok((0..=steps).rev().map(|k| shifted(k as f64 / steps as f64)).collect())
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

    /// The solver that plans are made for: the one that is chosen, or Euler's method.
    ///
    /// # Errors
    ///
    /// Fails for the choice of a solver that is not for flows.
    pub fn solver(&self, choice: SolverChoice) -> Result<Solver, SchedulerConfigError> {
        match choice.solver {
            Some(solver) if !solver.is_for_flows() => Err(SchedulerConfigError::Process {
                solver,
                of: "diffusions",
                base: "a rectified flow",
                choices: Solver::names(Solver::is_for_flows),
            }),
            solver => Ok(solver.unwrap_or(Solver::FlowEuler)),
        }
    }

    /// The plan of `steps` sampling steps by the chosen solver. A stochastic one takes its last
    /// step along the ODE, so that no noise is left at the end.
    ///
    /// # Errors
    ///
    /// Fails where [`sigmas`](Self::sigmas) and [`solver`](Self::solver) do, and for an eta that
    /// does not fit.
    pub fn plan(
        &self,
        steps: usize,
        image_tokens: usize,
        choice: SolverChoice,
    ) -> Result<GaussianScheduler, SchedulerConfigError> {
        let solver = self.solver(choice)?;
        let eta = choice.eta_of(solver)?;
        let sigmas = self.sigmas(steps, image_tokens)?;
        let diffusion = match solver {
            Solver::FlowSdeDance => FlowDiffusion::Constant,
            Solver::FlowSdeGrpo => FlowDiffusion::Ratio,
            Solver::FlowCps => return Ok(GaussianScheduler::flow_cps(&sigmas, eta)),
            _ => return Ok(GaussianScheduler::flow_match_euler(&sigmas)),
        };
        let options = FlowSdeOptions { diffusion, eta, stochastic: 0..steps - 1 };
        Ok(GaussianScheduler::flow_sde(&sigmas, &options))
    }

    fn check(&self) -> Result<(), SchedulerConfigError> {
        if self.class_name != CLASS {
            return Err(SchedulerConfigError::NoFlow { class: self.class_name.clone() });
        }
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
mod tests {
    use super::*;

    fn from_json(json: &str) -> FlowSchedulerConfig {
        serde_json::from_str(json).unwrap()
    }

    /// What FLUX's folders hold.
    #[test]
    fn reads_the_files_of_flux() {
        let dev = from_json(
            r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.0",
                "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096,
                "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0,
                "use_dynamic_shifting": true}"#,
        );
        assert_eq!(dev, FlowSchedulerConfig::flux_dev());
        let schnell = from_json(
            r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000,
                "shift": 1.0, "use_dynamic_shifting": false, "base_shift": 0.5,
                "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}"#,
        );
        assert_eq!(schnell, FlowSchedulerConfig::flux_schnell());
        let written = serde_json::to_string(&dev).unwrap();
        assert_eq!(from_json(&written), dev);
    }

    #[test]
    fn the_dynamic_shift_is_linear_in_the_tokens() {
        let dev = FlowSchedulerConfig::flux_dev();
        let shift = |tokens| dev.mu(tokens);
        assert!((shift(256) - 0.5).abs() < 1e-12 && (shift(4096) - 1.15).abs() < 1e-12);
        assert!((shift(2176) - 0.825).abs() < 1e-12);
        // More tokens, more noise at the same step.
        let sigmas = |tokens| dev.sigmas(4, tokens).unwrap();
        let (small, large) = (sigmas(256), sigmas(4096));
        assert!(small.iter().zip(&large).skip(1).take(3).all(|(a, b)| a < b));
        let at = 1.15_f64.exp() / (1.15_f64.exp() + (1.0 / 0.75 - 1.0));
        assert!((large[1] - at).abs() < 1e-12);
    }

    #[test]
    fn the_constant_shift() {
        let config = FlowSchedulerConfig { shift: 3.0, ..FlowSchedulerConfig::default() };
        let expected = [1.0, 0.9, 0.75, 0.5, 0.0];
        for (found, expected) in config.sigmas(4, 7).unwrap().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12);
        }
        let linear = FlowSchedulerConfig {
            use_dynamic_shifting: true,
            time_shift_type: TimeShift::Linear,
            base_shift: 3.0,
            max_shift: 3.0,
            ..FlowSchedulerConfig::default()
        };
        assert_eq!(linear.sigmas(4, 7).unwrap(), config.sigmas(4, 7).unwrap());
    }

    #[test]
    fn plans_by_name() {
        use crate::schedule::Scheduler;
        let plan = |solver, eta| {
            let choice = SolverChoice { solver, eta };
            FlowSchedulerConfig::flux_dev().plan(4, 1024, choice)
        };
        let noisy = |plan: GaussianScheduler| -> Vec<bool> {
            (0..4).map(|i| plan.needs_noise(i)).collect()
        };
        assert_eq!(noisy(plan(None, None).unwrap()), [false; 4]);
        for solver in [Solver::FlowSdeDance, Solver::FlowSdeGrpo, Solver::FlowCps] {
            assert_eq!(noisy(plan(Some(solver), None).unwrap()), [true, true, true, false]);
            assert_eq!(noisy(plan(Some(solver), Some(0.0)).unwrap()), [false; 4]);
        }
        let error = plan(Some(Solver::Ddim), None).unwrap_err().to_string();
        assert!(error.contains("ddim is one for diffusions"), "{error}");
        assert!(error.ends_with("flow-euler, flow-sde-dance, flow-sde-grpo, flow-cps"), "{error}");
        let error = plan(None, Some(0.5)).unwrap_err().to_string();
        assert!(error.contains("flow-euler has no eta"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let error = |json, steps| from_json(json).sigmas(steps, 64).unwrap_err().to_string();
        assert!(error("{}", 0).contains("0 sampling steps"));
        assert!(error("{}", 1001).contains("at most 1000"));
        assert!(error(r#"{"shift": 0}"#, 4).contains("shift of 0"));
        assert!(error(r#"{"shift_terminal": 0.02}"#, 4).contains("`shift_terminal`"));
        assert!(error(r#"{"use_karras_sigmas": true}"#, 4).contains("`use_karras_sigmas`"));
        let equal = r#"{"use_dynamic_shifting": true, "max_image_seq_len": 256}"#;
        assert!(error(equal, 4).contains("64 image tokens"));
        let other = r#"{"_class_name": "PNDMScheduler"}"#;
        assert!(error(other, 4).contains("PNDMScheduler"));
    }
}
