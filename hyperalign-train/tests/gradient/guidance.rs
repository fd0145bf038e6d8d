//! The gradient that methods at sampling time follow: of a CLIP's score of a one-step estimate to the
//! sample, through guidance, denoiser and decoder.

use burn::tensor::{Tensor, TensorData};
use hyperalign_core::{
    one_picture::{Draws, OnePicture, Unlimited},
    sampler::Trajectory,
};
use hyperalign_models::{
    base::Base,
    clip::{ClipConfig, ClipTextConfig, ClipVisionConfig},
    generate::{Generation, Sampling},
    testing::{WORDS, shaken, small_base, small_flux},
    tokenizer::Tokenizer,
    weights::reinit,
};
use hyperalign_rewards::{ClipReward, Preprocessing, Prompt};

use crate::device;

/// One that reads the timestep as well.
fn clip() -> ClipReward {
    let tokenizer = Tokenizer::from_words(&WORDS, 6).unwrap();
    let config = ClipConfig {
        text_config: ClipTextConfig {
            vocab_size: tokenizer.vocab_size(),
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            max_position_embeddings: 6,
            eos_token_id: 2,
            ..ClipTextConfig::default()
        },
        vision_config: ClipVisionConfig {
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            image_size: 6,
            patch_size: 3,
            ..ClipVisionConfig::default()
        },
        projection_dim: 6,
        step_aware: true,
        ..ClipConfig::default()
    };
    let model = shaken(reinit(config.init(&device()), 2), 0.2);
    ClipReward::new("clip", model, tokenizer, Preprocessing::default())
}

#[test]
fn of_a_clip_through_both_kinds_of_base() {
    let device = device();
    let (reward, prompt) = (clip(), Prompt::from("a red dog"));
    let bases: [Box<dyn Base>; 2] =
        [Box::new(small_base(1, &device)), Box::new(small_flux(true, &device))];
    for base in bases {
        let sampling = Sampling::new(4, 3.0);
        let prompts = [prompt.text.clone()];
        let generation = Generation::new(base.as_ref(), &sampling, &prompts).unwrap();
        let picture = OnePicture {
            sampler: generation.sampler(),
            conditioning: generation.conditioning(),
            decoder: base.as_ref(),
            reward: &reward,
            prompt: &prompt,
            nouns: &[],
            draws: Draws::new(5, generation.latent_shape(), &device),
            batch: 1,
            account: &Unlimited,
        };
        // Smaller than noise is, so that few pixels are clipped: those have no slope.
        let sample = picture.draws.start(0..1).mul_scalar(0.3);
        let value = |sample: Tensor<4>| {
            let look = picture.sampler.look(&Trajectory::at(1, sample));
            picture.tracked_scores(&look).into_scalar::<f64>()
        };
        let trajectory = Trajectory::at(1, sample.clone());
        let graded =
            picture.graded(&picture.sampler, &trajectory, |look| picture.tracked_scores(look));
        let gradient: Vec<f64> = graded.gradient.into_data().iter::<f64>().collect();
        let largest = gradient.iter().map(|slope| slope.abs()).fold(0.0, f64::max);
        assert!(largest > 1e-6, "{}: {largest}", base.name());
        let moved = |k: usize, by: f64| {
            let mut step = vec![0.0; gradient.len()];
            step[k] = by;
            let step = TensorData::new(step, sample.dims());
            value(sample.clone() + Tensor::<4>::from_data(step, &device))
        };
        for (k, slope) in gradient.iter().enumerate() {
            let step = 1e-5;
            let found = (moved(k, step) - moved(k, -step)) / (2.0 * step);
            let about = format!("{}, value {k}: {found} for {slope}", base.name());
            assert!((found - slope).abs() < 1e-6 * largest, "{about}");
        }
    }
}
