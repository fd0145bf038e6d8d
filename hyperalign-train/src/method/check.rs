//! Settings of the losses that no run can be made with.

use hyperalign_core::schedule::Scheduler;

use super::HyperAlignSettings;
use crate::learner::SettingsError;

impl HyperAlignSettings {
    /// Checks every number, for the `scheduler` of its steps and a batch that is cut into `shards`
    /// parts.
    ///
    /// # Errors
    ///
    /// Fails at the first setting that no run can be made with.
    pub fn validate(&self, scheduler: &dyn Scheduler, shards: usize) -> Result<(), SettingsError> {
        let check = |ok: bool, name, given: String, expected: &str| {
            let expected = expected.to_owned();
            if ok { Ok(()) } else { Err(SettingsError { name, given, expected }) }
        };
        let weights = [
            ("method.reward_weight", self.reward_weight),
            ("method.regulariser_weight", self.regulariser_weight),
        ];
        for (name, given) in weights {
            check(given >= 0.0 && given.is_finite(), name, given.to_string(), "0 or more")?;
        }
        check(
            weights.iter().any(|(_, weight)| *weight > 0.0),
            "method.reward_weight",
            self.reward_weight.to_string(),
            "above 0 where `method.regulariser_weight` is 0: nothing would be learned",
        )?;
        let guidance = self.guidance_scale;
        check(guidance.is_finite(), "method.guidance_scale", guidance.to_string(), "a number")?;
        let parts = format!("a multiple of training.shards * training.accumulate, {shards}");
        let batches = [
            ("method.trajectories", self.trajectories, self.reward_weight),
            ("method.preferred_batch", self.preferred_batch, self.regulariser_weight),
        ];
        for (name, given, _) in batches.into_iter().filter(|(.., weight)| *weight > 0.0) {
            check(given > 0 && given.is_multiple_of(shards), name, given.to_string(), &parts)?;
        }
        let every = self.reward_every;
        check(every > 0, "method.reward_every", every.to_string(), "1 or more")?;
        let supervised = self.supervised_steps;
        check(supervised > 0, "method.supervised_steps", supervised.to_string(), "1 or more")?;
        let dropout = self.caption_dropout;
        check(
            (0.0..=1.0).contains(&dropout),
            "method.caption_dropout",
            dropout.to_string(),
            "between 0 and 1",
        )?;
        let clip = self.reward_clip.unwrap_or(1.0);
        check(clip > 0.0, "method.reward_clip", clip.to_string(), "above 0")?;
        let views = &self.views;
        let shift = views.shift.to_string();
        check((0.0..=0.5).contains(&views.shift), "method.views.shift", shift, "from 0 to 0.5")?;
        let noise = views.noise;
        let is_size = noise >= 0.0 && noise.is_finite();
        check(is_size, "method.views.noise", noise.to_string(), "0 or more")?;
        let signals: Vec<f64> =
            (0..scheduler.steps()).map(|i| scheduler.level(i).signal.powi(2)).collect();
        let largest = signals.iter().copied().fold(0.0, f64::max);
        check(
            self.min_signal <= largest,
            "method.min_signal",
            self.min_signal.to_string(),
            &format!("at most {largest:.4}, or no step would be supervised"),
        )?;
        let next = signals.into_iter().filter(|&signal| signal >= self.min_signal);
        let next = next.fold(f64::INFINITY, f64::min);
        check(
            self.max_signal >= next,
            "method.max_signal",
            self.max_signal.to_string(),
            &format!("at least {next:.4}, or no step would be supervised"),
        )?;
        let outside = self.key_steps.iter().find(|&&key| key >= scheduler.steps());
        check(
            outside.is_none(),
            "method.key_steps",
            format!("{:?}", self.key_steps),
            &format!("steps of a trajectory, below {}", scheduler.steps()),
        )
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;

    use super::*;

    #[test]
    fn every_setting_that_cannot_be_is_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(10, 0.0).unwrap();
        let good = HyperAlignSettings::default();
        assert_eq!(good.validate(&scheduler, 2), Ok(()));
        type Change = fn(&mut HyperAlignSettings);
        let changes: [(&str, Change); 16] = [
            ("method.reward_weight", |s| s.reward_weight = f64::NAN),
            ("method.reward_weight", |s| (s.reward_weight, s.regulariser_weight) = (0.0, 0.0)),
            ("method.regulariser_weight", |s| s.regulariser_weight = -1.0),
            ("method.guidance_scale", |s| s.guidance_scale = f64::INFINITY),
            ("method.trajectories", |s| s.trajectories = 0),
            ("method.trajectories", |s| s.trajectories = 3),
            ("method.preferred_batch", |s| s.preferred_batch = 5),
            ("method.reward_every", |s| s.reward_every = 0),
            ("method.supervised_steps", |s| s.supervised_steps = 0),
            ("method.caption_dropout", |s| s.caption_dropout = 1.5),
            ("method.min_signal", |s| s.min_signal = 2.0),
            ("method.max_signal", |s| s.max_signal = 0.01),
            ("method.views.shift", |s| s.views.shift = 0.6),
            ("method.views.noise", |s| s.views.noise = f64::INFINITY),
            ("method.reward_clip", |s| s.reward_clip = Some(0.0)),
            ("method.key_steps", |s| s.key_steps = vec![0, 10]),
        ];
        for (name, change) in changes {
            let mut settings = good.clone();
            change(&mut settings);
            let error = settings.validate(&scheduler, 2).unwrap_err();
            assert_eq!(error.name, name, "{error}");
            assert!(error.to_string().contains("it must be"), "{error}");
        }
    }
}
