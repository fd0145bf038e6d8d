//! How well a preference model judges the emoji world: captions against corrupted captions,
//! pictures against wrong pictures, and the right among a base's own pictures against the wrong.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use hyperalign_core::noise::{Purpose, Stream};
use hyperalign_models::{
    base::Base,
    generate::{Job, Meter, Plain, Sampling, Shot, generate},
};
use hyperalign_rewards::{
    Prompt, Reward,
    emoji::{Caption, Picture, PromptError, World},
    geneval::{Row, Task},
};
use serde::Serialize;

use super::{EmojiGold, EvalError, Judge};
use crate::{data::picture_tensor, learner::Stop};

/// Pictures that go through a network at once.
const CHUNK: usize = 32;
/// The world's streams of smaller steps are those of its data and of its exactness.
const STEP: u32 = 6;

/// How often a preference model puts the right one first; equal scores count a half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ordering {
    /// Share of pictures whose own caption scores above one with a wrong attribute.
    pub captions: f64,
    /// Share of captions whose own picture scores above that of the wrong caption.
    pub pictures: f64,
    /// How many pairs of each kind were compared.
    pub pairs: usize,
}

/// [`Ordering`] over all tasks and for each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Orderings {
    /// Over all pairs.
    pub all: Ordering,
    /// By the task of the right caption.
    pub per_task: BTreeMap<Task, Ordering>,
}

/// Compares clean renders of `rows` of `world` with renders of the same captions made wrong in one
/// attribute.
///
/// # Errors
///
/// Fails for a prompt that is not of the emoji world.
///
/// # Panics
///
/// Panics where `reward` does; see [`Reward::check`].
pub fn orderings(
    reward: &dyn Reward,
    world: World,
    rows: &[Row],
    seed: u64,
    device: &Device,
) -> Result<Orderings, PromptError> {
    let mut judged: Vec<(Task, f64, f64)> = Vec::with_capacity(rows.len());
    for (chunk, first) in rows.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        let mut captions = Vec::with_capacity(chunk.len());
        let mut wrong_captions = Vec::with_capacity(chunk.len());
        let (mut renders, mut wrong_renders) = (Vec::new(), Vec::new());
        for (row, index) in chunk.iter().zip(first..) {
            let mut stream = Stream::new(seed, Purpose::World, STEP, index);
            let caption = Caption::parse(&row.prompt)?;
            let wrong = world.corrupt(&caption, &mut stream);
            renders.push(Picture::render(&world.scene(&caption, &mut stream)));
            wrong_renders.push(Picture::render(&world.scene(&wrong, &mut stream)));
            captions.push(Prompt::from(caption.row()));
            wrong_captions.push(Prompt::from(wrong.row()));
        }
        let images = picture_tensor(renders.iter(), device);
        let wrong_images = picture_tensor(wrong_renders.iter(), device);
        let right = scores(reward, images.clone(), &captions);
        let of_wrong_caption = scores(reward, images, &wrong_captions);
        let of_wrong_picture = scores(reward, wrong_images, &captions);
        judged.extend(chunk.iter().enumerate().map(|(k, row)| {
            (row.tag, wins(right[k], of_wrong_caption[k]), wins(right[k], of_wrong_picture[k]))
        }));
    }
    let of = |task: Option<Task>| {
        let chosen = || judged.iter().filter(move |one| task.is_none_or(|task| one.0 == task));
        let pairs = chosen().count();
        let share = |sum: f64| sum / pairs.max(1) as f64;
        Ordering {
            captions: share(chosen().map(|one| one.1).sum()),
            pictures: share(chosen().map(|one| one.2).sum()),
            pairs,
        }
    };
    Ok(Orderings { all: of(None), per_task: Task::ALL.map(|task| (task, of(Some(task)))).into() })
}

/// How a preference model tells the right among a base's own pictures from the wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Separation {
    /// Over all pairs of pictures of the same task: a model that only finds some tasks easier
    /// than others gets no credit.
    pub all: Auc,
    /// By task.
    pub per_task: BTreeMap<Task, Auc>,
}

/// The area under the curve of receiver operating characteristic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Auc {
    /// The probability that a right picture scores above a wrong one, equal scores counted half;
    /// none where there is no such pair.
    pub auc: Option<f64>,
    /// The same over pairs of the same prompt, which is what a reward is for: how much easier one
    /// prompt is than another says nothing here.
    pub same_prompt: Option<f64>,
    /// Pictures that the gold scorer finds right.
    pub right: usize,
    /// Pictures that it finds wrong.
    pub wrong: usize,
}

/// Makes a picture of each of `rows` with the bare base and judges it. `None` if `stop` was
/// requested before all were made.
///
/// # Errors
///
/// Fails where [`generate`] does.
///
/// # Panics
///
/// Panics where `reward` does, and if `base` does not make pictures of the emoji world's size.
pub fn separation(
    reward: &dyn Reward,
    base: &dyn Base,
    rows: &[Row],
    sampling: &Sampling,
    stop: &Stop,
    made: &mut dyn FnMut(usize),
) -> Result<Option<Separation>, EvalError> {
    let shots: Vec<Shot> =
        rows.iter().zip(0..).map(|(row, seed)| Shot::new(row.clone(), seed)).collect();
    let job = Job { base, sampling, shots: &shots, decoder: None, meter: &Meter::default() };
    let mut judged: Vec<Judged> = Vec::with_capacity(rows.len());
    let finished = generate(&Plain, &job, stop, &mut |shots, batch| {
        let rows = &rows[judged.len()..judged.len() + shots.len()];
        let prompts: Vec<Prompt> = shots.iter().map(|shot| shot.prompt.clone()).collect();
        let right = EmojiGold.judge(&batch.images, rows);
        let scores = scores(reward, batch.images, &prompts);
        let found = rows.iter().zip(right).zip(scores);
        judged.extend(found.map(|((row, right), score)| Judged { row, right, score }));
        made(judged.len());
        Ok::<_, EvalError>(())
    })?;
    Ok(finished.then(|| separate(&judged)))
}

/// A picture of `row`.
struct Judged<'a> {
    row: &'a Row,
    right: bool,
    score: f32,
}

/// Pairs of a right and a wrong picture.
#[derive(Default)]
struct Pairs {
    won: f64,
    count: usize,
}

impl Pairs {
    fn add(&mut self, right: f32, wrong: f32) {
        self.won += wins(right, wrong);
        self.count += 1;
    }

    fn area(&self) -> Option<f64> {
        (self.count > 0).then(|| self.won / self.count as f64)
    }
}

fn separate(judged: &[Judged]) -> Separation {
    let of = |tasks: &[Task]| {
        let (mut right, mut wrong) = (Vec::new(), Vec::new());
        for one in judged.iter().filter(|one| tasks.contains(&one.row.tag)) {
            if one.right { right.push(one) } else { wrong.push(one) }
        }
        let (mut same_task, mut same_prompt) = (Pairs::default(), Pairs::default());
        for (r, w) in right.iter().flat_map(|r| wrong.iter().map(move |w| (r, w))) {
            if r.row.tag == w.row.tag {
                same_task.add(r.score, w.score);
            }
            if r.row.prompt == w.row.prompt {
                same_prompt.add(r.score, w.score);
            }
        }
        Auc {
            auc: same_task.area(),
            same_prompt: same_prompt.area(),
            right: right.len(),
            wrong: wrong.len(),
        }
    };
    Separation { all: of(&Task::ALL), per_task: Task::ALL.map(|task| (task, of(&[task]))).into() }
}

/// 1 if `right` is above `wrong`, a half if they are equal.
fn wins(right: f32, wrong: f32) -> f64 {
    if right > wrong {
        1.0
    } else if right == wrong {
        0.5
    } else {
        0.0
    }
}

fn scores(reward: &dyn Reward, images: Tensor<4>, prompts: &[Prompt]) -> Vec<f32> {
    let scores = reward.score(images, prompts).detach().into_data().convert::<f32>();
    scores.iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing::{self, Brightness};
    use hyperalign_rewards::emoji::{Gold, Split};

    use super::*;
    use crate::eval::toy;

    #[test]
    fn a_perfect_judge_orders_perfectly() {
        let device = testing::device();
        let rows = World::SMALL.prompts(Split::Tuning, 36, 1);
        let found = orderings(&Gold, World::SMALL, &rows, 2, &device).unwrap();
        assert_eq!(found.all.pairs, 36);
        assert!(found.per_task.values().all(|task| task.pairs == 6));
        assert!(found.all.captions > 0.97 && found.all.pictures > 0.97, "{:?}", found.all);
    }

    #[test]
    fn a_judge_that_does_not_read_knows_no_captions() {
        let device = testing::device();
        let rows = World::SMALL.prompts(Split::Tuning, 36, 1);
        let found = orderings(&Brightness, World::SMALL, &rows, 2, &device).unwrap();
        assert_eq!(found.all.captions, 0.5);
        assert!((0.1..0.9).contains(&found.all.pictures), "{:?}", found.all);
    }

    #[test]
    fn the_area_counts_pairs_of_the_same_task() {
        let rows = World::SMALL.prompts(Split::Tuning, 24, 1);
        let of = |task| rows.iter().filter(move |row| row.tag == task);
        let mut counting = of(Task::Counting);
        let first = counting.next().unwrap();
        let second = counting.find(|row| row.prompt != first.prompt).unwrap();
        let colors = of(Task::Colors).next().unwrap();
        let position = of(Task::Position).next().unwrap();
        let judged = [
            (first, true, 0.9),
            (first, false, 0.1),
            (second, false, 0.9),
            (colors, true, 0.2),
            (colors, false, 0.3),
            (position, false, 5.0),
        ];
        let judged = judged.map(|(row, right, score)| Judged { row, right, score });
        let found = separate(&judged);
        let area = |task| (found.per_task[&task].auc, found.per_task[&task].same_prompt);
        assert_eq!(area(Task::Counting), (Some(0.75), Some(1.0)));
        assert_eq!(area(Task::Colors), (Some(0.0), Some(0.0)));
        let nothing = Auc { right: 0, wrong: 1, ..Auc::default() };
        assert_eq!(found.per_task[&Task::Position], nothing);
        assert_eq!(found.all, Auc { auc: Some(0.5), same_prompt: Some(0.5), right: 2, wrong: 4 });
    }

    #[test]
    fn every_row_gets_a_picture_unless_stopped() {
        let rows = World::SMALL.prompts(Split::Tuning, 7, 1);
        let sampling = Sampling { batch: 3, ..Sampling::new(2, 1.0) };
        let (base, stop) = (toy::base(), Stop::default());
        let mut seen = Vec::new();
        let found =
            separation(&Brightness, &base, &rows, &sampling, &stop, &mut |n| seen.push(n)).unwrap();
        let all = found.unwrap().all;
        assert_eq!((all.right + all.wrong, seen), (7, vec![3, 6, 7]));
        stop.request();
        let none = separation(&Brightness, &base, &rows, &sampling, &stop, &mut |_| ()).unwrap();
        assert_eq!(none, None);
    }
}
