//! How far the base's estimates move from step to step: what key steps are chosen by.

use std::ops::ControlFlow;

use hyperalign_core::{contract::NoAdapter, movement::MovementRecorder};
use hyperalign_models::{
    base::Base,
    generate::{Generation, Sampling, Shot},
};

use super::EvalError;
use crate::learner::Stop;

/// The relative movement of the base's one-step estimates in every sampling step, averaged over
/// `shots` (HyperAlign, arXiv:2601.15968, figure 4). `None` if `stop` was requested before the
/// end. Where the solver evaluates the network twice in a step, the first of both counts.
///
/// # Errors
///
/// Fails if there is no shot, or the base refuses a prompt or the number of steps.
pub fn movement(
    base: &dyn Base,
    sampling: &Sampling,
    shots: &[Shot],
    stop: &Stop,
) -> Result<Option<Vec<f64>>, EvalError> {
    if shots.is_empty() {
        return Err(EvalError::Nothing { what: "the number of prompts" });
    }
    let evaluations = base.solver(sampling.solver)?.evaluations();
    let mut recorder = MovementRecorder::default();
    for shots in shots.chunks(sampling.batch.max(1)) {
        if stop.is_requested() {
            return Ok(None);
        }
        let prompts: Vec<String> = shots.iter().map(|shot| shot.prompt.text.clone()).collect();
        let seeds: Vec<u64> = shots.iter().map(|shot| shot.seed).collect();
        Generation::new(base, sampling, &prompts)?.run(&NoAdapter, &seeds, &mut |state| {
            if state.i.is_multiple_of(evaluations) {
                recorder.observe(state);
            }
            ControlFlow::Continue(())
        });
    }
    Ok(Some(recorder.movement().into_iter().step_by(evaluations).collect()))
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::{Solver, SolverChoice};

    use super::*;
    use crate::eval::toy;

    fn shots(seeds: std::ops::Range<u64>) -> Vec<Shot> {
        seeds.map(|seed| Shot::new("a dog", seed)).collect()
    }

    fn measure(batch: usize, shots: &[Shot]) -> Vec<f64> {
        let sampling = Sampling { batch, ..Sampling::new(5, 2.0) };
        movement(&toy::base(), &sampling, shots, &Stop::default()).unwrap().unwrap()
    }

    #[test]
    fn it_is_the_mean_over_pictures_however_they_are_batched() {
        let all = measure(4, &shots(0..3));
        assert_eq!(all.len(), 5);
        assert_eq!(all[0], 0.0);
        assert!(all[1..].iter().all(|&moved| moved > 0.0), "{all:?}");
        let singles: Vec<Vec<f64>> = (0..3).map(|k| measure(1, &shots(k..k + 1))).collect();
        for (i, moved) in all.iter().enumerate() {
            let mean = singles.iter().map(|single| single[i]).sum::<f64>() / 3.0;
            assert!((moved - mean).abs() < 1e-5, "{moved} {mean}");
        }
    }

    /// A value for each step that was asked for, also where a step looks twice.
    #[test]
    fn it_is_of_steps_and_not_of_evaluations() {
        let solver = SolverChoice { solver: Some(Solver::Heun), eta: None };
        let sampling = Sampling { solver, ..Sampling::new(5, 2.0) };
        let moved = movement(&toy::base(), &sampling, &shots(0..2), &Stop::default());
        let moved = moved.unwrap().unwrap();
        assert_eq!((moved.len(), moved[0]), (5, 0.0));
        assert!(moved[1..].iter().all(|&moved| moved > 0.0), "{moved:?}");
    }

    #[test]
    fn nothing_to_measure_and_a_stop() {
        let sampling = Sampling::new(5, 2.0);
        let (base, stop) = (toy::base(), Stop::default());
        assert!(movement(&base, &sampling, &[], &stop).is_err());
        stop.request();
        assert!(movement(&base, &sampling, &shots(0..2), &stop).unwrap().is_none());
    }
}
