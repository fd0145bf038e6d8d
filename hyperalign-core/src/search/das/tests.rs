use super::*;
use crate::{
    contract::StaticAdapter,
    lora::{LoraDelta, LoraSet},
    one_picture::toy::{Books, Counted, OfMean, Place, ancestral, plan, values},
    schedule::{Scheduler, Solver},
    testing,
};

fn plans(steps: usize) -> [Box<dyn Scheduler>; 2] {
    [ancestral(steps), plan(Solver::FlowSdeGrpo, Some(0.5), steps)]
}

fn nothing() -> OfMean {
    OfMean::new(|mean| mean.mul_scalar(0.0))
}

fn identity() -> OfMean {
    OfMean::new(|mean| mean)
}

/// Nothing to gain: all weights stay alike, and the first particle is the picture.
#[test]
fn without_reward_it_is_ordinary_sampling() {
    let reward = nothing();
    for plan in plans(5) {
        for particles in [1, 4] {
            let place = Place { batch: 8, ..Place::new(plan.as_ref(), &reward) };
            let das = Das { particles, ..Das::default() };
            let found = place.run(5, |picture| das.run(picture)).0;
            let expected = place.plain(5);
            for (found, expected) in values(found.latents).iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6 && (particles > 1 || found == expected));
            }
            for effective in found.notes["effective_particles"].as_array().unwrap() {
                assert!((effective.as_f64().unwrap() - particles as f64).abs() < 1e-9);
            }
        }
    }
}

/// The variance that the plan ends with where nothing tilts it: each step is linear.
fn end_variance(place: &Place) -> f64 {
    place
        .run(0, |picture| {
            let one = || picture.draws.start(0..1).ones_like();
            let scale = picture.sampler.scheduler().init_noise_sigma();
            (0..picture.steps()).fold(scale * scale, |variance, i| {
                let step = picture.sampler.look(&Trajectory::at(i, one())).transition;
                variance * f64::from(values(step.mean)[0]).powi(2) + step.deviation.powi(2)
            })
        })
        .0
}

/// Weighted mean and variance of a population of numbers.
fn moments(settings: &Das, plan: &dyn Scheduler, reward: &OfMean) -> [f64; 2] {
    let place = Place { shape: [1, 1, 1], batch: 5000, ..Place::new(plan, reward) };
    place
        .run(3, |picture| {
            let mut population = Population::start(settings, picture);
            while population.trajectory.i < picture.steps() {
                population.step();
            }
            population.finish();
            let weights = normalised(&population.log_weights);
            let values = values(population.trajectory.sample);
            let mean_of = |f: &dyn Fn(f64) -> f64| -> f64 {
                weights.iter().zip(&values).map(|(w, x)| w * f(f64::from(*x))).sum()
            };
            let mean = mean_of(&|x| x);
            [mean, mean_of(&|x| (x - mean).powi(2))]
        })
        .0
}

/// A normal distribution of variance v, tilted by `exp(x / alpha)`, has the mean v / alpha and its
/// variance; by `exp(-x^2 / (2 alpha))` its precision grows by 1 / alpha.
#[test]
fn a_tilted_gaussian_has_its_mean_and_variance() {
    let quadratic = OfMean::new(|mean| mean.square().mul_scalar(-0.5));
    for plan in plans(12) {
        let v = end_variance(&Place { shape: [1, 1, 1], ..Place::new(plan.as_ref(), &quadratic) });
        for tempering in [Tempering::Exponential, Tempering::Adaptive, Tempering::None] {
            for resampling in [Resampling::Ssp, Resampling::Systematic] {
                let alpha = 0.4;
                let das = Das {
                    particles: 5000,
                    alpha: Some(alpha),
                    tempering,
                    resampling,
                    ..Das::default()
                };
                let about = format!("{tempering:?} {resampling:?}, variance {v}");
                // A few standard errors of 5000 draws, which resampling makes fewer.
                let tolerance = 6.0 * (v / 5000.0).sqrt();
                let [mean, variance] = moments(&das, plan.as_ref(), &identity());
                assert!((mean - v / alpha).abs() < tolerance, "{about}: mean {mean}");
                assert!((variance / v - 1.0).abs() < 0.15, "{about}: variance {variance}");
                let [mean, variance] = moments(&das, plan.as_ref(), &quadratic);
                let expected = 1.0 / (1.0 / v + 1.0 / alpha);
                assert!(mean.abs() < tolerance, "{about}: mean {mean}");
                assert!((variance / expected - 1.0).abs() < 0.15, "{about}: variance {variance}");
            }
        }
    }
}

/// The rearranged ratio of densities against the densities themselves.
#[test]
fn the_ratio_of_densities() {
    let tensor = |values: [f64; 3]| crate::one_picture::toy::tensor(&values);
    let (deviation, guidance, noise) = (0.7, [0.3, -1.1, 0.4], [0.2, 0.5, -1.3]);
    let log_density = |x: f64, mean: f64| -(x - mean).powi(2) / (2.0 * deviation * deviation);
    let expected: f64 = (0..3)
        .map(|k| {
            let shift = deviation * deviation * guidance[k];
            let x = 0.6 + shift + deviation * noise[k];
            log_density(x, 0.6) - log_density(x, 0.6 + shift)
        })
        .sum();
    let found = log_ratio(deviation, tensor(guidance), tensor(noise));
    assert!((found[0] - expected).abs() < 1e-12, "{found:?}, not {expected}");
}

/// Particles with the update of an adapter, in batches of any size, are the same particles.
#[test]
fn it_does_not_depend_on_the_batch() {
    let reward = identity();
    let factor = |size| Tensor::<3>::ones([1, size, size], &testing::device());
    let (down, up) = (factor(1), Some(factor(1)));
    let delta = LoraDelta { down_aux: None, down, up, up_aux: None, scale: 1.0 };
    let adapter = StaticAdapter(LoraSet::new([("layer".to_owned(), delta)]));
    let das = Das { particles: 4, alpha: Some(0.05), ess_threshold: 1.0, ..Das::default() };
    for plan in plans(6) {
        let of = |batch| {
            let place = Place { batch, ..Place::new(plan.as_ref(), &reward) };
            place.run(5, |picture| {
                let sampler = picture.sampler.with_adapter(&adapter);
                let found = das.run(&OnePicture { sampler, ..picture.clone() });
                (values(found.latents), found.notes["resampled_at"].clone())
            })
        };
        let ((whole, resampled), counted) = of(4);
        assert!(!resampled.as_array().unwrap().is_empty(), "nothing was resampled");
        // The table of the published costs: all of each for every particle and step, and the last
        // scores.
        let cost = Counted { evaluations: 24, gradient_passes: 24, decodes: 28, scores: 28 };
        assert_eq!(counted, cost);
        for batch in [1, 3] {
            let (parts, _) = of(batch);
            assert_eq!(parts.1, resampled);
            for (a, b) in parts.0.iter().zip(&whole) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
    }
}

#[test]
fn it_finds_what_the_reward_likes() {
    let reward = identity();
    for plan in plans(6) {
        let place = Place::new(plan.as_ref(), &reward);
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let plain = mean(&place.plain(5));
        let das = Das { alpha: Some(0.02), ..Das::default() };
        let found = place.run(5, |picture| das.run(picture)).0;
        let score = found.score.unwrap();
        assert!(score > f64::from(plain) + 0.1, "{score} {plain}");
        assert!((score - f64::from(mean(&values(found.latents)))).abs() < 1e-5);
    }
}

#[test]
fn the_authors_order_of_guidance_is_another() {
    let (plan, reward) = (ancestral(6), identity());
    let place = Place::new(plan.as_ref(), &reward);
    let das = Das { alpha: Some(0.05), ess_threshold: 1.0, ..Das::default() };
    let of = |das: Das| values(place.run(5, |picture| das.run(picture)).0.latents);
    assert_ne!(of(das), of(Das { compat_guidance_order: true, ..das }));
}

#[test]
fn a_budget_leaves_one_particle_to_finish() {
    let (plan, reward) = (ancestral(6), identity());
    for limit in [6, 9, 10, 17, 24, 100] {
        let books = Books { limit: Some(limit), ..Books::default() };
        let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
        let (found, counted) = place.run(5, |picture| Das::default().run(picture));
        assert!(counted.evaluations <= limit, "{} of {limit}", counted.evaluations);
        assert_eq!(found.notes["to_the_end"], limit >= 24);
    }
}

/// What is no number neither guides nor weighs, and the run goes on.
#[test]
fn scores_that_are_no_numbers_are_skipped() {
    let plan = ancestral(5);
    let none = OfMean::new(|mean| mean.mul_scalar(f64::NAN));
    let place = Place { batch: 1, ..Place::new(plan.as_ref(), &none) };
    let found = place.run(5, |picture| Das::default().run(picture)).0;
    assert_eq!(values(found.latents), place.plain(5));
    // At every step, and at the end.
    assert_eq!(*place.books.skipped.borrow(), 4 * 6);
}

#[test]
fn settings_that_mean_nothing() {
    let error = |das: Das| das.check().unwrap_err().to_string();
    let das = Das::default();
    assert!(error(Das { particles: 0, ..das }).contains("`particles` is 0"));
    assert!(
        error(Das { alpha: Some(0.0), ..das })
            .contains("`alpha` is 0; it must be a number above 0")
    );
    assert!(error(Das { ess_threshold: 2.0, ..das }).contains("a share"));
    assert!(error(Das { gamma: Some(-1.0), ..das }).contains("`gamma` is -1"));
    assert!(das.check().is_ok());
}
