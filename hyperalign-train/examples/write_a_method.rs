//! A method of one's own: a static LoRA that makes the one-step estimate of a noisy picture brighter.
//! The engine gives it steps, checkpoints, exact resume, a moving average and a log.
//!
//! ```console
//! cargo run -p hyperalign-train --example write_a_method
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::Conditioning,
    device,
    diffusion::Level,
    noise::{Purpose, Stream, normal},
};
use hyperalign_models::{
    base::Base,
    embedded,
    hypernet::{StaticLora, StaticLoraConfig},
    pipeline,
};
use hyperalign_train::learner::{
    Emit, Names, Objective, Part, Run, Settings, Shard, fit, log_rows,
};

/// The timestep of the noisy pictures, of 1000.
const TIMESTEP: f64 = 300.0;

/// The objective: frozen networks and settings, and no state.
struct Brighter {
    base: Arc<dyn Base>,
    conditioning: Conditioning,
    device: Device,
}

impl Objective for Brighter {
    type Module = StaticLora;
    // Noisy latents, which all shards of an update share.
    type Batch = Tensor<4>;

    fn names(&self) -> Names {
        Names { parts: vec!["brightness"], metrics: Vec::new() }
    }

    // Randomness is a function of the update, so that a resumed run draws the same.
    fn prepare(&self, _: &StaticLora, update: u64) -> Tensor<4> {
        let stream = |k| Stream::new(7, Purpose::Forward, update as u32, k);
        let [height, width] = self.base.picture_size();
        let grey = Tensor::zeros([2, 3, height, width], &self.device);
        let latents = self.base.encode_images(grey);
        let [_, channels, height, width] = latents.dims();
        let noise = normal([1, channels, height, width], [stream(0), stream(1)], &self.device);
        self.level().mix(latents, noise)
    }

    fn losses(
        &self,
        module: &StaticLora,
        batch: &Tensor<4>,
        _: u64,
        _: Shard,
        emit: &mut dyn Emit,
    ) {
        // The base lies on the plain device and costs no tape; the update carries the gradient.
        let times = Tensor::full([2], TIMESTEP, &self.device);
        let lora = module.forward();
        let output = self.base.predict(batch.clone(), times, &self.conditioning, Some(&lora));
        let estimate = self.level().original(self.base.prediction(), batch.clone(), output);
        let brightness = self.base.decode(estimate).mean();
        emit.part(Part::new("brightness", 1.0, -brightness));
    }
}

impl Brighter {
    fn level(&self) -> Level {
        self.base.process().level(TIMESTEP)
    }
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let folder = embedded::folder("emoji-sd").ok_or("built without the embedded models")?;
    let base: Arc<dyn Base> = pipeline::open(&folder, Some("emoji-sd"), &device)?.into();
    let conditioning = base.encode_prompts(&["a red heart".to_owned(), "two dogs".to_owned()])?;
    let config = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base.lora_targets() };
    // What is trained lies on the autodiff device.
    let lora = config.init(1, &device.clone().autodiff());

    let objective = Arc::new(Brighter { base, conditioning, device });
    let settings = Settings { updates: 4, shards: 1, ..Settings::default() };
    let folder = tempfile::tempdir()?;
    let trained = fit(objective, lora, &settings, &Run::new(folder.path(), "brighter"))?;
    let losses: Vec<f64> =
        log_rows(folder.path())?.iter().filter_map(|row| row["loss"]["total"].as_f64()).collect();
    println!("{} updates, losses {losses:.4?}", trained.update);
    assert!(losses[3] < losses[0], "brighter than before");
    Ok(())
}
