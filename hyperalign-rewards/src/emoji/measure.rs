//! How exact the exact scorer is: on clean renders, and on what a transformation makes of them.

use std::collections::BTreeMap;

use hyperalign_core::noise::{Purpose, Stream};
use rayon::prelude::*;
use serde::Serialize;

use super::{Caption, Picture, Scene, corrupt, gold_batch};
use crate::geneval::{Row, Task};

/// Shares of pictures that the gold scorer accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Acceptance {
    /// With the row that they were drawn from: should be 1.
    pub right: f64,
    /// With a row that is wrong in one attribute: should be 0.
    pub corrupted: f64,
    /// How many pictures were judged.
    pub pictures: usize,
}

/// The scorer's exactness, by task and in all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exactness {
    /// Over all pictures.
    pub all: Acceptance,
    /// By the task of the caption.
    pub per_task: BTreeMap<Task, Acceptance>,
}

/// Judges `n` clean renders, the tasks in turn, after `transform` has had its way with them: the
/// identity, or the round trip through an autoencoder.
///
/// # Panics
///
/// Panics if `transform` does not return as many pictures as it gets.
pub fn exactness(
    n: u32,
    seed: u64,
    transform: impl FnOnce(Vec<Picture>) -> Vec<Picture>,
) -> Exactness {
    // Steps 1 to 4 are the training data's.
    const STEP: u32 = 5;
    let examples: Vec<(Picture, Row, Row)> = (0..n)
        .into_par_iter()
        .map(|index| {
            let mut stream = Stream::new(seed, Purpose::World, STEP, index);
            let caption = Caption::draw(Task::ALL[index as usize % 6], &mut stream);
            let wrong = corrupt(&caption, &mut stream).row();
            (Picture::render(&Scene::draw(&caption, &mut stream)), caption.row(), wrong)
        })
        .collect();
    let (pictures, rows): (Vec<_>, Vec<_>) =
        examples.into_iter().map(|(picture, right, wrong)| (picture, (right, wrong))).unzip();
    let (right, wrong): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let pictures = transform(pictures);
    let accepted = |rows: &[Row]| -> Vec<bool> {
        gold_batch(&pictures, rows).into_iter().map(|verdict| verdict.correct).collect()
    };
    let judged: Vec<(Task, bool, bool)> = right
        .iter()
        .map(|row| row.tag)
        .zip(accepted(&right).into_iter().zip(accepted(&wrong)))
        .map(|(task, (right, corrupted))| (task, right, corrupted))
        .collect();
    let of = |task| acceptance(judged.iter().filter(|judged| judged.0 == task));
    Exactness {
        all: acceptance(judged.iter()),
        per_task: Task::ALL.into_iter().map(|task| (task, of(task))).collect(),
    }
}

fn acceptance<'a>(judged: impl Iterator<Item = &'a (Task, bool, bool)> + Clone) -> Acceptance {
    let pictures = judged.clone().count();
    let share = |count: usize| count as f64 / pictures.max(1) as f64;
    Acceptance {
        right: share(judged.clone().filter(|judged| judged.1).count()),
        corrupted: share(judged.filter(|judged| judged.2).count()),
        pictures,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Flaw;
    use super::*;

    #[test]
    fn clean_renders_are_judged_right() {
        let exactness = exactness(600, 11, |pictures| pictures);
        for (task, acceptance) in &exactness.per_task {
            assert!(acceptance.right >= 0.98, "{task}: {acceptance:?}");
            assert!(acceptance.corrupted <= 0.02, "{task}: {acceptance:?}");
        }
    }

    #[test]
    fn slightly_blurred_renders_are_judged_right() {
        let blur = |picture: Picture| {
            picture.spoiled(Flaw::Blur(0.6), &mut Stream::new(1, Purpose::World, 9, 0))
        };
        let exactness = exactness(300, 12, |pictures| pictures.into_iter().map(blur).collect());
        assert!(exactness.all.right >= 0.95, "{:?}", exactness.all);
        assert!(exactness.all.corrupted <= 0.02, "{:?}", exactness.all);
    }
}
