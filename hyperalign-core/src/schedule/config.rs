//! The scheduler part of a model folder: diffusers' `scheduler_config.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DdimOptions, GaussianScheduler, StepCountError, TimestepSpacing};
use crate::{denoiser::Prediction, diffusion::Process};

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
/// Keys that only other schedulers of diffusers know are ignored: the file is theirs. A key that
/// asks for something that changes pictures and is not built here is an error.
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
    /// Whether the last step ends at noise level 0, or at that of training step 0.
    pub set_alpha_to_one: bool,
    /// How sampling steps are spread.
    pub timestep_spacing: TimestepSpacing,
    /// Clipping of the estimated original, for networks on pixels; not supported.
    pub clip_sample: bool,
    /// Dynamic clipping, for networks on pixels; not supported.
    pub thresholding: bool,
    /// Rescaling to zero terminal signal; not supported.
    pub rescale_betas_zero_snr: bool,
    /// Explicit betas; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_betas: Option<Vec<f64>>,
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
            set_alpha_to_one: true,
            timestep_spacing: TimestepSpacing::Leading,
            clip_sample: false,
            thresholding: false,
            rescale_betas_zero_snr: false,
            trained_betas: None,
        }
    }
}

/// Why a `scheduler_config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerConfigError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}; a model folder has its noise schedule there", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("`{}` is not a scheduler configuration: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Betas outside of (0, 1), or none.
    #[error(
        "betas from {beta_start} to {beta_end} over {train_steps} steps are no noise schedule; \
         both must lie inside (0, 1) and there must be at least one step"
    )]
    Betas {
        /// First beta.
        beta_start: f64,
        /// Last beta.
        beta_end: f64,
        /// Steps of the training schedule.
        train_steps: usize,
    },
    /// A setting that is not built here.
    #[error(
        "the scheduler configuration sets `{key}`, which is not supported and would change the \
         pictures; only a model that was trained without it can be used"
    )]
    Unsupported {
        /// The setting.
        key: &'static str,
    },
    /// A shift that leaves no falling noise levels.
    #[error(
        "the scheduler configuration gives a shift of {shift} for {image_tokens} image tokens; it \
         must be a number above 0"
    )]
    Shift {
        /// The shift.
        shift: f64,
        /// The number of image tokens that it was computed for.
        image_tokens: usize,
    },
    /// The settings of a diffusion where those of a flow are needed.
    #[error(
        "the scheduler configuration is one of diffusers' {class}, which does not describe a \
         rectified flow; that of a FlowMatchEulerDiscreteScheduler was expected"
    )]
    NoFlow {
        /// The class that the file names.
        class: String,
    },
    /// The number of sampling steps does not fit.
    #[error(transparent)]
    StepCount(#[from] StepCountError),
}

/// Reads the settings in `path`.
pub(super) fn read<C: serde::de::DeserializeOwned>(path: &Path) -> Result<C, SchedulerConfigError> {
    let text = std::fs::read_to_string(path)
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
            set_alpha_to_one: false,
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
    /// Fails for betas that make no schedule and for settings that are not built here.
    pub fn process(&self) -> Result<Process, SchedulerConfigError> {
        let unsupported = [
            ("clip_sample", self.clip_sample),
            ("thresholding", self.thresholding),
            ("rescale_betas_zero_snr", self.rescale_betas_zero_snr),
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
        Ok(match self.beta_schedule {
            BetaSchedule::Linear => Process::linear(beta_start, beta_end, train_steps),
            BetaSchedule::ScaledLinear => Process::scaled_linear(beta_start, beta_end, train_steps),
        })
    }

    /// The DDIM plan of `steps` sampling steps.
    ///
    /// # Errors
    ///
    /// Fails where [`process`](Self::process) does, and for a number of steps that does not fit.
    pub fn ddim(&self, steps: usize, eta: f64) -> Result<GaussianScheduler, SchedulerConfigError> {
        let options = DdimOptions {
            eta,
            prediction: self.prediction_type,
            spacing: self.timestep_spacing,
            steps_offset: self.steps_offset,
            set_alpha_to_one: self.set_alpha_to_one,
        };
        Ok(GaussianScheduler::ddim(&self.process()?, steps, options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_of_a_model_folder() {
        // The settings of Stable Diffusion 1.5, which names a scheduler of its own.
        let config: SchedulerConfig = serde_json::from_str(
            r#"{"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0",
                "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true,
                "steps_offset": 1, "trained_betas": null, "clip_sample": false}"#,
        )
        .unwrap();
        let expected = SchedulerConfig {
            class_name: "PNDMScheduler".to_owned(),
            ..SchedulerConfig::stable_diffusion()
        };
        assert_eq!(config, expected);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<SchedulerConfig>(&written).unwrap(), config);
    }

    #[test]
    fn what_is_not_built_is_an_error() {
        let error = |json: &str| {
            serde_json::from_str::<SchedulerConfig>(json)
                .unwrap()
                .ddim(10, 0.0)
                .unwrap_err()
                .to_string()
        };
        assert!(error(r#"{"clip_sample": true}"#).contains("`clip_sample`"));
        assert!(error(r#"{"trained_betas": [0.1]}"#).contains("`trained_betas`"));
        assert!(error(r#"{"beta_end": 1.5}"#).contains("1.5"));
        assert!(error(r#"{"num_train_timesteps": 0}"#).contains("over 0 steps"));
        let unknown = serde_json::from_str::<SchedulerConfig>(r#"{"beta_schedule": "squaredcos"}"#);
        assert!(unknown.unwrap_err().to_string().contains("squaredcos"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = SchedulerConfig::read(Path::new("nowhere/scheduler_config.json")).unwrap_err();
        assert!(error.to_string().contains("nowhere/scheduler_config.json"));
    }
}
