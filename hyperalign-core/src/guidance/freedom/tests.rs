use super::*;
use crate::{
    one_picture::toy::{Books, Counted, OfMean, Place, ancestral, mean, plan, values},
    schedule::{Scheduler, Solver},
};

fn plans(steps: usize) -> [Box<dyn Scheduler>; 2] {
    [ancestral(steps), plan(Solver::FlowEuler, None, steps)]
}

fn latents(place: &Place, freedom: Freedom) -> Vec<f32> {
    values(place.run(5, |picture| freedom.run(picture)).0.latents)
}

fn identity() -> OfMean {
    OfMean::new(|mean| mean)
}

/// Of the authors' 100 steps: 40 once outside of the window, 30 three times and 10 once within.
#[test]
fn what_it_costs() {
    let (reward, freedom) = (identity(), Freedom::default());
    for plan in plans(100) {
        let (_, counted) =
            Place::new(plan.as_ref(), &reward).run(5, |picture| freedom.run(picture));
        let expected =
            Counted { evaluations: 160, gradient_passes: 100, decodes: 100, scores: 100 };
        assert_eq!(counted, expected);
    }
    assert_eq!(window(0.3, 0.7, 50), 15..35);
    assert_eq!(window(0.3, 0.6, 50), 15..30);
}

/// A reward without a slope moves nothing: DDPM's steps, bit for bit where none is repeated.
#[test]
fn without_energy_it_is_plain_sampling() {
    let reward = OfMean::new(|mean| mean.mul_scalar(0.0));
    for plan in plans(10) {
        let place = Place::new(plan.as_ref(), &reward);
        let once = Freedom { repeats: 1, ..Freedom::default() };
        assert_eq!(latents(&place, once), place.plain(5));
        assert_ne!(latents(&place, Freedom::default()), place.plain(5));
        let still = Freedom { strength: 0.0, ..once };
        let reward = identity();
        let place = Place::new(plan.as_ref(), &reward);
        assert_eq!(latents(&place, still), place.plain(5));
    }
}

/// Going back and forth without energy keeps the distribution, here of many numbers at once.
#[test]
fn repeats_keep_the_distribution() {
    let reward = OfMean::new(|mean| mean.mul_scalar(0.0));
    let plan = ancestral(10);
    let place = Place { shape: [1, 100, 100], ..Place::new(plan.as_ref(), &reward) };
    let variance = |values: Vec<f32>| {
        values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / values.len() as f64
    };
    let [plain, repeated] = [place.plain(5), latents(&place, Freedom::default())].map(variance);
    // Going back from a level lowers nothing but the discretisation's error.
    assert!((repeated / plain - 1.0).abs() < 0.1, "{repeated} {plain}");
}

#[test]
fn it_follows_the_reward() {
    let reward = identity();
    for plan in plans(10) {
        let place = Place::new(plan.as_ref(), &reward);
        let plain = mean(&place.plain(5));
        let once = Freedom { repeats: 1, ..Freedom::default() };
        let some = mean(&latents(&place, once));
        let more = mean(&latents(&place, Freedom { strength: 0.6, ..once }));
        assert!(plain < some && some < more, "{plain} {some} {more}");
    }
}

/// Without guidance of a prediction, a move is as long as the strength times the step.
#[test]
fn moves_are_measured_by_the_step() {
    let reward = identity();
    let plan = plan(Solver::FlowEuler, None, 4);
    let freedom = Freedom { strength: 0.3, ..Freedom::default() };
    Place::new(plan.as_ref(), &reward).run(5, |picture| {
        // From noise alone the best network concludes nothing, and its estimate has no slope.
        let start = picture.sampler.start(picture.draws.start(0..1));
        let trajectory = picture.sampler.step(&picture.sampler.look(&start), None);
        let plain = picture.sampler.look(&trajectory).transition.mean;
        let (moved, _) = freedom.moved(picture, &trajectory);
        let length = |a: &Tensor<4>, b: &Tensor<4>| rms(&(a.clone() - b.clone()));
        let ratio = length(&moved.transition.mean, &plain) / length(&plain, &trajectory.sample);
        assert!((ratio - 0.3).abs() < 1e-4, "{ratio}");
    });
}

#[test]
fn a_budget_leaves_enough_for_the_steps_that_are_left() {
    let (plan, reward) = (ancestral(10), identity());
    for limit in [10, 11, 14, 16, 100] {
        let books = Books { limit: Some(limit), ..Books::default() };
        let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
        let (_, counted) = place.run(5, |picture| Freedom::default().run(picture));
        assert_eq!(counted.evaluations, limit.min(16));
    }
    let books = Books { stopped: true, ..Books::default() };
    let place = Place { books, ..Place::new(plan.as_ref(), &reward) };
    assert_eq!(latents(&place, Freedom::default()), place.plain(5));
}

#[test]
fn gradients_that_are_no_numbers_are_skipped() {
    let plan = ancestral(10);
    let none = OfMean::new(|mean| mean.mul_scalar(f64::NAN));
    let place = Place::new(plan.as_ref(), &none);
    let once = Freedom { repeats: 1, ..Freedom::default() };
    assert_eq!(latents(&place, once), place.plain(5));
    assert_eq!(*place.books.skipped.borrow(), 4);
}

#[test]
fn settings_that_mean_nothing() {
    let freedom = Freedom::default();
    let error = |freedom: Freedom| freedom.check(10).unwrap_err().to_string();
    assert!(error(Freedom { repeats: 0, ..freedom }).contains("`repeats` is 0"));
    assert!(error(Freedom { strength: -1.0, ..freedom }).contains("`strength` is -1"));
    assert!(error(Freedom { start: 1.5, ..freedom }).contains("`start` is 1.5"));
    assert!(error(Freedom { end: 0.1, ..freedom }).contains("`end` is 0.1"));
    let narrow = Freedom { start: 0.5, end: 0.52, ..freedom };
    assert!(error(narrow).contains("take more steps"));
    assert!(narrow.check(100).is_ok() && freedom.check(10).is_ok());
}
