//! The scheduler part of a model folder: diffusers' `scheduler_config.json`.

mod settings;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    DdimOptions, DdpmOptions, Dpmpp2mScheduler, DpmppSdeScheduler, GaussianScheduler,
    HeunScheduler, PndmOptions, PndmScheduler, Scheduler, SchedulerConfigError, SigmaOptions,
    Solver, SolverChoice, TimestepSpacing, UniPcScheduler, Variance, flow_config,
};
use crate::{contract::Prediction, diffusion::Process};

pub(super) use settings::check as check_settings;

/// How the betas lie between their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Evenly.
    Linear,
    /// With evenly spaced square roots.
    ScaledLinear,
}

/// Settings of a noise schedule, under diffusers' names and with its defaults.
///
/// Keys that all solvers share have a field; the others are kept as they are, and read by the
/// solver that the file names. A key that asks for something that changes pictures and is not
/// built here is an error.
///
/// One default differs: `clip_sample` is false where the file does not say, since latents are not
/// bounded; Stable Diffusion's own file says so for the same reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// Name of diffusers' class for these settings.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Steps of the training schedule.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// How the betas lie in between.
    pub beta_schedule: BetaSchedule,
    /// What the network predicts.
    pub prediction_type: Prediction,
    /// Added to every timestep of the leading spacing.
    pub steps_offset: usize,
    /// Whether the last step ends at noise level 0, or at that of training step 0. Where the file
    /// does not say, DDIM does the first and PNDM the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_alpha_to_one: Option<bool>,
    /// How sampling steps are spread. Where the file does not say, it is the solver's choice:
    /// leading for DDIM, DDPM and PNDM, linspace for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestep_spacing: Option<TimestepSpacing>,
    /// Clipping of the estimated original, for networks on pixels; not supported.
    pub clip_sample: bool,
    /// Dynamic clipping, for networks on pixels; not supported.
    pub thresholding: bool,
    /// Whether the schedule is rescaled to end in noise alone (Lin et al. 2023, arXiv:2305.08891).
    pub rescale_betas_zero_snr: bool,
    /// Explicit betas; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_betas: Option<Vec<f64>>,
    /// What single solvers read, and keys of other programs.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: "DDIMScheduler".to_owned(),
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            prediction_type: Prediction::Epsilon,
            steps_offset: 0,
            set_alpha_to_one: None,
            timestep_spacing: None,
            clip_sample: false,
            thresholding: false,
            rescale_betas_zero_snr: false,
            trained_betas: None,
            other: Map::new(),
        }
    }
}

/// Reads the settings in `path`.
pub(super) fn read<C: serde::de::DeserializeOwned>(path: &Path) -> Result<C, SchedulerConfigError> {
    let text = crate::input::read_text(path)
        .map_err(|source| SchedulerConfigError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text)
        .map_err(|source| SchedulerConfigError::Parse { path: path.to_owned(), source })
}

impl SchedulerConfig {
    /// The schedule of Stable Diffusion 1.x.
    pub fn stable_diffusion() -> Self {
        Self {
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: BetaSchedule::ScaledLinear,
            steps_offset: 1,
            set_alpha_to_one: Some(false),
            ..Self::default()
        }
    }

    /// Reads `path`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or has a wrong type or an unknown name in it.
    pub fn read(path: &Path) -> Result<Self, SchedulerConfigError> {
        read(path)
    }

    /// The forward process.
    ///
    /// # Errors
    ///
    /// Fails for betas that make no schedule, for settings that are not built here, and for the
    /// settings of a flow.
    pub fn process(&self) -> Result<Process, SchedulerConfigError> {
        let flow_sigmas = self.other.get("use_flow_sigmas") == Some(&json!(true));
        if flow_config::is_only_for_flows(&self.class_name) || flow_sigmas {
            return Err(SchedulerConfigError::NoDiffusion { class: self.class_name.clone() });
        }
        let unsupported = [
            ("clip_sample", self.clip_sample),
            ("thresholding", self.thresholding),
            ("trained_betas", self.trained_betas.is_some()),
        ];
        if let Some((key, _)) = unsupported.into_iter().find(|(_, set)| *set) {
            return Err(SchedulerConfigError::Unsupported { key });
        }
        let Self { beta_start, beta_end, num_train_timesteps: train_steps, .. } = *self;
        let inside = |beta: f64| beta > 0.0 && beta < 1.0;
        if !inside(beta_start) || !inside(beta_end) || train_steps == 0 {
            return Err(SchedulerConfigError::Betas { beta_start, beta_end, train_steps });
        }
        let process = match self.beta_schedule {
            BetaSchedule::Linear => Process::linear(beta_start, beta_end, train_steps),
            BetaSchedule::ScaledLinear => Process::scaled_linear(beta_start, beta_end, train_steps),
        };
        // From pure noise, a predicted noise says nothing about the picture.
        match (self.rescale_betas_zero_snr, self.prediction_type) {
            (false, _) => Ok(process),
            (true, Prediction::Epsilon) => Err(SchedulerConfigError::ZeroSnr),
            (true, _) => Ok(process.with_zero_terminal_snr()),
        }
    }

    /// The DDIM plan of `steps` sampling steps, whatever solver the file names.
    ///
    /// # Errors
    ///
    /// Fails where [`process`](Self::process) does, and for a number of steps that does not fit.
    pub fn ddim(&self, steps: usize, eta: f64) -> Result<GaussianScheduler, SchedulerConfigError> {
        let options = DdimOptions {
            eta,
            prediction: self.prediction_type,
            spacing: self.spacing(TimestepSpacing::Leading),
            steps_offset: self.steps_offset,
            set_alpha_to_one: self.set_alpha_to_one.unwrap_or(true),
        };
        Ok(GaussianScheduler::ddim(&self.process()?, steps, options)?)
    }

    /// The solver that plans are made for: the one that is chosen, or the file's own.
    ///
    /// # Errors
    ///
    /// Fails for a file that names a solver that is not built, and for the choice of one that is
    /// for flows.
    pub fn solver(&self, choice: SolverChoice) -> Result<Solver, SchedulerConfigError> {
        match choice.solver {
            Some(solver) if solver.is_for_flows() => Err(SchedulerConfigError::Process {
                solver,
                of: "rectified flows",
                base: "a diffusion",
                choices: Solver::names(|solver| !solver.is_for_flows()),
            }),
            Some(solver) => Ok(solver),
            None => {
                let karras = self.other.get("use_karras_sigmas") == Some(&json!(true));
                let solver = Solver::of_class(&self.class_name, karras);
                solver.ok_or_else(|| SchedulerConfigError::Class {
                    class: self.class_name.clone(),
                    choices: Solver::names(|solver| !solver.is_for_flows()),
                })
            }
        }
    }

    /// The plan of `steps` sampling steps, by the file's own solver with all of its settings, or
    /// by a chosen one with the file's noise, prediction, spacing and ends.
    ///
    /// # Errors
    ///
    /// Fails where [`process`](Self::process) and [`solver`](Self::solver) do, for a number of
    /// steps or an eta that does not fit, and for settings of the file's own solver that are not
    /// built here.
    pub fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
    ) -> Result<Box<dyn Scheduler>, SchedulerConfigError> {
        let process = self.process()?;
        let solver = self.solver(choice)?;
        let eta = choice.eta_of(solver)?;
        let own = choice.solver.is_none();
        if own {
            check_settings(solver, &self.other)?;
        }
        let Self { prediction_type: prediction, steps_offset, .. } = *self;
        let karras = match solver {
            Solver::Dpmpp2m | Solver::DpmppSde => false,
            Solver::Dpmpp2mKarras | Solver::DpmppSdeKarras => true,
            _ => own && self.other.get("use_karras_sigmas") == Some(&json!(true)),
        };
        let in_sigma = SigmaOptions {
            prediction,
            spacing: self.spacing(TimestepSpacing::Linspace),
            steps_offset,
            use_karras_sigmas: karras,
        };
        Ok(match solver {
            Solver::Ddim => Box::new(self.ddim(steps, eta)?),
            Solver::Ddpm => {
                let large = own && self.other.get("variance_type") == Some(&json!("fixed_large"));
                let options = DdpmOptions {
                    variance: if large { Variance::FixedLarge } else { Variance::FixedSmall },
                    prediction,
                    spacing: self.spacing(TimestepSpacing::Leading),
                    steps_offset,
                };
                Box::new(GaussianScheduler::ddpm(&process, steps, options)?)
            }
            Solver::Pndm => {
                let options = PndmOptions {
                    prediction,
                    spacing: self.spacing(TimestepSpacing::Leading),
                    steps_offset,
                    set_alpha_to_one: self.set_alpha_to_one.unwrap_or(false),
                };
                Box::new(PndmScheduler::new(&process, steps, options)?)
            }
            Solver::Euler => Box::new(GaussianScheduler::euler(&process, steps, in_sigma)?),
            Solver::EulerAncestral => {
                Box::new(GaussianScheduler::euler_ancestral(&process, steps, eta, in_sigma)?)
            }
            Solver::Dpmpp2m | Solver::Dpmpp2mKarras => {
                Box::new(Dpmpp2mScheduler::new(&process, steps, in_sigma)?)
            }
            Solver::Heun => Box::new(HeunScheduler::diffusion(&process, steps, in_sigma)?),
            Solver::UniPc => Box::new(UniPcScheduler::diffusion(&process, steps, in_sigma)?),
            Solver::DpmppSde | Solver::DpmppSdeKarras => {
                Box::new(DpmppSdeScheduler::new(&process, steps, eta, in_sigma)?)
            }
            Solver::FlowEuler
            | Solver::FlowHeun
            | Solver::FlowUniPc
            | Solver::FlowSdeDance
            | Solver::FlowSdeGrpo
            | Solver::FlowCps => {
                unreachable!("a solver for flows is refused above")
            }
        })
    }

    fn spacing(&self, default: TimestepSpacing) -> TimestepSpacing {
        self.timestep_spacing.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests;
