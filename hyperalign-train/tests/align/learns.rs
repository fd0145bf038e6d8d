//! That methods learn what they are for, from what they need and nothing else.

use hyperalign_core::contract::NoAdapter;
use hyperalign_models::hypernet::{Adapter, Variant};
use hyperalign_train::{
    align::{AlignSettings, align},
    data::TrainingData,
    learner::{Emitted, Objective, Run, Shard},
    method::{FineTuningSettings, HyperAlignSettings, Materials, Method, Setup},
};

use crate::toy::{bases, gain, materials, materials_of, method, scores, settings};

#[test]
fn training_on_a_reward_raises_it_on_new_noise() {
    let mut settings = settings();
    settings.method = HyperAlignSettings { lambda: Some(0.0), trajectories: 8, ..method() }.into();
    settings.training.updates = 100;
    for (base, variants) in bases() {
        // Nothing is learned from data.
        let materials = Materials { data: TrainingData::None, ..materials_of(base) };
        let base = materials.base.as_ref();
        let before = scores(&materials, &NoAdapter);
        for &variant in variants {
            settings.trajectory.variant = variant;
            let dir = tempfile::tempdir().unwrap();
            let aligned = align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
            let as_variant = |variant: Variant| {
                let source = aligned.adapter.source(base, variant, Vec::new());
                scores(&materials, source.as_ref())
            };
            let after = as_variant(variant);
            let (mean, error) = gain(&after, &before);
            assert!(mean > 4.0 * error && mean > 0.02, "{variant:?} gains {mean} +- {error}");
            let other = as_variant(if variant == Variant::S { Variant::I } else { Variant::S });
            let apart = after.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart > 1e-3, "S and I of one network differ by {apart} at most");
        }
    }
}

#[test]
fn fine_tuning_lowers_the_denoising_loss_without_a_reward() {
    for (base, _) in bases() {
        let materials = Materials { reward: None, ..materials_of(base) };
        let method = FineTuningSettings { batch: 8, ..FineTuningSettings::default() };
        let settings = AlignSettings { method: method.clone().into(), ..settings() };
        let dir = tempfile::tempdir().unwrap();
        let aligned = align(&materials, &settings, &[], &Run::new(dir.path(), "")).unwrap();
        assert_eq!(aligned.meta.reward, None);
        let trajectory = settings.trajectory.clone();
        let objective = method.objective(Setup {
            seed: 1,
            materials: materials.clone(),
            trajectory,
            threads: 1,
            micro_steps: 1,
        });
        let losses = |adapter: &Adapter| -> Vec<f64> {
            let loss = |update| {
                let mut emitted = Emitted::default();
                let shard = Shard { index: 0, count: 1 };
                objective.losses(adapter, &(), update, shard, &mut emitted);
                let [part] = emitted.parts.try_into().unwrap();
                part.loss.into_scalar()
            };
            (0..12).map(loss).collect()
        };
        // A fresh adapter is the base.
        let fresh = aligned.meta.init(0, &materials.device).unwrap();
        let (mean, error) = gain(&losses(&aligned.adapter), &losses(&fresh));
        assert!(mean < -5.0 * error && mean < -0.05, "the loss changes by {mean} +- {error}");
    }
}

/// What a run with these settings says of these materials.
fn refusal(materials: &Materials, settings: &AlignSettings) -> String {
    let dir = tempfile::tempdir().unwrap();
    let error = align(materials, settings, &[], &Run::new(dir.path(), "")).unwrap_err();
    assert!(!dir.path().join("checkpoints").exists());
    error.to_string()
}

#[test]
fn what_a_method_needs_is_asked_for_and_nothing_else() {
    let without_reward = Materials { reward: None, ..materials() };
    let told = refusal(&without_reward, &settings());
    assert!(told.contains("`hyperalign` needs a reward"), "{told}");
    let without_data = Materials { data: TrainingData::None, ..materials() };
    let told = refusal(&without_data, &settings());
    assert!(told.contains("learns from preferred pictures"), "{told}");
    let tuned = AlignSettings { method: FineTuningSettings::default().into(), ..settings() };
    let told = refusal(&without_data, &tuned);
    assert!(told.contains("`fine-tuning` learns from preferred pictures"), "{told}");
    let without_prompts = Materials { prompts: Vec::new(), ..materials() };
    let told = refusal(&without_prompts, &settings());
    assert!(told.contains("no prompts"), "{told}");
}
