//! One LoRA in two conventions: written as PEFT and diffusers name layers, read, and written as
//! kohya's sd-scripts do.
//!
//! ```console
//! cargo run -p hyperalign-models --example convert_a_lora
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use hyperalign_core::{
    device,
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream, normal},
};
use hyperalign_models::{
    embedded,
    lora::{Convention, LoraFile, Part},
    pipeline,
};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let folder = embedded::folder("emoji-sd").ok_or("built without the embedded models")?;
    let base = pipeline::open(&folder, Some("emoji-sd"), &device)?;
    // What files may call the layers of this base.
    let layers = base.lora_layers().ok_or("no convention names its layers")?;

    let random =
        |shape, layer, purpose| normal(shape, [Stream::new(7, purpose, layer, 0)], &device);
    let update = |(k, target): (u32, hyperalign_core::lora::LoraTarget)| {
        let down = random([1, target.d_input, 4], k, Purpose::Init);
        let up = Some(random([1, 4, target.d_output], k, Purpose::Search));
        (target.path, LoraDelta { down_aux: None, down, up, up_aux: None, scale: 0.5 })
    };
    let set = LoraSet::new((0..).zip(base.lora_targets()).map(update));

    let folder = tempfile::tempdir()?;
    let [peft, kohya] =
        ["peft", "kohya"].map(|name| folder.path().join(format!("{name}.safetensors")));
    LoraFile::of_set("made here", &set, &layers, Part::Denoiser).write(
        &peft,
        &layers,
        Convention::Peft,
    )?;
    // A key that matches no layer would be an error that names the nearest one.
    LoraFile::open(&peft, &layers, &device)?.write(&kohya, &layers, Convention::Kohya)?;
    let back = LoraFile::open(&kohya, &layers, &device)?;

    let back = back.set(&layers, Part::Denoiser, 1.0, &device);
    let (path, delta) = set.iter().next().ok_or("the base has layers")?;
    let other = &back.at(path)[0];
    let error: f32 = (delta.change() - other.change()).abs().max().into_scalar();
    println!("{} layers; {path} differs by {error:.1e}", back.len());
    assert!(back.len() == set.len() && error < 1e-6);
    Ok(())
}
