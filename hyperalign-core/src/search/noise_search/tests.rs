use super::*;
use crate::{
    one_picture::toy::{Books, Counted, OfMean, Place, ancestral, mean, plan, values},
    schedule::{Scheduler, Solver},
};

const SMALL: NoiseSearch = NoiseSearch {
    candidates: 3,
    iterations: 2,
    radius: 0.3,
    exploration: 0.4,
    elitist: false,
    compat_lookahead: false,
};

/// The plans of both paradigms that draw noise; that of the flow in all steps but the last.
fn plans() -> [Box<dyn Scheduler>; 2] {
    [ancestral(5), plan(Solver::FlowSdeGrpo, Some(0.5), 5)]
}

fn identity() -> OfMean {
    OfMean::new(|mean| mean)
}

fn latents(place: &Place, settings: NoiseSearch) -> Vec<f32> {
    values(place.run(5, |picture| settings.run(picture)).0.latents)
}

#[test]
fn without_iterations_it_is_plain_sampling() {
    let reward = identity();
    for plan in plans() {
        let place = Place::new(plan.as_ref(), &reward);
        let none = NoiseSearch { iterations: 0, ..SMALL };
        assert_eq!(latents(&place, none), place.plain(5));
    }
}

#[test]
fn one_candidate_of_radius_0_keeps_the_pivot() {
    let reward = identity();
    for plan in plans() {
        let place = Place::new(plan.as_ref(), &reward);
        let still = NoiseSearch { candidates: 1, radius: 0.0, exploration: 0.0, ..SMALL };
        assert_eq!(latents(&place, still), place.plain(5));
        let explores = NoiseSearch { exploration: 1.0, ..still };
        assert_ne!(latents(&place, explores), place.plain(5));
    }
}

/// A linear reward of a linear network: what is better ahead is better at the end, and the more
/// that is tried, the better.
#[test]
fn it_finds_what_the_reward_likes() {
    let reward = identity();
    for plan in plans() {
        let place = Place::new(plan.as_ref(), &reward);
        let none = mean(&place.plain(5));
        let some = mean(&latents(&place, SMALL));
        let more = mean(&latents(&place, NoiseSearch { iterations: 20, ..SMALL }));
        assert!(none < some && some < more, "{none} {some} {more}");
        let whole = Place { batch: 9, ..Place::new(plan.as_ref(), &reward) };
        let again = mean(&latents(&whole, SMALL));
        assert!((again - some).abs() < 1e-5, "it depends on the batch: {again} {some}");
    }
}

/// A local candidate lies within the radius, and a pivot moves by that at most in an iteration.
#[test]
fn local_candidates_are_near_the_pivot() {
    let (plan, reward) = (ancestral(1), identity());
    let place = Place::new(plan.as_ref(), &reward);
    let local = NoiseSearch { exploration: 0.0, iterations: 1, radius: 0.1, ..SMALL };
    let deviation = place.run(5, |picture| {
        let trajectory = picture.sampler.start(picture.draws.start(0..1));
        picture.sampler.look(&trajectory).transition.deviation
    });
    let moved =
        latents(&place, local).into_iter().zip(place.plain(5)).map(|(a, b)| (a - b).powi(2));
    let length = f64::from(moved.sum::<f32>().sqrt());
    let most = 0.1 * 8_f64.sqrt() * deviation.0;
    assert!(length > 0.0 && length <= most * 1.0001, "{length} of {most}");
}

/// The elitist pivot is never worse than the one before, nor than that of plain sampling.
#[test]
fn an_elitist_keeps_what_is_better() {
    let (plan, reward) = (ancestral(1), identity());
    for seed in 0..6 {
        let place = Place::new(plan.as_ref(), &reward);
        let elitist = NoiseSearch { elitist: true, candidates: 1, exploration: 1.0, ..SMALL };
        let found = place.run(seed, |picture| elitist.run(picture)).0;
        assert!(f64::from(mean(&place.plain(seed))) <= found.score.unwrap() + 1e-6);
        let best = place.books.best.borrow();
        assert!(best.windows(2).all(|pair| pair[0] < pair[1]), "{best:?}");
    }
}

/// The table of the published costs: 1 + K N evaluations a step, K N decodings and scores. The
/// look from the last step's end is none, but for the authors' code.
#[test]
fn what_it_costs() {
    let reward = identity();
    let cost = |settings: NoiseSearch, plan: &dyn Scheduler| {
        let place = Place::new(plan, &reward);
        place.run(5, |picture| settings.run(picture)).1
    };
    let counted =
        |evaluations, scores| Counted { evaluations, gradient_passes: 0, decodes: scores, scores };
    let [diffusion, flow] = plans();
    assert_eq!(cost(SMALL, diffusion.as_ref()), counted(5 + 4 * 6, 5 * 6));
    // Its last step draws nothing, and is searched for nothing.
    assert_eq!(cost(SMALL, flow.as_ref()), counted(5 + 4 * 6, 4 * 6));
    let compat = NoiseSearch { compat_lookahead: true, ..SMALL };
    assert_eq!(cost(compat, diffusion.as_ref()), counted(5 * (1 + 6), 5 * 6));
    let elitist = NoiseSearch { elitist: true, ..SMALL };
    assert_eq!(cost(elitist, diffusion.as_ref()), counted(5 + 4 * 7, 5 * 7));
}

/// The picture of the last candidates is the picture, and its score the score.
#[test]
fn the_last_score_is_the_pictures() {
    let (plan, reward) = (ancestral(4), identity());
    let place = Place::new(plan.as_ref(), &reward);
    let found = place.run(5, |picture| SMALL.run(picture)).0;
    let stated = found.score.unwrap();
    assert!((stated - f64::from(mean(&values(found.latents)))).abs() < 1e-5);
    let compat = NoiseSearch { compat_lookahead: true, ..SMALL };
    let found = place.run(5, |picture| compat.run(picture)).0;
    assert!(found.score.is_none() && found.picture.is_none());
    // A linear network ranks alike from every level, unless there is an optimum.
    let optimum = OfMean::new(|mean| (mean - 0.1).square().neg());
    let place = Place::new(plan.as_ref(), &optimum);
    assert_ne!(latents(&place, compat), latents(&place, SMALL));
}

#[test]
fn a_budget_leaves_enough_for_the_steps_that_are_left() {
    let (plan, reward) = (ancestral(5), identity());
    for limit in [5, 7, 8, 12, 20, 29, 1000] {
        let books = Books { limit: Some(limit), ..Books::default() };
        let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
        let (found, counted) = place.run(5, |picture| SMALL.run(picture));
        assert!(counted.evaluations <= limit, "{} of {limit}", counted.evaluations);
        if limit < 8 {
            // The last step is searched for nothing.
            assert_eq!(found.notes["iterations"], 2);
        }
    }
    let books = Books { stopped: true, ..Books::default() };
    let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
    assert_eq!(latents(&place, SMALL), place.plain(5));
}

#[test]
fn scores_that_are_no_numbers_keep_the_pivot() {
    let plan = ancestral(4);
    let none = OfMean::new(|mean| mean.mul_scalar(f64::NAN));
    let place = Place::new(plan.as_ref(), &none);
    assert_eq!(latents(&place, SMALL), place.plain(5));
    assert_eq!(*place.books.skipped.borrow(), 4 * 6);
}

#[test]
fn settings_that_mean_nothing() {
    let error = |settings: NoiseSearch| settings.check().unwrap_err().to_string();
    assert!(error(NoiseSearch { candidates: 0, ..SMALL }).contains("`candidates` is 0"));
    assert!(error(NoiseSearch { radius: f64::NAN, ..SMALL }).contains("`radius` is NaN"));
    assert!(error(NoiseSearch { exploration: 1.5, ..SMALL }).contains("from 0 to 1"));
    assert!(NoiseSearch::zero_order().check().is_ok());
}
