//! Settings of the losses that no run can be made with.

use super::HyperAlignSettings;
use crate::{learner::SettingsError, method::Plan};

/// Checks every number.
pub(super) fn check(settings: &HyperAlignSettings, plan: &Plan) -> Result<(), SettingsError> {
    let check = |ok: bool, name, given: String, expected: &str| {
        let expected = expected.to_owned();
        if ok { Ok(()) } else { Err(SettingsError { name, given, expected }) }
    };
    let Plan { scheduler, shards } = *plan;
    let lambda = settings.lambda.unwrap_or(1.0);
    let is_weight = lambda >= 0.0 && lambda.is_finite();
    check(is_weight, "method.lambda", lambda.to_string(), "0 or more")?;
    let ratio = settings.reward_ratio;
    let is_ratio = ratio > 0.0 && ratio.is_finite();
    check(is_ratio, "method.reward_ratio", ratio.to_string(), "above 0")?;
    let found_in = settings.ratio_updates;
    check(found_in > 0, "method.ratio_updates", found_in.to_string(), "1 or more")?;
    let parts = format!("a multiple of training.shards * training.accumulate, {shards}");
    let preferred = settings.is_regularised().then_some(settings.preferred_batch);
    for (name, given) in [
        ("method.trajectories", Some(settings.trajectories)),
        ("method.preferred_batch", preferred),
    ] {
        let Some(given) = given else { continue };
        check(given > 0 && given.is_multiple_of(shards), name, given.to_string(), &parts)?;
    }
    let supervised = settings.supervised_steps;
    check(supervised > 0, "method.supervised_steps", supervised.to_string(), "1 or more")?;
    let dropout = settings.caption_dropout;
    let is_share = (0.0..=1.0).contains(&dropout);
    check(is_share, "method.caption_dropout", dropout.to_string(), "between 0 and 1")?;
    let clip = settings.trajectory_clip;
    let is_limit = clip >= 0.0 && clip.is_finite();
    check(is_limit, "method.trajectory_clip", clip.to_string(), "0 or more")?;
    let views = &settings.views;
    let shift = views.shift.to_string();
    check((0.0..=0.5).contains(&views.shift), "method.views.shift", shift, "from 0 to 0.5")?;
    let noise = views.noise;
    let is_size = noise >= 0.0 && noise.is_finite();
    check(is_size, "method.views.noise", noise.to_string(), "0 or more")?;
    let signals: Vec<f64> =
        (0..scheduler.steps()).map(|i| scheduler.level(i).signal.powi(2)).collect();
    let largest = signals.iter().copied().fold(0.0, f64::max);
    check(
        settings.min_signal <= largest,
        "method.min_signal",
        settings.min_signal.to_string(),
        &format!("at most {largest:.4}, or no step would be supervised"),
    )?;
    let next = signals.into_iter().filter(|&signal| signal >= settings.min_signal);
    let next = next.fold(f64::INFINITY, f64::min);
    check(
        settings.max_signal >= next,
        "method.max_signal",
        settings.max_signal.to_string(),
        &format!("at least {next:.4}, or no step would be supervised"),
    )?;
    let updates = settings.updates_of_a_rollout();
    let steps = settings.allowed(scheduler).len().min(supervised) as u64;
    check(
        updates > 0 && steps.is_multiple_of(updates),
        "method.updates_per_rollout",
        updates.to_string(),
        &format!("a divisor of the steps of a trajectory that are supervised, {steps}"),
    )
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;

    use super::*;

    #[test]
    fn every_setting_that_cannot_be_is_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(10, 0.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let good = HyperAlignSettings::default();
        assert_eq!(check(&good, &plan), Ok(()));
        type Change = fn(&mut HyperAlignSettings);
        let changes: [(&str, Change); 17] = [
            ("method.lambda", |s| s.lambda = Some(f64::NAN)),
            ("method.lambda", |s| s.lambda = Some(-1.0)),
            ("method.reward_ratio", |s| s.reward_ratio = 0.0),
            ("method.ratio_updates", |s| s.ratio_updates = 0),
            ("method.updates_per_rollout", |s| s.updates_per_rollout = Some(0)),
            ("method.updates_per_rollout", |s| s.updates_per_rollout = Some(3)),
            // Only so many steps may be supervised.
            ("method.updates_per_rollout", |s| {
                (s.supervised_steps, s.updates_per_rollout) = (8, Some(8));
            }),
            ("method.trajectories", |s| s.trajectories = 0),
            ("method.trajectories", |s| s.trajectories = 3),
            ("method.preferred_batch", |s| s.preferred_batch = 5),
            ("method.supervised_steps", |s| s.supervised_steps = 0),
            ("method.caption_dropout", |s| s.caption_dropout = 1.5),
            ("method.min_signal", |s| s.min_signal = 2.0),
            ("method.max_signal", |s| s.max_signal = 0.01),
            ("method.views.shift", |s| s.views.shift = 0.6),
            ("method.views.noise", |s| s.views.noise = f64::INFINITY),
            ("method.trajectory_clip", |s| s.trajectory_clip = -1.0),
        ];
        for (name, change) in changes {
            let mut settings = good.clone();
            change(&mut settings);
            let error = check(&settings, &plan).unwrap_err();
            assert_eq!(error.name, name, "{error}");
            assert!(error.to_string().contains("it must be"), "{error}");
        }
    }
}
