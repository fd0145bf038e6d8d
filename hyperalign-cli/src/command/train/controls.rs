//! The controls that HyperAlign has to beat.

use std::time::Duration;

use hyperalign_train::align::AlignSettings;

/// Pictures of each method in the table of the controls, at least.
const PICTURES: usize = 1020;

/// `settings` with enough prompts for the table of the controls.
pub(super) fn measured(settings: &AlignSettings) -> AlignSettings {
    let mut settings = settings.clone();
    let of = &mut settings.evaluation;
    of.prompts = of.prompts.max(PICTURES.div_ceil(of.seeds));
    settings
}

/// Reward only, regulariser only, and a LoRA that is the same for every prompt and step: the same
/// data, settings and wall time.
pub(super) fn all(
    hyperalign: &AlignSettings,
    wall_time: Duration,
) -> Vec<(&'static str, AlignSettings)> {
    let timed = || {
        let mut settings = hyperalign.clone();
        settings.training.updates = u64::MAX;
        settings.training.time_limit = Some(wall_time);
        settings
    };
    let mut reward_only = timed();
    reward_only.method.regulariser_weight = 0.0;
    let mut regulariser_only = timed();
    regulariser_only.method.reward_weight = 0.0;
    let mut static_lora = timed();
    static_lora.network = hyperalign.network.static_lora();
    // Factors are of the hypernetwork's own parts; the LoRA learns at the whole rate.
    static_lora.training.optimizer.lr_factors.clear();
    vec![
        ("reward-only", reward_only),
        ("regulariser-only", regulariser_only),
        ("static-lora", static_lora),
    ]
}
