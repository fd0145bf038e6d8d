//! The controls that HyperAlign has to beat.

use std::time::Duration;

use hyperalign_train::align::{AlignSettings, NetworkSettings, TextStream};

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
    static_lora.network = NetworkSettings::StaticLora { rank: 4, text_stream: TextStream::Frozen };
    // Factors are of the hypernetwork's own parts; the LoRA learns at the whole rate.
    static_lora.training.optimizer.lr_factors.clear();
    vec![
        ("reward-only", reward_only),
        ("regulariser-only", regulariser_only),
        ("static-lora", static_lora),
    ]
}
