//! Runs that are watched: a reward that can be cheated, and one that cannot.

use std::{path::Path, sync::Arc};

use burn::tensor::Tensor;
use hyperalign_core::testing::Brightness;
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::{Prompt, Reward};
use hyperalign_train::{
    align::{AlignError, AlignSettings, Aligned, align, check},
    data::TrainingData,
    learner::{End, Resume, Run},
    method::{DraftSettings, FineTuningSettings, Materials},
    watch::{HeldOut, WatchSettings},
};
use serde_json::Value;

use crate::toy::{materials, settings, static_lora};

/// Likes pictures the more the brighter they are, up to a brightness from which on it is all too much.
struct Moderate(f64);

impl Reward for Moderate {
    fn name(&self) -> &str {
        "moderate"
    }
    fn version(&self) -> String {
        self.0.to_string()
    }
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let above = Brightness.score(images, prompts) - self.0;
        above.clone().min_pair(above * -2.0)
    }
    fn differentiable(&self) -> bool {
        true
    }
}

/// Brightness is trained against, and `best` is what is really wanted.
fn watched(best: f64) -> Materials {
    let toy = materials();
    let held_out = HeldOut {
        prompts: toy.prompts.iter().cycle().take(64).cloned().collect(),
        rewards: vec![Arc::new(Moderate(best))],
        ..HeldOut::default()
    };
    Materials {
        reward: Some(Arc::new(Brightness)),
        data: TrainingData::None,
        held_out: Some(held_out),
        ..toy
    }
}

fn draft(stop: bool) -> AlignSettings {
    let mut settings = AlignSettings {
        method: DraftSettings { trajectories: 4, last_steps: 2 }.into(),
        network: static_lora(),
        watch: WatchSettings { every: 10, prompts: 64, seeds: 2, stop },
        ..settings()
    };
    settings.training.updates = 100;
    settings.training.optimizer.lr = 3e-2;
    settings.training.checkpoint_every = 5;
    settings
}

fn rows(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("watch.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn trained(materials: &Materials, settings: &AlignSettings, dir: &Path, resume: Resume) -> Aligned {
    align(materials, settings, &[], &Run { resume, ..Run::new(dir, "") }).unwrap()
}

#[test]
fn a_reward_that_is_cheated_ends_the_run_and_the_best_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (materials, settings) = (watched(-0.02), draft(true));
    let aligned = trained(&materials, &settings, dir.path(), Resume::Fresh);
    let rows = rows(dir.path());
    assert_eq!(aligned.end, End::ByObjective, "{rows:?}");
    assert_eq!(aligned.watched.alarm, Some(aligned.updates));
    assert!((20..100).contains(&aligned.updates), "{rows:?}");
    let (of, path) = aligned.watched.best.clone().unwrap();
    assert!(of < aligned.updates);
    let updates: Vec<u64> = rows.iter().map(|row| row["update"].as_u64().unwrap()).collect();
    assert_eq!(updates, (0..=aligned.updates).step_by(10).collect::<Vec<_>>());
    let score = |row: &Value| row["held_out_score"].as_f64().unwrap();
    let highest = rows.iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert_eq!(highest["update"], of);
    let last = rows.last().unwrap();
    assert_eq!(last["alarm"]["since"], of);
    assert!(rows[..rows.len() - 1].iter().all(|row| row.get("alarm").is_none()));
    assert!(rows[0]["distance_to_base"].as_f64().unwrap().abs() < 1e-6);
    assert!(last["distance_to_base"].as_f64().unwrap() > 1e-3, "{last}");
    assert!(last["diversity"].as_f64().unwrap() > 0.0, "{last}");
    // Both can be used.
    for file in [path, dir.path().join("adapter.safetensors")] {
        Adapter::load(&file, &materials.device).unwrap();
    }

    // A run that has ended so does not go on by itself, but by another decision.
    let again = trained(&materials, &settings, dir.path(), Resume::Continue);
    assert_eq!((again.end, again.updates), (End::ByObjective, aligned.updates));
    let on = trained(&materials, &draft(false), dir.path(), Resume::Continue);
    assert_eq!((on.end, on.updates), (End::Finished, 100));
    assert_eq!(on.watched, aligned.watched);
}

#[test]
fn an_honest_reward_is_not_accused() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing is as bright as what is wanted.
    let aligned = trained(&watched(3.0), &draft(true), dir.path(), Resume::Fresh);
    assert_eq!((aligned.end, aligned.watched.alarm), (End::Finished, None));
    let (best, path) = aligned.watched.best.unwrap();
    assert!(best >= 40 && path.is_file(), "{best}");
}

#[test]
fn a_watched_run_that_is_cut_ends_with_the_bytes_of_a_whole_one() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let materials = watched(-0.02);
    let mut settings = draft(false);
    settings.training.updates = 70;
    let uncut = trained(&materials, &settings, whole.path(), Resume::Fresh);
    for (updates, resume) in [(13, Resume::Fresh), (33, Resume::Continue), (70, Resume::Continue)] {
        settings.training.updates = updates;
        trained(&materials, &settings, cut.path(), resume);
    }
    assert!(uncut.watched.alarm.is_some() && uncut.watched.best.is_some());
    for name in ["adapter.safetensors", "best.safetensors", "watch.jsonl"] {
        let file = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
        assert!(file(whole.path()) == file(cut.path()), "{name} differs");
    }
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let told = |materials: &Materials, settings: &AlignSettings| {
        check(materials, settings).unwrap_err().to_string()
    };
    let nobody = Materials { held_out: None, ..watched(0.0) };
    assert!(told(&nobody, &draft(true)).contains("--held-out"));
    check(&nobody, &draft(false)).unwrap();
    let trained = HeldOut { rewards: vec![Arc::new(Brightness)], ..watched(0.0).held_out.unwrap() };
    let materials = Materials { held_out: Some(trained), ..watched(0.0) };
    let error = check(&materials, &draft(false)).unwrap_err();
    assert!(matches!(error, AlignError::HeldOutIsTrained { .. }), "{error}");
    // A method that learns from no reward may be watched by any.
    let data = crate::toy::materials().data;
    let method = FineTuningSettings { batch: 8, ..FineTuningSettings::default() }.into();
    check(&Materials { data, ..materials }, &AlignSettings { method, ..draft(false) }).unwrap();
}
