//! What a run is watched by.

use std::sync::Arc;

use hyperalign_models::base::Base;
use hyperalign_rewards::{ClipReward, Prompt, Reward, ScoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    eval::{ClipSpace, ImageSpace, Judge, Pixels},
    learner::SettingsError,
};

/// Evaluations along the way, and whether a run ends where its reward is hacked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WatchSettings {
    /// Updates between evaluations; 0 for none.
    pub every: u64,
    /// Prompts of an evaluation.
    pub prompts: usize,
    /// Pictures of each prompt. Diversity is measured among them, so it takes two.
    pub seeds: usize,
    /// Whether the run ends at the first alarm.
    pub stop: bool,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { every: 100, prompts: 24, seeds: 2, stop: false }
    }
}

impl WatchSettings {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// Fails at the first setting that nothing can be watched with.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let require = |ok: bool, name, given: String, expected: &str| match ok {
            true => Ok(()),
            false => Err(SettingsError { name, given, expected: expected.to_owned() }),
        };
        let every = self.every;
        let expected =
            "1 or more where `watch.stop` is set: nothing ends a run that is not watched";
        require(every > 0 || !self.stop, "watch.every", every.to_string(), expected)?;
        let prompts = self.prompts;
        let expected = "2 or more: what differs between prompts is the noise of a comparison";
        require(prompts > 1 || every == 0, "watch.prompts", prompts.to_string(), expected)?;
        let seeds = self.seeds;
        require(seeds > 0 || every == 0, "watch.seeds", seeds.to_string(), "1 or more")
    }
}

/// What nothing is trained against: the prompts that a run is watched on, and who judges its
/// pictures.
#[derive(Clone, Default)]
pub struct HeldOut {
    /// Prompts of the evaluations, of which the first are used.
    pub prompts: Vec<Prompt>,
    /// Rewards that are only looked at.
    pub rewards: Vec<Arc<dyn Reward>>,
    /// Who says what is right, where anyone can.
    pub gold: Option<Arc<dyn Judge + Send + Sync>>,
    /// The network whose space diversity and distances are measured in; pixels where there is none.
    pub space: Option<Arc<ClipReward>>,
}

impl HeldOut {
    /// Whether there is anything that an alarm can go by.
    pub fn judges(&self) -> bool {
        self.gold.is_some() || !self.rewards.is_empty()
    }

    /// Whether pictures of `base` of the first `count` prompts can be scored by all of them, and by
    /// `trained`.
    ///
    /// # Errors
    ///
    /// Fails at the first reward that cannot.
    pub fn check(
        &self,
        base: &dyn Base,
        trained: Option<&dyn Reward>,
        count: usize,
    ) -> Result<(), ScoreError> {
        let prompts = &self.prompts[..count.min(self.prompts.len())];
        let size = base.picture_size();
        let without_rules = prompts.iter().find(|prompt| prompt.row.is_none());
        if let Some(prompt) = without_rules.filter(|_| self.gold.is_some()) {
            let (name, prompt) = ("gold".to_owned(), prompt.text.clone());
            let reason = "a run is watched on prompts with rules where these judge".to_owned();
            return Err(ScoreError::NoRules { name, prompt, reason });
        }
        let rewards = self.rewards.iter().map(AsRef::as_ref).chain(trained);
        rewards.into_iter().try_for_each(|reward| reward.check(size, prompts))
    }

    /// Where pictures are compared.
    pub(super) fn space(&self) -> Box<dyn ImageSpace + '_> {
        match &self.space {
            Some(space) => Box::new(ClipSpace(space)),
            None => Box::new(Pixels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_watch_nothing_are_named() {
        let named = |settings: WatchSettings| settings.validate().map_err(|error| error.name);
        let good = WatchSettings::default();
        assert_eq!(named(good.clone()), Ok(()));
        assert_eq!(named(WatchSettings { prompts: 1, ..good.clone() }), Err("watch.prompts"));
        assert_eq!(named(WatchSettings { seeds: 0, ..good.clone() }), Err("watch.seeds"));
        let off = WatchSettings { every: 0, prompts: 0, ..good };
        assert_eq!(named(off.clone()), Ok(()));
        assert_eq!(named(WatchSettings { stop: true, ..off }), Err("watch.every"));
    }
}
