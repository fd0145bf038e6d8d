//! Scores a folder of pictures, each against the prompt that its PNG file carries.
//!
//! ```console
//! cargo run -p hyperalign-rewards --example score_a_folder
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::{path::Path, slice};

use hyperalign_core::{
    device,
    image::{Metadata, read_png, to_images, write_png},
    stop::Stop,
};
use hyperalign_models::{
    base::Base,
    embedded,
    generate::{Job, Meter, Plain, Sampling, Shot, Way},
    pipeline,
};
use hyperalign_rewards::{ClipReward, Prompt, Reward};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let folder = embedded::folder("emoji-sd").ok_or("built without the embedded models")?;
    let base = pipeline::open(&folder, Some("emoji-sd"), &device)?;
    let pictures = tempfile::tempdir()?;
    draw(base.as_ref(), pictures.path())?;

    // A CLIP in transformers' layout; `hyperalign_rewards::open` has the published rewards.
    let folder = embedded::folder("emoji-proxy").ok_or("built without the embedded models")?;
    let reward = ClipReward::from_folder("emoji-proxy", &folder, "", &device)?;
    for entry in std::fs::read_dir(pictures.path())? {
        let file = entry?.path();
        // Of other programs' files, `png_prompt` and `decode_picture` read the same.
        let (picture, metadata) = read_png(&file)?;
        let settings = metadata.hyperalign.unwrap_or_default();
        let prompt = Prompt::from(settings["prompt"].as_str().ok_or("a picture without a prompt")?);
        // The way of tables: prepared as the published scorer does, to the last bit.
        let score = reward.score_pictures(&[picture], slice::from_ref(&prompt), &device)[0];
        println!("{score:7.3}  {}  {}", file.display(), prompt.text);
        assert!(score.is_finite());
    }
    Ok(())
}

/// Two pictures that say what they show.
fn draw(base: &dyn Base, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let shots = [Shot::new("a red heart", 1), Shot::new("two dogs", 2)];
    let (sampling, meter) = (Sampling::new(6, 4.0), Meter::default());
    let job = Job { base, sampling: &sampling, shots: &shots, decoder: None, meter: &meter };
    let made = Plain.make(&job, &Stop::default())?.ok_or("nobody asked to stop")?;
    for (shot, picture) in shots.iter().zip(to_images(made.images)) {
        let parameters = serde_json::json!({ "prompt": shot.prompt.text });
        let metadata = Metadata { hyperalign: Some(parameters), ..Metadata::default() };
        write_png(&folder.join(format!("{}.png", shot.seed)), &picture, &metadata)?;
    }
    Ok(())
}
