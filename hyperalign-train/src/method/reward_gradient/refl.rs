//! ReFL (Xu et al. 2023, arXiv:2304.05977): the reward of a one-step estimate from a late step of the
//! model's own trajectory, held to the data by the denoising loss.

use hyperalign_core::{
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Data, Recipe, RewardGradient, Supervised};
use crate::{
    learner::SettingsError,
    method::{
        DataNeed, Method, Needs, NoiseNeed, Plan, RewardNeed, Setup, check, policy::one_step_solver,
    },
};

/// Hyper-parameters of ReFL.
///
/// Trajectories of the published recipe are sampled without guidance: `trajectory.guidance_scale` 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReflSettings {
    /// Trajectories of an update.
    pub trajectories: usize,
    /// The part at the end of the plan that the supervised step is drawn from, as a share of the
    /// steps; one step is drawn for an update. Published: the last 10 of 40 steps.
    pub last_share: f64,
    /// The share of noise that the steps of a trajectory draw: of DDIM, or the diffusion of a flow's
    /// SDE. The published recipe for diffusions has 1.
    pub eta: f64,
    /// How much the reward weighs beside the denoising loss.
    pub reward_scale: f64,
    /// The score above which a picture is good enough, and teaches nothing; none where nothing is
    /// said. Published: 2, for ImageReward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Preferred pictures an update, for the denoising loss. With 0 there is the reward alone, as in
    /// the published code, whose users find the result worse than the base; no data is needed then.
    pub preferred_batch: usize,
    /// Probability that the prompt of a preferred picture is dropped.
    pub caption_dropout: f64,
}

impl Default for ReflSettings {
    fn default() -> Self {
        Self {
            trajectories: 8,
            last_share: 0.25,
            eta: 0.0,
            reward_scale: 0.1,
            threshold: None,
            preferred_batch: 16,
            caption_dropout: 0.1,
        }
    }
}

impl Method for ReflSettings {
    type Objective = RewardGradient;

    const NAME: &'static str = "refl";

    fn needs(&self) -> Needs {
        let data = if self.preferred_batch > 0 { DataNeed::Pictures } else { DataNeed::None };
        Needs { noise: NoiseNeed::Either, ..Needs::new(RewardNeed::Gradient, data) }
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        one_step_solver(process, Solver::FlowSdeDance, self.eta)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.trajectories", self.trajectories, plan.shards)?;
        let share = self.last_share;
        let is_share = share > 0.0 && share <= 1.0;
        check::require(is_share, "method.last_share", share, "above 0 and at most 1")?;
        check::positive("method.reward_scale", self.reward_scale)?;
        let threshold = self.threshold.unwrap_or(0.0);
        check::require(threshold.is_finite(), "method.threshold", threshold, "a number")?;
        if self.preferred_batch > 0 {
            check::batch("method.preferred_batch", self.preferred_batch, plan.shards)?;
        }
        check::share("method.caption_dropout", self.caption_dropout)
    }

    fn objective(&self, setup: Setup) -> RewardGradient {
        let Self { preferred_batch: batch, caption_dropout, .. } = *self;
        let recipe = Recipe {
            trajectories: self.trajectories,
            solver: self.solver(setup.base().process()),
            supervised: Supervised::OneStep { share: self.last_share },
            threshold: self.threshold,
            weight: self.reward_scale,
            data: (batch > 0).then_some(Data { batch, caption_dropout }),
        };
        RewardGradient::new(recipe, setup)
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 0.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let good = ReflSettings::default();
        assert_eq!(good.check(&plan), Ok(()));
        assert_eq!(good.needs().data, DataNeed::Pictures);
        let alone = ReflSettings { preferred_batch: 0, ..good.clone() };
        assert_eq!(alone.check(&plan), Ok(()));
        assert_eq!(alone.needs().data, DataNeed::None);
        type Change = fn(&mut ReflSettings);
        let wrong: [(&str, Change); 5] = [
            ("method.trajectories", |s| s.trajectories = 1),
            ("method.last_share", |s| s.last_share = 0.0),
            ("method.reward_scale", |s| s.reward_scale = 0.0),
            ("method.threshold", |s| s.threshold = Some(f64::NAN)),
            ("method.preferred_batch", |s| s.preferred_batch = 3),
        ];
        for (name, change) in wrong {
            let mut settings = good.clone();
            change(&mut settings);
            assert_eq!(settings.check(&plan).unwrap_err().name, name);
        }
    }
}
