//! What rewards say that a picture takes, beside what it takes.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, process::Command};

use hyperalign_core::memory;
use hyperalign_core::testing;
use hyperalign_rewards::{Files, Reward, entry};
use image::RgbImage;

#[allow(dead_code, reason = "other tests use the rest")]
mod tiny;

use tiny::{blip_folder, clip_folder, open, picture, prompts};

/// What to measure: the name of a reward, and how many pictures.
const WHAT: &str = "HYPERALIGN_MEASURE";
/// The file to write the bytes of a picture to: estimated, measured.
const TO: &str = "HYPERALIGN_MEASURED";

/// The bytes of a picture. `None` where the system does not tell.
fn estimated_and_measured(what: &str) -> Option<[f64; 2]> {
    memory::peak()?; // Not every system tells.
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("bytes");
    let mut measure = Command::new(std::env::current_exe().unwrap());
    measure.args(["--exact", "measure"]).env(WHAT, what).env(TO, &to);
    let output = measure.output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(to).unwrap();
    let bytes: Vec<f64> = text.split(' ').map(|bytes| bytes.parse().unwrap()).collect();
    Some([bytes[0], bytes[1]])
}

#[test]
fn the_estimate_is_above_what_is_taken_and_not_far() {
    for what in ["clip_score 3000", "aesthetic 3000", "image_reward 3000"] {
        let Some([estimated, measured]) = estimated_and_measured(what) else { return };
        let ratio = estimated / measured;
        assert!((1.0..3.0).contains(&ratio), "{what}: {estimated} said, {measured} measured");
    }
}

/// Measures one reward for the other test, in a process of its own, because the peak is that of the
/// whole process; does nothing otherwise. By hand, `HYPERALIGN_MEASURE="random:aesthetic 16"` measures
/// published sizes.
#[test]
fn measure() {
    let Ok(what) = std::env::var(WHAT) else { return };
    let (name, count) = what.split_once(' ').unwrap();
    let (count, device) = (count.parse::<usize>().unwrap(), testing::cpu());
    let _folder;
    let (reward, edge): (std::sync::Arc<dyn Reward>, u32) = match name.strip_prefix("random:") {
        Some(name) => (entry(name).unwrap().random(&device).unwrap().into(), 224),
        None => {
            let folder = if name == "image_reward" { blip_folder() } else { clip_folder() };
            let reward = open(name, &Files::all(Some(folder.path())), &device).unwrap();
            _folder = folder;
            (reward, 12)
        }
    };
    let pictures: Vec<RgbImage> = (0..count).map(|k| picture(edge, edge, k as f64)).collect();
    let texts = prompts(&vec!["a red heart"; count]);
    reward.score_pictures(&pictures[..1], &texts[..1], &device);
    // The peak from here on, and not that of making the weights.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory::peak().unwrap();
    reward.score_pictures(&pictures, &texts, &device);
    let measured = (memory::peak().unwrap() - before) / count as u64;
    let to = PathBuf::from(std::env::var_os(TO).unwrap());
    std::fs::write(to, format!("{} {measured}", reward.memory_per_picture())).unwrap();
}
