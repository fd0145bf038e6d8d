//! What networks of this world are trained on. Every item is a function of (seed, index).

use hyperalign_core::noise::{Purpose, Stream};
use rayon::prelude::*;

use super::caption::Caption;
use super::picture::{Flaw, Picture};
use super::split::Split;
use super::world::World;
use crate::geneval::{Row, Task};

/// How often a caption of the base's data is wrong in one attribute.
pub const WRONG_CAPTIONS: f64 = 0.3;
/// How often a picture of the base's data is ugly.
pub const UGLY_PICTURES: f64 = 0.3;
/// How often the label of a preference pair is the wrong way round.
pub const FLIPPED_LABELS: f64 = 0.15;

/// How often shapes get a colour in tasks that ask for none: prompts such as
/// `a red heart to the left of a dog` should not be new to the base.
const EXTRA_COLORS: f64 = 0.3;

/// Shares of the tasks in the base's data, in the order of [`Task::ALL`]. Two things at once are
/// harder to learn than one.
const BASE_SHARES: [f64; 6] = [0.10, 0.19, 0.13, 0.10, 0.27, 0.21];

/// One picture with a text.
#[derive(Debug, Clone)]
pub struct Item {
    /// The picture.
    pub image: Picture,
    /// The text that comes with it.
    pub caption: String,
    /// What the picture really shows.
    pub row: Row,
}

/// Two pictures of one prompt, and which of them somebody preferred.
#[derive(Debug, Clone)]
pub struct PreferencePair {
    /// The preferred one.
    pub image_win: Picture,
    /// The other one.
    pub image_lose: Picture,
    /// What both were asked for.
    pub prompt: String,
    /// The label is wrong: noise that a learner does not get to see.
    pub flipped: bool,
}

/// Which of two disjoint sets of preference pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairSet {
    /// For the reward that is trained against.
    Proxy,
    /// For the judge that is never trained against.
    HeldOut,
}

/// Each kind of data draws from streams of its own.
#[derive(Clone, Copy)]
enum Source {
    Base = 1,
    Preferred = 2,
    ProxyPair = 3,
    HeldOutPair = 4,
}

fn stream(source: Source, seed: u64, index: u32) -> Stream {
    Stream::new(seed, Purpose::World, source as u32, index)
}

impl World {
    /// Item `index` of the data that the base learns from: uncurated, like a crawl of the web.
    ///
    /// All combinations occur, those of held-out prompts too: a base model has seen the world.
    /// A share [`WRONG_CAPTIONS`] of the captions is wrong in one attribute, a share
    /// [`UGLY_PICTURES`] of the pictures is ugly, independently.
    pub fn base_item(self, seed: u64, index: u32) -> Item {
        let mut stream = stream(Source::Base, seed, index);
        let task = weighted_task(&mut stream);
        let caption = self.caption(task, &mut stream);
        let caption = self.colored(caption, EXTRA_COLORS, &mut stream);
        let mut image = Picture::render(&self.scene(&caption, &mut stream));
        if stream.chance(UGLY_PICTURES) {
            let flaw = Flaw::draw(&mut stream);
            image = image.spoiled(flaw, &mut stream);
        }
        let wrong = stream.chance(WRONG_CAPTIONS);
        let said = if wrong { self.corrupt(&caption, &mut stream) } else { caption };
        Item { image, caption: said.to_string(), row: caption.row() }
    }

    /// Item `index` of the preferred data: a clean picture of a train prompt, with the right text.
    /// The tasks come equally often.
    pub fn preferred_item(self, seed: u64, index: u32) -> Item {
        let mut stream = stream(Source::Preferred, seed, index);
        let task = *stream.pick(&Task::ALL);
        let caption = self.draw_from(Split::Train, task, &mut stream);
        let image = Picture::render(&self.scene(&caption, &mut stream));
        Item { image, caption: caption.to_string(), row: caption.row() }
    }

    /// As [`corrupt`](Self::corrupt), with a wrong caption that is none of the tuning or test prompts.
    ///
    /// A preference model that meets a combination as a wrong answer only learns that it is wrong: on
    /// held-out prompts of two colours the first one was below chance.
    pub fn corrupt_in_training(self, caption: &Caption, stream: &mut Stream) -> Caption {
        let allowed = |wrong: &Caption| matches!(self.split_of(wrong), Some(Split::Train) | None);
        let mut wrong = self.corrupt(caption, stream);
        // Nearly every caption has an allowed neighbour; the few that have none keep what they got.
        for _ in 0..64 {
            if allowed(&wrong) {
                break;
            }
            wrong = self.corrupt(caption, stream);
        }
        wrong
    }

    /// Pair `index` of one of the two sets: pictures of train prompts that differ in what they show,
    /// in how they look, or in both, with a share [`FLIPPED_LABELS`] of wrong labels.
    ///
    /// The unspoken rule behind the labels: what was asked for before beauty.
    pub fn preference_pair(self, seed: u64, index: u32, which: PairSet) -> PreferencePair {
        let source = match which {
            PairSet::Proxy => Source::ProxyPair,
            PairSet::HeldOut => Source::HeldOutPair,
        };
        let mut stream = stream(source, seed, index);
        let task = *stream.pick(&Task::ALL);
        let caption = self.draw_from(Split::Train, task, &mut stream);
        let wrong = self.corrupt_in_training(&caption, &mut stream);
        // (what the loser shows, winner ugly, loser ugly)
        let (shown, ugly_win, ugly_lose) = match stream.below(10) {
            0..5 => (wrong, false, false),
            5..7 => (caption, false, true),
            7 => (wrong, true, false),
            8 => (wrong, true, true),
            _ => (wrong, false, true),
        };
        let image_win = self.look(&caption, ugly_win, &mut stream);
        let image_lose = self.look(&shown, ugly_lose, &mut stream);
        let prompt = caption.to_string();
        if stream.chance(FLIPPED_LABELS) {
            PreferencePair { image_win: image_lose, image_lose: image_win, prompt, flipped: true }
        } else {
            PreferencePair { image_win, image_lose, prompt, flipped: false }
        }
    }

    fn look(self, caption: &Caption, ugly: bool, stream: &mut Stream) -> Picture {
        let image = Picture::render(&self.scene(caption, stream));
        if !ugly {
            return image;
        }
        let flaw = Flaw::draw(stream);
        image.spoiled(flaw, stream)
    }
}

fn weighted_task(stream: &mut Stream) -> Task {
    let mut rest = stream.uniform();
    for (task, share) in Task::ALL.into_iter().zip(BASE_SHARES) {
        if rest < share {
            return task;
        }
        rest -= share;
    }
    Task::ColorAttr
}

/// Makes many items at once, on all cores, in the order of `indices`.
pub fn collect<T: Send>(
    indices: impl IntoParallelIterator<Item = u32, Iter: IndexedParallelIterator>,
    item: impl Fn(u32) -> T + Sync + Send,
) -> Vec<T> {
    indices.into_par_iter().map(item).collect()
}

/// Pictures as one batch, `[batch, 3, SIZE, SIZE]`, in `[-1, 1]`.
pub fn batch<'a>(images: impl IntoIterator<Item = &'a Picture>) -> Vec<f32> {
    images.into_iter().flat_map(Picture::to_signed).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{CHANNELS, SIZE, gold, parse};
    use super::*;

    const WORLD: World = World::LARGE;

    /// Whether a share seen in `n` draws fits a probability, within four standard errors.
    fn fits(count: usize, n: usize, p: f64) -> bool {
        (count as f64 / n as f64 - p).abs() < 4.0 * (p * (1.0 - p) / n as f64).sqrt()
    }

    #[test]
    fn the_base_data_is_as_wrong_as_it_says() {
        let n = 2_000;
        let items = collect(0..n as u32, |index| WORLD.base_item(3, index));
        let wrong = items.iter().filter(|item| item.caption != item.row.prompt).count();
        assert!(fits(wrong, n, WRONG_CAPTIONS), "{wrong} of {n}");
        for (task, share) in Task::ALL.into_iter().zip([0.10, 0.19, 0.13, 0.10, 0.27]) {
            let count = items.iter().filter(|item| item.row.tag == task).count();
            // Two shapes may both get a colour and become colour attribution.
            assert!((count as f64 / n as f64 - share).abs() < 0.04, "{task}: {count} of {n}");
        }
    }

    #[test]
    fn wrong_captions_of_training_are_no_held_out_prompts() {
        let n = 600;
        let held_out = (0..n).filter(|&index| {
            let mut stream = Stream::new(5, Purpose::World, 99, index);
            let task = *stream.pick(&Task::ALL);
            let caption = WORLD.draw_from(Split::Train, task, &mut stream);
            let wrong = WORLD.corrupt_in_training(&caption, &mut stream);
            assert_ne!(wrong, caption);
            matches!(WORLD.split_of(&wrong), Some(Split::Tuning | Split::Test))
        });
        let held_out = held_out.count();
        assert!(held_out < 6, "{held_out} of {n}");
    }

    #[test]
    fn items_depend_on_seed_and_index_only() {
        let [a, b, other] =
            [(1, 5), (1, 5), (2, 5)].map(|(seed, index)| WORLD.base_item(seed, index));
        assert_eq!((&a.image, &a.caption), (&b.image, &b.caption));
        assert_ne!(a.image, other.image);
        let in_parallel = collect(0..8, |index| WORLD.base_item(1, index));
        assert_eq!(in_parallel[5].image, a.image);
    }

    #[test]
    fn preferred_items_are_right_train_prompts() {
        for item in collect(0..120, |index| WORLD.preferred_item(4, index)) {
            assert!(gold(&item.image, &item.row).correct, "{}", item.caption);
            assert_eq!(item.caption, item.row.prompt);
            let caption = Caption::parse(&item.caption).unwrap();
            assert!(matches!(WORLD.split_of(&caption), Some(Split::Train) | None), "{caption}");
        }
    }

    #[test]
    fn pairs_are_flipped_as_often_as_they_say() {
        let n = 2_000;
        let pairs = collect(0..n as u32, |index| WORLD.preference_pair(5, index, PairSet::Proxy));
        let flipped = pairs.iter().filter(|pair| pair.flipped).count();
        assert!(fits(flipped, n, FLIPPED_LABELS), "{flipped} of {n}");
        let held_out = WORLD.preference_pair(5, 0, PairSet::HeldOut);
        assert_ne!(held_out.image_win, pairs[0].image_win);

        // Where only one of the two shows what was asked for, the label says which, or is flipped.
        let (mut right, mut wrong) = (0, 0);
        for pair in &pairs[..200] {
            let row = parse(&pair.prompt).unwrap();
            let [win, lose] =
                [&pair.image_win, &pair.image_lose].map(|image| gold(image, &row).correct);
            if win != lose {
                *(if win != pair.flipped { &mut right } else { &mut wrong }) += 1;
            }
        }
        assert!(right > 20 * wrong && right > 100, "{right} right, {wrong} wrong");
    }

    #[test]
    fn a_batch_is_signed_and_in_order() {
        let items = collect(0..3, |index| WORLD.preferred_item(6, index));
        let values = batch(items.iter().map(|item| &item.image));
        let size = CHANNELS * SIZE * SIZE;
        assert_eq!(values.len(), 3 * size);
        assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
        let back = Picture::from_signed(&values[size..2 * size]);
        let error = back.pixels.iter().zip(&items[1].image.pixels).map(|(a, b)| (a - b).abs());
        assert!(error.fold(0.0, f32::max) < 1e-6);
    }
}
