//! A solver of one's own: Euler's method along a rectified flow, in steps that grow longer.
//!
//! ```console
//! cargo run -p hyperalign-core --example write_a_scheduler
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Answer, Conditioning, Denoiser, PassStart, Prediction, TextWatch},
    device,
    diffusion::Level,
    lora::LoraSet,
    noise::{Purpose, Stream, normal},
    sampler::{Sampler, unobserved},
    schedule::{History, Scheduler, Transition},
};

/// Noise levels 1 - (i / steps)^2, from noise to data.
struct Growing(usize);

impl Scheduler for Growing {
    fn steps(&self) -> usize {
        self.0
    }

    fn timestep(&self, i: usize) -> f64 {
        self.level(i).noise
    }

    fn level(&self, i: usize) -> Level {
        let signal = (i as f64 / self.0 as f64).powi(2);
        Level { signal, noise: 1.0 - signal }
    }

    fn prediction(&self) -> Prediction {
        Prediction::Velocity
    }

    // A deterministic step leads to its mean; one with a deviation is drawn by whoever samples.
    fn transition(&self, i: usize, output: Tensor<4>, x: Tensor<4>, _: &mut History) -> Transition {
        let (level, next) = (self.level(i), self.level(i + 1));
        let mean = x.clone() + output.clone().mul_scalar(next.noise - level.noise);
        let pred_original = level.original(Prediction::Velocity, x, output);
        Transition { mean, deviation: 0.0, pred_original }
    }
}

/// The best network for a world of one picture, grey 0.5: it knows the way from anywhere.
struct OnePicture;

impl Denoiser for OnePicture {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        _: &Conditioning,
        _: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        let sigma: Tensor<4> = timesteps.unsqueeze_dims(&[1, 2, 3]);
        Answer::from(sample.sub_scalar(0.5) / sigma)
    }

    fn prediction(&self) -> Prediction {
        Prediction::Velocity
    }
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let conditioning = Conditioning { context: Tensor::zeros([2, 1, 1], &device), pooled: None };
    let sampler = Sampler::new(&OnePicture, &Growing(8), &conditioning);
    let streams = (0..2).map(|seed| Stream::new(seed, Purpose::Start, 0, 0));
    let start = sampler.start(normal([1, 3, 4, 4], streams, &device));
    let end = sampler.run(start, 8, None, &mut unobserved);
    let error: f32 = end.sample.sub_scalar(0.5).abs().max().into_scalar();
    println!("two pictures, at most {error:.1e} from the one that there is");
    assert!(error < 1e-5);
    Ok(())
}
