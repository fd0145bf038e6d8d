//! Pictures of a base, with or without an adapter, from prompts and seeds.
//!
//! All methods of an evaluation come through here, so that they differ in nothing but the
//! adapter: the same prompts, the same noise, the same solver.

use std::time::Instant;

use burn::tensor::Tensor;
use hyperalign_core::{
    adapter::{AdapterSource, NoAdapter},
    noise::{Purpose, Stream, normal},
    sampler::{Observer, Sampler, unobserved},
    schedule::SolverChoice,
};
use hyperalign_models::{
    base::Base,
    hypernet::{Adapter, Variant},
};
use serde::{Deserialize, Serialize};

use super::EvalError;
use crate::{learner::Stop, method::guided};

/// How pictures are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Sampling steps.
    pub steps: usize,
    /// Weight of classifier-free guidance; 1 is none.
    pub guidance_scale: f64,
    /// The most pictures that are made at once. It changes speed and memory only.
    pub batch: usize,
    /// The solver, and how much noise it draws.
    #[serde(default)]
    pub solver: SolverChoice,
}

/// An adapter, and how it is run.
#[derive(Debug, Clone)]
pub struct Adapted<'a> {
    /// The trained network.
    pub adapter: &'a Adapter,
    /// When its update is computed anew. A static LoRA has one update at any rate.
    pub variant: Variant,
    /// Sampling steps of this run at which P computes it anew; S and I do not read them.
    pub key_steps: Vec<usize>,
}

impl Adapted<'_> {
    /// The adapter as the sampler reads it, or the bare base for none.
    pub(super) fn source<'b>(
        adapted: Option<&'b Adapted<'_>>,
        base: &'b dyn Base,
    ) -> Box<dyn AdapterSource + 'b> {
        match adapted {
            Some(Adapted { adapter, variant, key_steps }) => {
                adapter.source(base, *variant, key_steps.clone())
            }
            None => Box::new(NoAdapter),
        }
    }
}

/// One picture to make. It depends on these two alone, not on what else is in its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// The prompt.
    pub prompt: String,
    /// The seed of the noise that the picture starts from.
    pub seed: u64,
}

/// Pictures that were made together.
#[derive(Debug)]
pub struct Batch {
    /// `[batch, 3, height, width]`, clipped to `[-1, 1]`.
    pub images: Tensor<4>,
    /// Wall time of a picture, in seconds: the batch's encoding of prompts, sampling and
    /// decoding, over the number of its pictures.
    pub seconds: f64,
}

/// What is done with each batch, and with the shots that it belongs to.
pub type OnBatch<'a> = dyn FnMut(&[Shot], Batch) -> Result<(), EvalError> + 'a;

/// Samples the latents of `shots`, all in one batch.
///
/// # Shapes
///
/// - output: `[shots, channels, height, width]`
///
/// # Errors
///
/// Fails if the base refuses a prompt or the number of steps.
pub(super) fn latents(
    base: &dyn Base,
    source: &dyn AdapterSource,
    sampling: &Sampling,
    shots: &[Shot],
    observer: &mut Observer,
) -> Result<Tensor<4>, EvalError> {
    let scheduler = base.plan(sampling.steps, sampling.solver, base.latent_shape())?;
    let prompts: Vec<String> = shots.iter().map(|shot| shot.prompt.clone()).collect();
    let conditioning = base.encode_prompts(&prompts)?;
    let [channels, height, width] = base.latent_shape();
    let device = conditioning.context.device();
    let draw = |purpose, step: usize| {
        let streams = shots.iter().map(|shot| Stream::new(shot.seed, purpose, step as u32, 0));
        normal([1, channels, height, width], streams, &device)
    };
    let noise = |i| draw(Purpose::Sampler, i);
    let denoiser = guided(base, &base.unconditional(), sampling.guidance_scale);
    let sampler = Sampler::new(&denoiser, scheduler.as_ref(), &conditioning).with_adapter(source);
    let start = sampler.start(draw(Purpose::Start, 0));
    Ok(sampler.run(start, scheduler.steps(), Some(&noise), observer).sample)
}

/// Makes the pictures of `shots`, at most [`Sampling::batch`] at once, and hands each batch to
/// `each` with the shots that it belongs to. Returns whether all were made: a requested `stop`
/// ends the work after the batch at hand.
///
/// # Errors
///
/// Fails if the base refuses a prompt or the number of steps, and where `each` does.
pub fn generate(
    base: &dyn Base,
    adapted: Option<&Adapted>,
    sampling: &Sampling,
    shots: &[Shot],
    stop: &Stop,
    each: &mut OnBatch,
) -> Result<bool, EvalError> {
    for shots in shots.chunks(sampling.batch.max(1)) {
        if stop.is_requested() {
            return Ok(false);
        }
        let start = Instant::now();
        let source = Adapted::source(adapted, base);
        let latents = latents(base, source.as_ref(), sampling, shots, &mut unobserved)?;
        let images = base.decode(latents).detach();
        // This reading also waits for a GPU to be done, before the clock stops.
        let method = adapted.map_or("base", |adapted| adapted.variant.label());
        check_finite(&images, shots, method)?;
        let images = images.clamp(-1.0, 1.0);
        let seconds = start.elapsed().as_secs_f64() / shots.len() as f64;
        each(shots, Batch { images, seconds })?;
    }
    Ok(true)
}

/// A picture of NaN would be clipped into a picture, and judged as merely wrong.
fn check_finite(images: &Tensor<4>, shots: &[Shot], method: &str) -> Result<(), EvalError> {
    let sums: Tensor<2> = images.clone().flatten::<2>(1, 3).sum_dim(1);
    let sums: Vec<f32> = sums.into_data().convert::<f32>().iter::<f32>().collect();
    match sums.iter().position(|sum| !sum.is_finite()) {
        Some(k) => Err(EvalError::NotFinite {
            what: "a picture".to_owned(),
            method: method.to_owned(),
            prompt: shots[k].prompt.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::s;
    use hyperalign_core::schedule::Solver;

    use super::*;
    use crate::eval::toy::{ToyBase, adapter};

    const SAMPLING: Sampling = Sampling {
        steps: 4,
        guidance_scale: 3.0,
        batch: 4,
        solver: SolverChoice { solver: None, eta: None },
    };

    fn shot(prompt: &str, seed: u64) -> Shot {
        Shot { prompt: prompt.to_owned(), seed }
    }

    fn pictures(adapted: Option<&Adapted>, batch: usize, shots: &[Shot]) -> Tensor<4> {
        let mut all = Vec::new();
        let sampling = Sampling { batch, ..SAMPLING };
        let base = ToyBase::new();
        let done = generate(&base, adapted, &sampling, shots, &Stop::default(), &mut |_, batch| {
            assert!(batch.seconds > 0.0);
            all.push(batch.images);
            Ok(())
        });
        assert!(done.unwrap());
        Tensor::cat(all, 0)
    }

    fn distance(a: Tensor<4>, b: Tensor<4>) -> f32 {
        (a - b).abs().max().into_scalar()
    }

    #[test]
    fn a_picture_depends_on_its_own_prompt_and_seed_only() {
        let shots = [shot("a dog", 5), shot("a red heart", 6), shot("a car", 7)];
        let adapter = adapter(3, 0.5);
        let s = Adapted { adapter: &adapter, variant: Variant::S, key_steps: Vec::new() };
        for adapted in [None, Some(&s)] {
            let together = pictures(adapted, 4, &shots);
            assert_eq!(together.dims(), [3, 3, 64, 64]);
            assert!(distance(together.clone(), pictures(adapted, 1, &shots)) < 1e-5);
            assert!(distance(together.clone(), pictures(adapted, 2, &shots)) < 1e-5);
            let second = together.slice(s![1..2]);
            let other = |shot| distance(second.clone(), pictures(adapted, 1, &[shot]));
            assert!(other(shot("a red heart", 8)) > 1e-3, "the seed is not used");
            assert!(other(shot("a dog", 6)) > 1e-3, "the prompt is not used");
        }
    }

    #[test]
    fn variants_differ_and_a_fresh_adapter_changes_nothing() {
        let shots = [shot("a dog", 1), shot("a car", 2)];
        let base = pictures(None, 2, &shots);
        let run = |adapter: &Adapter, variant| {
            pictures(Some(&Adapted { adapter, variant, key_steps: vec![0, 2] }), 2, &shots)
        };
        let fresh = adapter(3, 0.0);
        assert_eq!(distance(run(&fresh, Variant::S), base.clone()), 0.0);
        let trained = adapter(3, 0.5);
        let made = [Variant::S, Variant::P, Variant::I].map(|variant| run(&trained, variant));
        for picture in &made {
            assert!(distance(picture.clone(), base.clone()) > 1e-4);
        }
        assert!(distance(made[0].clone(), made[1].clone()) > 1e-6);
        assert!(distance(made[1].clone(), made[2].clone()) > 1e-6);
    }

    #[test]
    fn a_solver_can_be_chosen_and_its_noise_is_the_pictures_own() {
        let shots = [shot("a dog", 1), shot("a car", 2)];
        let run = |solver, batch| {
            let solver = SolverChoice { solver, eta: None };
            let sampling = Sampling { solver, batch, ..SAMPLING };
            let (base, mut all) = (ToyBase::new(), Vec::new());
            generate(&base, None, &sampling, &shots, &Stop::default(), &mut |_, batch| {
                all.push(batch.images);
                Ok(())
            })
            .unwrap();
            Tensor::cat(all, 0)
        };
        let noisy = run(Some(Solver::EulerAncestral), 2);
        assert!(distance(noisy.clone(), run(Some(Solver::EulerAncestral), 1)) < 1e-5);
        assert!(distance(noisy, run(None, 2)) > 1e-4);
    }

    #[test]
    fn a_stop_ends_between_batches() {
        let shots: Vec<Shot> = (0..6).map(|seed| shot("a dog", seed)).collect();
        let (stop, base) = (Stop::default(), ToyBase::new());
        let mut made = 0;
        let sampling = Sampling { batch: 2, ..SAMPLING };
        let done = generate(&base, None, &sampling, &shots, &stop, &mut |shots, _| {
            made += shots.len();
            stop.request();
            Ok(())
        });
        assert!(!done.unwrap());
        assert_eq!(made, 2);
    }

    #[test]
    fn broken_weights_are_an_error() {
        let adapter = adapter(3, f64::NAN);
        let adapted = Adapted { adapter: &adapter, variant: Variant::S, key_steps: Vec::new() };
        let (base, stop, shots) = (ToyBase::new(), Stop::default(), [shot("a dog", 0)]);
        let error = generate(&base, Some(&adapted), &SAMPLING, &shots, &stop, &mut |_, _| Ok(()))
            .unwrap_err();
        assert!(matches!(&error, EvalError::NotFinite { method, .. } if method == "hyperalign-s"));
    }

    #[test]
    fn what_the_base_refuses_is_an_error() {
        let base = ToyBase::new();
        let refused = |steps, prompt| {
            let sampling = Sampling { steps, ..SAMPLING };
            let shots = [shot(prompt, 0)];
            generate(&base, None, &sampling, &shots, &Stop::default(), &mut |_, _| Ok(()))
                .unwrap_err()
                .to_string()
        };
        assert!(refused(0, "a dog").contains("0 sampling steps"));
        assert!(refused(4, "a unicorn").contains("unicorn"));
    }
}
