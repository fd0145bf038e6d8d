//! A small comparison, for the tests of this folder and of reports.

use std::{collections::BTreeMap, path::Path};

use hyperalign_core::atomic;
use hyperalign_models::hypernet::Variant;
use hyperalign_rewards::geneval::Task;
use serde_json::json;

use super::{
    BaseEntry, Claim, Comparison, Entry, Failure, Folders, Identities, Measurement, Plan, Relation,
    RunRecord, Train, TrainingRecord, Versions,
};
use crate::eval::{PictureCost, Record};

/// Two trained entries with two seeds, one of which takes the other's wall time, another use of the
/// first, and a search.
pub fn comparison() -> Comparison {
    let entry = |name: &str| Entry { name: name.to_owned(), ..Entry::default() };
    let mut file = Comparison { title: "A toy".to_owned(), ..Comparison::default() };
    file.protocol.training_seeds = vec![0, 1];
    file.protocol.reference = Some("s".to_owned());
    file.bases = vec![BaseEntry { name: "b".to_owned(), ..BaseEntry::default() }];
    let timed = Train { time_of: Some("s".to_owned()), ..Train::default() };
    let states = Train { states_per_update: Some(8.0), ..Train::default() };
    file.entries = vec![
        Entry { train: Some(states), curve: true, group: "trained".to_owned(), ..entry("s") },
        Entry { of: Some("s".to_owned()), variant: Some(Variant::I), ..entry("s-as-i") },
        Entry { train: Some(timed), ..entry("lora") },
        Entry { method: Some("best-of-n".to_owned()), ..entry("best") },
    ];
    file.claims = vec![Claim {
        id: "gain".to_owned(),
        text: "S is better than the base".to_owned(),
        left: "s".to_owned(),
        right: vec!["base".to_owned()],
        relation: Relation::Above,
        ..Claim::default()
    }];
    file
}

/// What its files are.
pub fn identities() -> Identities {
    Identities {
        bases: BTreeMap::from([("b".to_owned(), "hash".to_owned())]),
        settings: BTreeMap::from([
            ("s".to_owned(), json!({"lr": 1})),
            ("lora".to_owned(), json!({"lr": 1})),
        ]),
        adapters: BTreeMap::new(),
    }
}

/// The record of a measurement, whose pictures are right as `is_right` says of (row, seed).
pub fn write_run(
    folders: &Folders,
    measurement: &Measurement,
    rows: usize,
    is_right: impl Fn(usize, u64) -> bool,
) {
    let seed = measurement.seed.unwrap_or(0);
    let scores: Vec<Record> = (0..rows)
        .map(|row| {
            let right = is_right(row, seed);
            Record {
                row,
                task: Some(if row % 2 == 0 { Task::Colors } else { Task::Counting }),
                group: None,
                prompt: format!("prompt {row}"),
                seeds: vec![row as u64],
                gold: Some(vec![right]),
                scores: BTreeMap::from([("proxy".to_owned(), vec![f32::from(u8::from(right))])]),
                diversity: None,
                seconds: 0.5,
                wall_seconds: 0.6,
                cost: Some(PictureCost {
                    denoiser_evaluations: 10.0,
                    gradient_passes: 0.0,
                    decodes: 1.0,
                    reward_calls: 0.0,
                }),
            }
        })
        .collect();
    let record = RunRecord {
        id: measurement.id.clone(),
        base: measurement.base.name.clone(),
        entry: measurement.entry.name.clone(),
        seed: measurement.seed,
        versions: Versions {
            program: "0".to_owned(),
            base: "hash".to_owned(),
            prompts: "prompts".to_owned(),
            device: "cpu".to_owned(),
            ..Versions::default()
        },
        training: measurement.training.as_ref().map(|_| TrainingRecord {
            updates: 100,
            states: Some(800.0),
            seconds: 60.0,
            ..TrainingRecord::default()
        }),
        ..RunRecord::default()
    };
    record.write(&folders.measured(&measurement.id), &scores).unwrap();
}

/// A finished comparison of 40 rows in `folder`: the base is right in every fourth row, S in every
/// second, and the others as the base; a failed one among them.
pub fn finished(folder: &Path) -> Plan {
    let (file, folders) = (comparison(), Folders::new(folder));
    let plan = Plan::new(&file, &identities()).unwrap();
    folders.write_plan(&file, &plan).unwrap();
    for measurement in &plan.measurements {
        match measurement.entry.name.as_str() {
            "s" => write_run(&folders, measurement, 40, |row, seed| {
                row % 2 == 0 || row == seed as usize
            }),
            "best" => {
                let what = "out of memory".to_owned();
                Failure { stage: "measure".to_owned(), what }
                    .write(&folders.measured(&measurement.id))
                    .unwrap();
            }
            _ => write_run(&folders, measurement, 40, |row, _| row % 4 == 0),
        }
    }
    atomic::write(&folder.join("elsewhere"), b"").unwrap();
    plan
}
