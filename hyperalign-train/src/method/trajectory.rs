//! How a model is sampled while it learns: shared by all methods.

use hyperalign_core::schedule::Scheduler;
use hyperalign_models::hypernet::Variant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::learner::SettingsError;

/// How trajectories are sampled, those that methods learn from and those of the sample grids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrajectorySettings {
    /// Sampling steps.
    pub steps: usize,
    /// Weight of classifier-free guidance.
    pub guidance_scale: f64,
    /// When the update of a hypernetwork is refreshed.
    pub variant: Variant,
    /// Key steps of P; empty for those of [`key_step_choice`](Self::key_step_choice).
    pub key_steps: Vec<usize>,
    /// How key steps are chosen where none are named.
    pub key_step_choice: KeyStepChoice,
}

/// How key steps are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyStepChoice {
    /// At equal distances over the plan.
    #[default]
    Spread,
    /// By how far the base's one-step estimates move in each step, as the paper chooses them. Where
    /// most of the movement is in the first steps, the last of these updates has to serve the rest
    /// of the trajectory.
    Movement,
}

impl Default for TrajectorySettings {
    fn default() -> Self {
        Self {
            steps: 10,
            guidance_scale: 4.0,
            variant: Variant::S,
            key_steps: Vec::new(),
            key_step_choice: KeyStepChoice::default(),
        }
    }
}

impl TrajectorySettings {
    /// Checks what is known without a base.
    ///
    /// # Errors
    ///
    /// Fails at the first setting that no run can be made with.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let fails =
            |name, given: String, expected: String| Err(SettingsError { name, given, expected });
        if self.steps == 0 {
            return fails("trajectory.steps", "0".to_owned(), "1 or more".to_owned());
        }
        let guidance = self.guidance_scale;
        if !guidance.is_finite() {
            return fails("trajectory.guidance_scale", guidance.to_string(), "a number".to_owned());
        }
        if self.key_steps.iter().any(|&key| key >= self.steps) {
            let expected = format!("steps of a trajectory, below {}", self.steps);
            return fails("trajectory.key_steps", format!("{:?}", self.key_steps), expected);
        }
        Ok(())
    }
}

/// What the settings of a method are checked against.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The steps of a trajectory.
    pub scheduler: &'a dyn Scheduler,
    /// Parts that a batch is cut into: threads times micro-steps.
    pub shards: usize,
}
