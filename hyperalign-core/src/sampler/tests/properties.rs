//! What makes a run a value: it can be left and taken up, forked, cut, re-noised and ended.

use super::*;
use crate::{
    contract::StaticAdapter,
    noise::{Stream, normal},
    schedule::{FlowSchedulerConfig, Solver, SolverChoice},
    testing,
};

const STEPS: usize = 7;
const SEEDS: [u64; 3] = [3, 4, 9];

/// A plan of every solver, of one that draws noise where there is such a choice.
fn plans() -> Vec<(Solver, Box<dyn Scheduler>)> {
    let plan = |solver: Solver| -> Box<dyn Scheduler> {
        let eta = solver.default_eta().map(|eta| eta.max(0.5));
        let choice = SolverChoice { solver: Some(solver), eta };
        if solver.is_for_flows() {
            let config = FlowSchedulerConfig::flux_dev();
            config.plan(STEPS, 16, choice).unwrap()
        } else {
            SchedulerConfig::stable_diffusion().plan(STEPS, choice).unwrap()
        }
    };
    Solver::ALL.map(|solver| (solver, plan(solver))).into()
}

fn adapters() -> [Box<dyn AdapterSource>; 4] {
    let shared = toy::update(Tensor::full([1, 1, 1], 0.7, &testing::device()));
    [
        Box::new(NoAdapter),
        Box::new(StaticAdapter(shared)),
        Box::new(every(1)),
        // One update for the whole trajectory, and one now and then.
        Box::new(every(3)),
    ]
}

fn noise(i: usize) -> Tensor<4> {
    streams(Purpose::Sampler, i, &SEEDS)
}

/// Hands `check` a sampler over every solver and every adapter source.
fn everywhere(check: impl Fn(&Sampler, Trajectory, &str)) {
    let prompts = prompts(&[0.1, -0.2, 0.4]);
    for (solver, plan) in plans() {
        let network = Toy(plan.prediction());
        for (k, adapter) in adapters().iter().enumerate() {
            let sampler =
                Sampler::new(&network, plan.as_ref(), &prompts).with_adapter(adapter.as_ref());
            let start = sampler.start(streams(Purpose::Start, 0, &SEEDS));
            check(&sampler, start, &format!("{solver}, adapter {k}"));
        }
    }
}

fn finish(sampler: &Sampler, trajectory: Trajectory) -> Vec<f32> {
    let steps = sampler.scheduler().steps();
    let end = sampler.run(trajectory, steps, Some(&noise), &mut unobserved);
    assert_eq!(end.i, steps);
    end.sample.try_into_vec_as().unwrap()
}

#[test]
fn a_run_can_be_left_and_taken_up_anywhere() {
    everywhere(|sampler, start, about| {
        let whole = finish(sampler, start.clone());
        for k in 0..=sampler.scheduler().steps() {
            let first = sampler.run(start.clone(), k, Some(&noise), &mut unobserved);
            assert_eq!(first.i, k);
            assert_eq!(finish(sampler, first), whole, "{about}, left before step {k}");
        }
    });
}

#[test]
fn a_fork_does_not_disturb_its_origin() {
    everywhere(|sampler, start, about| {
        let whole = finish(sampler, start.clone());
        let origin = sampler.run(start, 3, Some(&noise), &mut unobserved);
        let other = |_| streams(Purpose::Search, 0, &SEEDS);
        let fork = Trajectory { sample: origin.sample.clone() + 1.0, ..origin.clone() };
        let fork = sampler.run(fork, sampler.scheduler().steps(), Some(&other), &mut unobserved);
        let look = sampler.look(&origin);
        let again = sampler.renoise(&origin, 1, noise(99));
        assert_ne!(finish(sampler, again), whole);
        assert_ne!(fork.sample.try_into_vec_as::<f32>().unwrap(), whole);
        assert_eq!(look.i, 3);
        assert_eq!(finish(sampler, origin), whole, "{about}");
    });
}

/// Rows that are picked go on as they would have in the whole batch.
#[test]
fn rows_can_be_cut_out_and_repeated() {
    let picked = [2, 0, 2];
    everywhere(|sampler, start, about| {
        let whole = finish(sampler, start.clone());
        let expected: Vec<f32> =
            picked.iter().flat_map(|&row| whole[4 * row..4 * row + 4].to_vec()).collect();
        let half = sampler.run(start, 3, Some(&noise), &mut unobserved);
        let prompts = prompts(&[0.1, -0.2, 0.4]).select(&picked);
        let cut = sampler.with_conditioning(&prompts);
        let seeds = picked.map(|row| SEEDS[row]);
        let noise = |i| streams(Purpose::Sampler, i, &seeds);
        let steps = sampler.scheduler().steps();
        let look = sampler.look(&half).select(&picked);
        let stochastic = sampler.scheduler().needs_noise(3);
        let next = cut.step(&look, stochastic.then(|| noise(3)));
        for trajectory in [half.select(&picked), next] {
            let end = cut.run(trajectory, steps, Some(&noise), &mut unobserved);
            let found: Vec<f32> = end.sample.try_into_vec_as().unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{about}: {found} {expected}");
            }
        }
    });
}

/// Whoever comes late, with a sample and nothing else, has the update all the same.
#[test]
fn a_late_entry_has_its_update() {
    everywhere(|sampler, start, about| {
        let half = sampler.run(start, 4, Some(&noise), &mut unobserved);
        let late = sampler.look(&Trajectory::at(4, half.sample.clone()));
        assert_eq!(late.lora().is_some(), half.held.is_some(), "{about}");
        if let Some(held) = late.held {
            assert_eq!(held.since, 4, "{about}");
        }
    });
}

/// Many samples of one value, carried back up: their mean and deviation are those that are stated.
#[test]
fn renoising_has_its_mean_and_variance() {
    let (rows, edge) = (50, 20);
    let prompts = prompts(&vec![0.0; rows]);
    for (solver, plan) in plans() {
        let network = Toy(plan.prediction());
        let sampler = Sampler::new(&network, plan.as_ref(), &prompts);
        for (from, to) in [(5, 2), (4, 3), (plan.steps(), 0), (3, 3)] {
            let value = 0.8;
            let sample = Tensor::full([rows, 1, edge, edge], value, &testing::device());
            let streams = (0..rows as u64).map(|k| Stream::new(k, Purpose::Search, 0, 0));
            let noise = normal([1, 1, edge, edge], streams, &testing::device());
            let back = sampler.renoise(&Trajectory::at(from, sample), to, noise);
            assert_eq!((back.i, back.history.len()), (to, 0));
            let (low, high) = (plan.level(from), plan.level(to));
            let keep = high.signal / low.signal;
            let variance = (high.noise.powi(2) - (keep * low.noise).powi(2)).max(0.0);
            let values: Vec<f32> = back.sample.try_into_vec_as().unwrap();
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let found = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
            let about = format!("{solver}, {from} to {to}: {mean} {found}");
            // Four standard errors, and the rounding of f32.
            assert!((mean - keep * value).abs() < 4.0 * (variance / n).sqrt() + 1e-6, "{about}");
            assert!((found - variance).abs() < 4.0 * variance * (2.0 / n).sqrt() + 1e-6, "{about}");
        }
    }
}

#[test]
fn an_observer_ends_a_run() {
    everywhere(|sampler, start, about| {
        let whole = finish(sampler, start.clone());
        let mut seen = 0;
        let ended = sampler.run(start, sampler.scheduler().steps(), Some(&noise), &mut |state| {
            seen += 1;
            if state.i == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((seen, ended.i), (3, 3), "{about}");
        assert_eq!(finish(sampler, ended), whole, "{about}");
    });
}

/// A detached trajectory has the same values, and no gradient reaches what was before it.
#[test]
fn a_trajectory_can_be_cut_off_from_the_tape() {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(STEPS, 0.0).unwrap();
    let prompts = prompts(&[0.3]);
    let adapter = every(1);
    let sampler = Sampler::new(&TOY, &scheduler, &prompts).with_adapter(&adapter);
    let start = streams(Purpose::Start, 0, &[5]).autodiff().require_grad();
    let half = sampler.run(Trajectory::at(0, start.clone()), 3, None, &mut unobserved);
    let tracked = sampler.look(&half);
    assert!(start.grad(&tracked.pred_original().clone().sum().backward()).is_some());
    let cut = half.detach();
    cut.sample.clone().into_data().assert_eq(&half.sample.into_data(), true);
    let x = cut.sample.require_grad();
    let look = sampler.look(&Trajectory { sample: x.clone(), ..cut });
    let gradients = look.pred_original().clone().sum().backward();
    assert!(x.grad(&gradients).is_some() && start.grad(&gradients).is_none());
}
