use super::*;
use crate::{
    one_picture::{
        Noun,
        toy::{Books, Counted, OfMean, Place, ancestral, looks, mean, plan, values},
    },
    schedule::{Scheduler, Solver},
};

/// Steps are taken once.
const ONCE: [f64; 2] = [0.0, 0.0];

fn plans(steps: usize) -> [Box<dyn Scheduler>; 2] {
    [ancestral(steps), plan(Solver::FlowEuler, None, steps)]
}

fn identity() -> OfMean {
    OfMean::new(|mean| mean)
}

fn few() -> Dymo {
    Dymo { views: 2, rounds: ONCE, ..Dymo::default() }
}

/// A thing that is the first token, of which the second is said.
fn nouns() -> Vec<Noun> {
    vec![Noun { tokens: vec![0], attributes: vec![vec![1]] }]
}

fn latents(place: &Place, dymo: Dymo) -> Vec<f32> {
    values(place.run(5, |picture| dymo.run(picture)).0.latents)
}

#[test]
fn without_pairs_the_first_phase_is_plain_sampling() {
    let reward = identity();
    for plan in plans(10) {
        let place = Place::new(plan.as_ref(), &reward);
        let first = Dymo { preference_start: 1.0, semantic_end: 1.0, ..few() };
        let (found, counted) = place.run(5, |picture| first.run(picture));
        assert_eq!(values(found.latents), place.plain(5));
        let expected = Counted { evaluations: 10, gradient_passes: 0, decodes: 0, scores: 0 };
        assert_eq!(counted, expected);
        assert!(found.notes["binds"] == false && found.notes["moves"] == 0);
        // A name alone binds nothing, and moves nothing either.
        let one = vec![Noun { tokens: vec![0], attributes: Vec::new() }];
        let place = Place { nouns: one, ..Place::new(plan.as_ref(), &reward) };
        assert_eq!(latents(&place, first), place.plain(5));
    }
}

/// The table of the published costs: of 50 steps the first 8 have no pairs to bind; each other one
/// is an evaluation, a gradient, a decoding and 11 scores, as often as it is repeated.
#[test]
fn what_it_costs() {
    let reward = identity();
    let cost = |dymo: Dymo, nouns: Vec<Noun>| {
        let plan = ancestral(50);
        let place = Place { nouns, ..Place::new(plan.as_ref(), &reward) };
        place.run(5, |picture| dymo.run(picture)).1
    };
    let counted = |evaluations, gradient_passes, decodes| Counted {
        evaluations,
        gradient_passes,
        decodes,
        scores: 11 * decodes,
    };
    let once = Dymo { rounds: ONCE, ..Dymo::default() };
    assert_eq!(cost(once, Vec::new()), counted(50, 42, 42));
    assert_eq!(cost(once, nouns()), counted(50, 50, 42));
    let often = Dymo { rounds: [1e9, 1e9], most_repeats: 2, ..Dymo::default() };
    assert_eq!(cost(often, Vec::new()), counted(8 + 3 * 42, 3 * 42, 3 * 42));
    let third = Dymo { rounds: [0.0, 1e9], most_repeats: 2, ..Dymo::default() };
    assert_eq!(cost(third, Vec::new()), counted(25 + 3 * 25, 17 + 3 * 25, 17 + 3 * 25));
}

#[test]
fn it_follows_the_reward() {
    let reward = identity();
    for plan in plans(10) {
        let place = Place::new(plan.as_ref(), &reward);
        let plain = mean(&place.plain(5));
        let some = mean(&latents(&place, few()));
        let more = mean(&latents(&place, Dymo { strength: 2.0, ..few() }));
        assert!(plain < some && some < more, "{plain} {some} {more}");
        assert_eq!(latents(&place, Dymo { strength: 0.0, ..few() }), place.plain(5));
    }
}

/// What is said of a thing is where the thing is, more than without guidance.
#[test]
fn it_binds_what_belongs_together() {
    let reward = identity();
    for plan in plans(10) {
        let place = Place { nouns: nouns(), ..Place::new(plan.as_ref(), &reward) };
        let apart = |latents: Tensor<4>| -> f32 {
            semantics::loss(&[looks(latents)], &nouns()).unwrap().into_scalar()
        };
        let only = Dymo { preference_start: 1.0, semantic_end: 1.0, ..few() };
        let found = place.run(5, |picture| only.run(picture)).0;
        let plain = place.run(5, |picture| {
            picture.finish(picture.sampler.start(picture.draws.start(0..1))).sample
        });
        let (bound, plain) = (apart(found.latents), apart(plain.0));
        assert!(bound < plain, "{bound} {plain}");
        assert_eq!(found.notes["binds"], true);
    }
}

/// The authors' norm of the scores leads the other way where they are negative.
#[test]
fn the_authors_norm_reads_no_signs() {
    let negative = OfMean::new(|mean| mean - 5.0);
    let plan = ancestral(10);
    let place = Place::new(plan.as_ref(), &negative);
    let plain = mean(&place.plain(5));
    assert!(mean(&latents(&place, few())) > plain);
    assert!(mean(&latents(&place, Dymo { compat_norm: true, ..few() })) < plain);
}

/// What has not changed weighs the preference alone, and colours do not count.
#[test]
fn changes_are_of_standardised_estimates() {
    let tensor = |values: &[f64]| {
        let data = burn::tensor::TensorData::new(values.to_vec(), [1, 1, 2, 2]);
        Tensor::from_data(data, (&crate::testing::cpu(), burn::tensor::DType::F64))
    };
    let before = tensor(&[1.0, -1.0, 1.0, -1.0]);
    assert!(change(&before, &(before.clone() * 3.0 + 0.7)) < 1e-4);
    // Turned over, it has moved by twice its length.
    assert!((change(&before, &before.clone().neg()) - 2.0).abs() < 1e-4);
}

#[test]
fn a_budget_leaves_enough_for_the_steps_that_are_left() {
    let (plan, reward) = (ancestral(10), identity());
    let often = Dymo { rounds: [1e9, 1e9], most_repeats: 2, ..few() };
    for limit in [10, 11, 14, 26, 100] {
        let books = Books { limit: Some(limit), ..Books::default() };
        let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
        let (_, counted) = place.run(5, |picture| often.run(picture));
        assert_eq!(counted.evaluations, limit.min(2 + 3 * 8));
    }
    let books = Books { stopped: true, ..Books::default() };
    let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
    assert_eq!(latents(&place, few()), place.plain(5));
}

#[test]
fn gradients_that_are_no_numbers_are_skipped() {
    let plan = ancestral(10);
    let none = OfMean::new(|mean| mean.mul_scalar(f64::NAN));
    let place = Place::new(plan.as_ref(), &none);
    assert_eq!(latents(&place, few()), place.plain(5));
    assert_eq!(*place.books.skipped.borrow(), 8);
}

#[test]
fn settings_that_mean_nothing() {
    let error = |dymo: Dymo| dymo.check().unwrap_err().to_string();
    let dymo = Dymo::default();
    assert!(error(Dymo { preference_start: 2.0, ..dymo }).contains("`preference_start` is 2"));
    assert!(error(Dymo { semantic_end: 0.1, ..dymo }).contains("`semantic_end` is 0.1"));
    assert!(error(Dymo { strength: f64::NAN, ..dymo }).contains("`strength` is NaN"));
    assert!(error(Dymo { rounds: [1.0, -1.0], ..dymo }).contains("`rounds` is -1"));
    assert!(dymo.check().is_ok());
}
