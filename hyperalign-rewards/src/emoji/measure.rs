//! How exact the exact scorer is: on clean renders, and on what a transformation makes of them.

use std::collections::BTreeMap;

use hyperalign_core::noise::{Purpose, Stream};
use rayon::prelude::*;
use serde::Serialize;

use super::{Caption, Picture, Thing, World, gold_batch};
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

impl World {
    /// Judges `n` clean renders, the tasks in turn, after `transform` has had its way with them: the
    /// identity, or the round trip through an autoencoder.
    ///
    /// # Panics
    ///
    /// Panics if `transform` does not return as many pictures as it gets.
    pub fn exactness(
        self,
        n: u32,
        seed: u64,
        transform: impl FnOnce(Vec<Picture>) -> Vec<Picture>,
    ) -> Exactness {
        // Steps 1 to 4 are the training data's.
        const STEP: u32 = 5;
        let examples = (0..n)
            .into_par_iter()
            .map(|index| {
                let mut stream = Stream::new(seed, Purpose::World, STEP, index);
                let caption = self.caption(Task::ALL[index as usize % 6], &mut stream);
                self.example(caption.task(), &caption, &mut stream)
            })
            .collect();
        let judged = judge_all(examples, transform);
        let of = |task| acceptance(judged.iter().filter(|judged| judged.0 == task));
        Exactness {
            all: acceptance(judged.iter()),
            per_task: Task::ALL.into_iter().map(|task| (task, of(task))).collect(),
        }
    }

    /// The same for every look of the world, by its name: `n` renders of each, alone and beside
    /// another thing in turn.
    ///
    /// # Panics
    ///
    /// Panics if `transform` does not return as many pictures as it gets.
    pub fn exactness_of_glyphs(
        self,
        n: u32,
        seed: u64,
        transform: impl FnOnce(Vec<Picture>) -> Vec<Picture>,
    ) -> BTreeMap<String, Acceptance> {
        const STEP: u32 = 7;
        let things: Vec<Thing> =
            self.glyphs().map(|glyph| Thing { kind: glyph.kind(), color: glyph.color() }).collect();
        let examples = (0..n * things.len() as u32)
            .into_par_iter()
            .map(|index| {
                let mut stream = Stream::new(seed, Purpose::World, STEP, index);
                let k = index as usize % things.len();
                let thing = things[k];
                let other = loop {
                    let other = *stream.pick(&things);
                    if other.kind != thing.kind {
                        break other;
                    }
                };
                let caption = match index as usize / things.len() % 2 {
                    0 => Caption::Some { thing, count: 1 },
                    _ => Caption::Both { first: thing, second: other },
                };
                self.example(k, &caption, &mut stream)
            })
            .collect();
        let judged = judge_all(examples, transform);
        let name = |thing: &Thing| Caption::Some { thing: *thing, count: 1 }.to_string();
        let of = |k| acceptance(judged.iter().filter(|judged| judged.0 == k));
        things.iter().enumerate().map(|(k, thing)| (name(thing), of(k))).collect()
    }

    /// A render of `caption` with its row and a row that is wrong in one attribute.
    fn example<T>(self, label: T, caption: &Caption, stream: &mut Stream) -> Example<T> {
        let wrong = self.corrupt(caption, stream).row();
        let picture = Picture::render(&self.scene(caption, stream));
        Example { label, picture, right: caption.row(), wrong }
    }
}

struct Example<T> {
    label: T,
    picture: Picture,
    right: Row,
    wrong: Row,
}

/// For each example its label, and whether its right and its wrong row are accepted.
fn judge_all<T>(
    examples: Vec<Example<T>>,
    transform: impl FnOnce(Vec<Picture>) -> Vec<Picture>,
) -> Vec<(T, bool, bool)> {
    let (pictures, rows): (Vec<_>, Vec<_>) = examples
        .into_iter()
        .map(|Example { label, picture, right, wrong }| (picture, (label, (right, wrong))))
        .unzip();
    let (labels, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let (right, wrong): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let pictures = transform(pictures);
    let accepted = |rows: &[Row]| -> Vec<bool> {
        gold_batch(&pictures, rows).into_iter().map(|verdict| verdict.correct).collect()
    };
    let verdicts = accepted(&right).into_iter().zip(accepted(&wrong));
    labels
        .into_iter()
        .zip(verdicts)
        .map(|(label, (right, corrupted))| (label, right, corrupted))
        .collect()
}

fn acceptance<'a, T: 'a>(judged: impl Iterator<Item = &'a (T, bool, bool)> + Clone) -> Acceptance {
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
        for world in [World::SMALL, World::LARGE] {
            let exactness = world.exactness(600, 11, |pictures| pictures);
            for (task, acceptance) in &exactness.per_task {
                assert!(acceptance.right >= 0.98, "{task}: {acceptance:?}");
                assert!(acceptance.corrupted <= 0.02, "{task}: {acceptance:?}");
            }
        }
    }

    #[test]
    fn every_thing_is_judged_right() {
        for (name, found) in World::LARGE.exactness_of_glyphs(12, 13, |pictures| pictures) {
            assert!(found.right >= 0.98, "{name}: {found:?}");
        }
    }

    #[test]
    fn slightly_blurred_renders_are_judged_right() {
        let blur = |picture: Picture| {
            picture.spoiled(Flaw::Blur(0.6), &mut Stream::new(1, Purpose::World, 9, 0))
        };
        let exactness =
            World::LARGE.exactness(300, 12, |pictures| pictures.into_iter().map(blur).collect());
        assert!(exactness.all.right >= 0.95, "{:?}", exactness.all);
        assert!(exactness.all.corrupted <= 0.02, "{:?}", exactness.all);
    }
}
