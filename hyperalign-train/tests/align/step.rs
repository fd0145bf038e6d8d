//! HyperAlign's training step.

use std::path::Path;

use hyperalign_models::hypernet::Adapter;
use hyperalign_train::{
    align::{AlignSettings, align},
    learner::Run,
    method::HyperAlignSettings,
};

use crate::toy::{materials, method, settings};

/// The rows of a run's `metrics.jsonl`.
fn rows(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_weight_of_the_reward_is_found_and_written_down() {
    let materials = materials();
    let method = HyperAlignSettings { ratio_updates: 4, reward_ratio: 2.0, ..method() };
    let mut settings = AlignSettings { method: method.clone().into(), ..settings() };
    settings.training.updates = 8;
    settings.training.agreement_every = Some(4);
    let dir = tempfile::tempdir().unwrap();
    let aligned = align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
    let rows = rows(dir.path());
    let of = |row: &serde_json::Value, group: &str, part: &str| row[group][part].as_f64().unwrap();
    let ratio =
        of(&rows[0], "gradient_norm", "reward") / of(&rows[0], "gradient_norm", "regulariser");
    assert!((ratio - 2.0).abs() < 1e-6, "{ratio}");
    let weights: Vec<f64> = rows.iter().map(|row| of(row, "weight", "reward")).collect();
    assert!(weights[..4].windows(2).all(|pair| pair[0] != pair[1]), "{weights:?}");
    assert!(weights[3..].iter().all(|weight| *weight == weights[3]), "{weights:?}");
    let written = Adapter::load(&dir.path().join("adapter.safetensors"), &materials.device);
    for meta in [aligned.meta, written.unwrap().1] {
        assert_eq!(meta.reward.unwrap().weight, Some(weights[3]));
    }
    for (update, row) in rows.iter().enumerate() {
        let share = of(row, "metrics", "limited_share");
        // The median limits about half of the states, in the first update at most half.
        assert!((0.0..=1.0).contains(&share) && (update > 0 || (0.1..=0.5).contains(&share)));
        let agrees = row["metrics"]["reward_agreement"].as_f64();
        assert_eq!(agrees.is_some(), update % 4 == 0, "update {update}");
        assert!(agrees.is_none_or(|cosine| cosine.abs() <= 1.0 + 1e-6), "{agrees:?}");
    }
    // What is given is not looked for.
    let method = HyperAlignSettings { lambda: Some(5.0), ..method };
    settings.method = method.into();
    let dir = tempfile::tempdir().unwrap();
    let aligned = align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
    assert_eq!(aligned.meta.reward.unwrap().weight, Some(0.2));
}

/// A rollout of one update is as one that several share: its states are those of the model before
/// the first of them.
#[test]
fn updates_of_a_span_learn_from_other_states_of_the_same_rollout() {
    let materials = materials();
    let of = |updates_per_rollout| {
        let method =
            HyperAlignSettings { updates_per_rollout: Some(updates_per_rollout), ..method() };
        let mut settings = AlignSettings { method: method.into(), ..settings() };
        settings.training.updates = 2;
        settings.training.optimizer.lr = 1e-12;
        let dir = tempfile::tempdir().unwrap();
        align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
        let reward = |row: &serde_json::Value| row["metrics"]["reward"].as_f64().unwrap();
        rows(dir.path()).iter().map(reward).collect::<Vec<f64>>()
    };
    let (one, two) = (of(1), of(2));
    // Both steps of the first rollout in one update, or one in each of two: views of the second are
    // drawn anew.
    let mean = (two[0] + two[1]) / 2.0;
    assert!((one[0] - mean).abs() < 0.05, "{one:?} {two:?}");
    assert!((one[0] - two[0]).abs() > 1e-4, "{one:?} {two:?}");
}
