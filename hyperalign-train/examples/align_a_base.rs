//! HyperAlign on the embedded base, towards a reward of one's own: two updates of it.
//!
//! ```console
//! cargo run -p hyperalign-train --example align_a_base
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::Arc;

use burn::tensor::Tensor;
use hyperalign_core::device;
use hyperalign_models::{embedded, pipeline};
use hyperalign_rewards::{Prompt, Reward, emoji::World};
use hyperalign_train::{
    align::{AlignSettings, align},
    data::{EmojiPreferred, TrainingData},
    learner::{Progress, Run},
    method::Materials,
};

/// How bright a picture is, the mean of its values.
struct Brightness;

impl Reward for Brightness {
    fn name(&self) -> &str {
        "brightness"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
        images.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1)
    }

    fn differentiable(&self) -> bool {
        true
    }
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let folder = embedded::folder("emoji-sd").ok_or("built without the embedded models")?;
    let prompts = ["a red heart", "two dogs", "a blue star"];
    let materials = Materials {
        base: pipeline::open(&folder, Some("emoji-sd"), &device)?.into(),
        reward: Some(Arc::new(Brightness)),
        reward_decoder: None,
        prompts: Prompt::of(&prompts),
        // What the paper's regulariser holds on to (arXiv:2601.15968).
        data: TrainingData::Pictures(Arc::new(EmojiPreferred { world: World::SMALL, seed: 0 })),
        sample_prompts: prompts.map(str::to_owned).to_vec(),
        held_out: None,
        attribution: None,
        device,
    };
    // As a TOML file of `hyperalign train` says it; what is left out has its default.
    let settings: AlignSettings = serde_json::from_value(serde_json::json!({
        "method": { "name": "hyperalign", "trajectories": 2, "supervised_steps": 1, "preferred_batch": 2 },
        "trajectory": { "steps": 3, "variant": "s" },
        "network": { "kind": "hypernet", "rank": 2, "a": 4, "b": 4, "width": 16, "layers": 1, "heads": 2,
            "head_gain": 1.0, "position_scale": 0.1 },
        "training": { "updates": 2, "shards": 1 },
        "samples": { "every": 0 },
    }))?;
    let folder = tempfile::tempdir()?;
    let say = Arc::new(|line: &str| println!("{line}"));
    let run = Run { progress: Progress::Lines(say), ..Run::new(folder.path(), "brightness 1") };
    let aligned = align(&materials, &settings, &[0, 2], &run)?;
    let path = aligned.path.ok_or("nobody asked to stop")?;
    println!("{} updates in {:.1} s: {}", aligned.updates, aligned.seconds, path.display());
    assert!(path.exists());
    Ok(())
}
