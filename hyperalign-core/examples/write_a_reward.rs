//! A reward of one's own, and a picture that climbs it.
//!
//! ```console
//! cargo run -p hyperalign-core --example write_a_reward
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Prompt, Reward},
    device,
};

/// How much more red there is than green and blue, where the prompt asks for red.
struct Redness;

impl Reward for Redness {
    fn name(&self) -> &str {
        "redness"
    }

    // Scores of different versions do not compare; runs and tables remember it.
    fn version(&self) -> String {
        "1".to_owned()
    }

    // Pictures are `[batch, 3, height, width]` in [-1, 1]; there is one score for each, and higher is
    // better. Rows must not mix.
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let channel = |k: usize| -> Tensor<1> {
            let values: Tensor<2> = images.clone().narrow(1, k, 1).flatten(1, 3);
            values.mean_dim(1).squeeze_dim(1)
        };
        let asked = |prompt: &Prompt| f32::from(u8::from(prompt.text.contains("red")));
        let asked: Vec<f32> = prompts.iter().map(asked).collect();
        let redness = channel(0) - (channel(1) + channel(2)) * 0.5;
        redness * Tensor::<1>::from_data(asked.as_slice(), &images.device())
    }

    // Methods that learn from the gradient take only such a reward; others take any.
    fn differentiable(&self) -> bool {
        true
    }
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open("cpu")?;
    let prompts = Prompt::of(&["a red heart", "a dog"]);
    let mut images = Tensor::<4>::zeros([2, 3, 8, 8], &device);
    for _ in 0..20 {
        let (_, gradient) = Redness.score_with_gradient(images.clone(), &prompts);
        images = (images + gradient * 20.0).clamp(-1.0, 1.0);
    }
    let scores = Redness.measure(&images, &prompts);
    println!("a red heart: {:.2}, a dog: {:.2}", scores[0], scores[1]);
    assert!(scores[0] > 1.5 && scores[1] == 0.0, "the first picture is red, the other grey");
    Ok(())
}
