//! The controls that HyperAlign has to beat.

use std::time::Duration;

use hyperalign_train::{
    align::AlignSettings,
    method::{FineTuningSettings, HyperAlignSettings, MethodSettings},
};

/// Pictures of each method in the table of the controls, at least.
const PICTURES: usize = 1020;

/// `settings` with enough prompts for the table of the controls.
pub(super) fn measured(settings: &AlignSettings) -> AlignSettings {
    let mut settings = settings.clone();
    let of = &mut settings.evaluation;
    of.prompts = of.prompts.max(PICTURES.div_ceil(of.seeds));
    settings
}

/// Reward only, preferred pictures only, and a LoRA that is the same for every prompt and step: the
/// same data, settings and wall time. `None` for another method, which has no controls.
pub(super) fn all(
    main: &AlignSettings,
    wall_time: Duration,
) -> Option<Vec<(&'static str, AlignSettings)>> {
    let MethodSettings::Hyperalign(method) = &main.method else { return None };
    let timed = |method: MethodSettings| {
        let mut settings = AlignSettings { method, ..main.clone() };
        settings.training.updates = u64::MAX;
        settings.training.time_limit = Some(wall_time);
        settings
    };
    let reward_only = HyperAlignSettings { lambda: Some(0.0), ..method.clone() };
    let HyperAlignSettings { preferred_batch: batch, caption_dropout, .. } = *method;
    let regulariser_only = FineTuningSettings { batch, caption_dropout };
    let mut static_lora = timed(main.method.clone());
    static_lora.network = main.network.static_lora();
    // Factors are of the hypernetwork's own parts; the LoRA learns at the whole rate.
    static_lora.training.optimizer.lr_factors.clear();
    Some(vec![
        ("reward-only", timed(reward_only.into())),
        ("regulariser-only", timed(regulariser_only.into())),
        ("static-lora", static_lora),
    ])
}
