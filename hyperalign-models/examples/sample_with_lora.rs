//! Pictures of a base with a static LoRA, which is an argument of the network and changes no weight.
//!
//! ```console
//! cargo run -p hyperalign-models --example sample_with_lora
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use hyperalign_core::{
    contract::{NoAdapter, StaticAdapter},
    device,
    image::{grid, to_images, write_png},
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream, normal},
    stop::Stop,
};
use hyperalign_models::{
    embedded,
    generate::{Job, Meter, Sampling, Shot},
    pipeline,
};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let folder = embedded::folder("emoji-sd").ok_or("built without the embedded models")?;
    let base = pipeline::open(&folder, Some("emoji-sd"), &device)?;

    // A random update of rank 2 for every layer that can be adapted; one from a file is read by
    // `lora::Overlaid`, and lies below whatever is sampled with.
    let random =
        |shape, layer, purpose| normal(shape, [Stream::new(7, purpose, layer, 0)], &device);
    let update = |(layer, target): (u32, hyperalign_core::lora::LoraTarget)| {
        let delta = LoraDelta {
            down_aux: None,
            down: random([1, target.d_input, 2], layer, Purpose::Init),
            up: Some(random([1, 2, target.d_output], layer, Purpose::Search)),
            up_aux: None,
            scale: 0.02,
        };
        (target.path, delta)
    };
    let lora = LoraSet::new((0..).zip(base.lora_targets()).map(update));

    let sampling = Sampling::new(6, 4.0);
    let shots = [Shot::new("a red heart", 1), Shot::new("two dogs", 2)];
    let meter = Meter::default();
    let job = Job {
        base: base.as_ref(),
        sampling: &sampling,
        shots: &shots,
        decoder: None,
        meter: &meter,
    };
    let stop = Stop::default();
    let plain = job.sample(&NoAdapter, &stop)?.ok_or("nobody asked to stop")?;
    let adapted = job.sample(&StaticAdapter(lora), &stop)?.ok_or("nobody asked to stop")?;

    let change: f32 = (plain.images.clone() - adapted.images.clone()).abs().mean().into_scalar();
    let path = std::env::temp_dir().join("hyperalign-sample-with-lora.png");
    let pictures = to_images(plain.and(&adapted).images);
    write_png(&path, &grid(&pictures, 2, Default::default()), &Default::default())?;
    println!("{}: without the LoRA above, with it below; mean change {change:.3}", path.display());
    assert!(change > 0.0);
    Ok(())
}
