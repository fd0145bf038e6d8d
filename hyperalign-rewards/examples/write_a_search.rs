//! A search of one's own, as a way of making pictures: the best of a few by a reward, with the noises
//! of the seeds that follow.
//!
//! ```console
//! cargo run -p hyperalign-rewards --example write_a_search
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use hyperalign_core::{contract::NoAdapter, device, rows::select_rows, stop::Stop};
use hyperalign_models::{
    embedded,
    generate::{GenerateError, Job, Made, Meter, Plain, Sampling, Shot, Way, generate},
    pipeline,
};
use hyperalign_rewards::{ClipReward, Reward};
use serde_json::{Value, json};

/// Makes `tries` pictures for each that is wanted, and keeps the best.
struct BestOf<'a> {
    tries: u64,
    reward: &'a dyn Reward,
}

impl std::fmt::Debug for BestOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Way for BestOf<'_> {
    fn name(&self) -> String {
        format!("best of {}", self.tries)
    }

    // What its pictures depend on: results are kept under it.
    fn identity(&self) -> Value {
        json!({ "tries": self.tries, "reward": self.reward.version() })
    }

    fn shots_at_once(&self, _: &Sampling) -> usize {
        1
    }

    fn make(&self, job: &Job, stop: &Stop) -> Result<Option<Made>, GenerateError> {
        let Shot { prompt, seed } = &job.shots[0];
        let tries: Vec<Shot> = (0..self.tries)
            .map(|k| Shot::new(prompt.clone(), seed.wrapping_add(k << 32)))
            .collect();
        let job = Job { shots: &tries, ..*job };
        let Some(made) = job.sample(&NoAdapter, stop)? else { return Ok(None) };
        let scores = self.reward.measure(&made.images, &job.prompts());
        let order = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
        let best = (0..scores.len()).max_by(order).unwrap_or_default();
        let notes = vec![json!({ "try": best, "score": scores[best] })];
        Ok(Some(Made { images: select_rows(made.images, &[best]), notes }))
    }
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let embedded = |name| embedded::folder(name).ok_or("built without the embedded models");
    let base = pipeline::open(&embedded("emoji-sd")?, Some("emoji-sd"), &device)?;
    let reward = ClipReward::from_folder("proxy", &embedded("emoji-proxy")?, "", &device)?;

    let shots = [Shot::new("a red heart", 1), Shot::new("two dogs", 2)];
    let (sampling, meter) = (Sampling::new(6, 4.0), Meter::default());
    let job = Job {
        base: base.as_ref(),
        sampling: &sampling,
        shots: &shots,
        decoder: None,
        meter: &meter,
    };
    let mut means = Vec::new();
    for way in [&Plain as &dyn Way, &BestOf { tries: 3, reward: &reward }] {
        let mut scores = Vec::new();
        generate(way, &job, &Stop::default(), &mut |shots, batch| -> Result<(), GenerateError> {
            let prompts: Vec<_> = shots.iter().map(|shot| shot.prompt.clone()).collect();
            scores.extend(reward.measure(&batch.images, &prompts));
            Ok(())
        })?;
        means.push(scores.iter().sum::<f32>() / scores.len() as f32);
        println!("{}: {:.3}", way.name(), means[means.len() - 1]);
    }
    assert!(means[1] >= means[0], "the first try is the picture itself");
    Ok(())
}
