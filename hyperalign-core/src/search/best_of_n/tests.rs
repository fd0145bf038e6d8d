use super::*;
use crate::{
    one_picture::toy::{Books, Counted, OfMean, Place, ancestral, mean, values},
    sampler::unobserved,
};

fn identity() -> OfMean {
    OfMean::new(|mean| mean)
}

#[test]
fn one_candidate_is_plain_sampling() {
    let (plan, reward) = (ancestral(6), identity());
    let place = Place::new(plan.as_ref(), &reward);
    let found = place.run(5, |picture| BestOfN { n: 1 }.run(picture).unwrap()).0;
    assert_eq!(values(found.latents), place.plain(5));
}

/// Whatever the batch, the best of all is kept, and every score is counted.
#[test]
fn the_best_of_all_candidates_is_kept() {
    let (plan, reward) = (ancestral(6), identity());
    let mut all = Vec::new();
    for batch in [1, 3, 20] {
        let place = Place { batch, ..Place::new(plan.as_ref(), &reward) };
        let (found, counted) = place.run(5, |picture| BestOfN { n: 7 }.run(picture).unwrap());
        let expected = Counted { evaluations: 7 * 6, gradient_passes: 0, decodes: 7, scores: 7 };
        assert_eq!(counted, expected);
        let best = place.books.best.borrow();
        assert!(best.windows(2).all(|pair| pair[0] < pair[1]), "{best:?}");
        assert_eq!(best.last().copied(), found.score);
        let latents = values(found.latents);
        assert!((f64::from(mean(&latents)) - found.score.unwrap()).abs() < 1e-5);
        all.push((found.notes["candidate"].clone(), latents));
    }
    for other in &all[1..] {
        assert_eq!(other.0, all[0].0);
        for (a, b) in other.1.iter().zip(&all[0].1) {
            assert!((a - b).abs() < 1e-5);
        }
    }
    let place = Place::new(plan.as_ref(), &reward);
    let candidate = |picture: &OnePicture, k: usize| {
        let noise = |i| picture.draws.step(i, k..k + 1);
        let start = picture.sampler.start(picture.draws.start(k..k + 1));
        let end = picture.sampler.run(start, picture.steps(), Some(&noise), &mut unobserved);
        mean(&values(end.sample))
    };
    let each = place.run(5, |picture| (0..7).map(|k| candidate(picture, k)).collect::<Vec<_>>()).0;
    let best = each.iter().copied().fold(f32::MIN, f32::max);
    assert!((mean(&all[0].1) - best).abs() < 1e-5, "{each:?}");
    assert!(each[0] == mean(&place.plain(5)) && each.iter().filter(|&&k| k == best).count() == 1);
}

/// The first picture is made whatever it costs, and no other begins that cannot end.
#[test]
fn a_budget_ends_it_with_the_best_so_far() {
    let (plan, reward) = (ancestral(6), identity());
    for (limit, made) in [(1, 1), (6, 1), (17, 2), (18, 3), (31, 5)] {
        let books = Books { limit: Some(limit), ..Books::default() };
        let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
        let (found, counted) = place.run(5, |picture| BestOfN::default().run(picture).unwrap());
        assert_eq!(found.notes["candidates"], made, "a limit of {limit}");
        assert_eq!(counted.evaluations, made * 6);
    }
    let books = Books { stopped: true, ..Books::default() };
    let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
    assert!(place.run(5, |picture| BestOfN::default().run(picture)).0.is_none());
}

/// Scores that are no numbers are passed over, all of them too.
#[test]
fn scores_that_are_no_numbers_are_skipped() {
    let plan = ancestral(4);
    let some = OfMean::new(|mean| {
        let negative = mean.clone().lower_elem(0.0);
        mean.mask_fill(negative, f32::NAN)
    });
    let place = Place::new(plan.as_ref(), &some);
    let found = place.run(5, |picture| BestOfN { n: 9 }.run(picture).unwrap()).0;
    assert!(found.score.unwrap() > 0.0 && *place.books.skipped.borrow() > 0);
    let none = OfMean::new(|mean| mean.mul_scalar(f64::NAN));
    let place = Place::new(plan.as_ref(), &none);
    let found = place.run(5, |picture| BestOfN { n: 9 }.run(picture).unwrap()).0;
    assert_eq!((found.score, *place.books.skipped.borrow()), (None, 9));
    assert_eq!(values(found.latents), place.plain(5));
}

#[test]
fn none_is_too_few() {
    let error = BestOfN { n: 0 }.check().unwrap_err().to_string();
    assert_eq!(error, "`n` is 0; it must be at least 1");
}
