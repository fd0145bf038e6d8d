//! Train, tuning and test prompts, disjoint by what they ask for and not only by wording.
//!
//! What a prompt asks for is its combination: `a dog left of a car`,
//! `a dog to the left of a car` and `a car right of a dog` are one, as are `a dog and a car` and
//! `a car and a dog`. The combinations of each task are ranked by a hash and cut into shares of
//! 60, 15 and 25 %, so that every task has prompts in every split.
//!
//! What this does and does not hold out. In *two objects*, *position* and *colour attribution*
//! the things of a test prompt all occur in train, in other company. In *counting* and *colours*
//! a test prompt is a (class, count) or (shape, colour) that train never asks for; the class and
//! the count, the shape and the colour, occur there apart. A *single object* has nothing but its
//! class to be held out by: train never asks for the test classes alone, but does ask for them
//! in the other tasks. The base itself has seen everything: what is held out is held out from
//! the alignment.

use std::collections::HashMap;
use std::sync::OnceLock;

use hyperalign_core::noise::{Purpose, Stream};

use super::caption::{Caption, Thing, Wording};
use super::{Color, Kind};
use crate::geneval::{Relation, Row, Task};

/// A set of prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// To train on.
    Train,
    /// To choose settings on.
    Tuning,
    /// To look at once.
    Test,
}

/// What a caption asks for, whatever its words and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Combination(Caption);

impl Combination {
    fn of(caption: &Caption) -> Self {
        Self(match *caption {
            Caption::Some { .. } => *caption,
            Caption::Both { first, second } => {
                Caption::Both { first: first.min(second), second: first.max(second) }
            }
            Caption::Placed { subject, relation, target, .. } => {
                let (subject, relation, target) = match relation {
                    Relation::LeftOf | Relation::Above => (subject, relation, target),
                    Relation::RightOf | Relation::Below => (target, relation.opposite(), subject),
                };
                Caption::Placed { subject, relation, target, wording: Wording::Short }
            }
        })
    }
}

/// The split that `caption` belongs to; `None` for captions that are nobody's benchmark, such as
/// positions of coloured shapes.
pub fn split_of(caption: &Caption) -> Option<Split> {
    table().split.get(&Combination::of(caption)).copied()
}

/// `n` rows of `split`, the tasks in turn. No prompt of a task comes again before all of its
/// prompts have come.
pub fn prompts(split: Split, n: usize, seed: u64) -> Vec<Row> {
    let mut decks: Vec<Vec<Caption>> = Task::ALL.map(|task| deck(split, task).to_vec()).into();
    for (task, deck) in decks.iter_mut().enumerate() {
        Stream::new(seed, Purpose::Data, split as u32, task as u32).shuffle(deck);
    }
    (0..n)
        .map(|k| {
            let deck = &decks[k % decks.len()];
            deck[k / Task::ALL.len() % deck.len()].row()
        })
        .collect()
}

/// A caption of a task and split.
pub(super) fn draw_from(split: Split, task: Task, stream: &mut Stream) -> Caption {
    *stream.pick(deck(split, task))
}

/// Every caption of a task and split, in every wording and order.
fn deck(split: Split, task: Task) -> &'static [Caption] {
    &table().decks[&(split, task)]
}

struct Table {
    split: HashMap<Combination, Split>,
    decks: HashMap<(Split, Task), Vec<Caption>>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table { split: HashMap::new(), decks: HashMap::new() };
        for task in Task::ALL {
            let captions = captions_of(task);
            let mut ranked: Vec<Combination> = captions.iter().map(Combination::of).collect();
            ranked.sort_by_key(|combination| (hash(&combination.0.to_string()), *combination));
            ranked.dedup();
            let [train, tuning] = [0.6, 0.75].map(|share| share * ranked.len() as f64);
            for (rank, combination) in ranked.into_iter().enumerate() {
                let rank = rank as f64;
                let split = match rank {
                    _ if rank < train => Split::Train,
                    _ if rank < tuning => Split::Tuning,
                    _ => Split::Test,
                };
                table.split.insert(combination, split);
            }
            for caption in captions {
                let split = table.split[&Combination::of(&caption)];
                table.decks.entry((split, task)).or_default().push(caption);
            }
        }
        table
    })
}

/// All captions of a task.
fn captions_of(task: Task) -> Vec<Caption> {
    let kinds: Vec<Thing> = Kind::all().map(Thing::plain).collect();
    let shapes: Vec<Thing> = Kind::SHAPES
        .into_iter()
        .flat_map(|kind| Color::ALL.map(|color| Thing { kind, color: Some(color) }))
        .collect();
    let one = |thing: &Thing| Caption::Some { thing: *thing, count: 1 };
    let both = |[first, second]: [Thing; 2]| Caption::Both { first, second };
    match task {
        Task::SingleObject => kinds.iter().map(one).collect(),
        Task::Colors => shapes.iter().map(one).collect(),
        Task::Counting => kinds
            .iter()
            .flat_map(|&thing| (2..=Caption::MOST).map(move |count| Caption::Some { thing, count }))
            .collect(),
        Task::TwoObject => pairs(&kinds).map(both).collect(),
        Task::ColorAttr => pairs(&shapes).filter(|[a, b]| a.color != b.color).map(both).collect(),
        Task::Position => pairs(&kinds)
            .flat_map(|pair| Relation::ALL.map(|relation| (pair, relation)))
            .flat_map(|(pair, relation)| placed(pair, relation))
            .collect(),
    }
}

/// All ordered pairs of things of different kinds.
fn pairs(things: &[Thing]) -> impl Iterator<Item = [Thing; 2]> + '_ {
    things
        .iter()
        .flat_map(|a| things.iter().map(move |b| [*a, *b]))
        .filter(|[a, b]| a.kind != b.kind)
}

/// All wordings of a position.
fn placed([subject, target]: [Thing; 2], relation: Relation) -> Vec<Caption> {
    let wordings: &[Wording] = match relation {
        Relation::LeftOf | Relation::RightOf => &[Wording::Short, Wording::Long],
        Relation::Above | Relation::Below => &[Wording::Short],
    };
    let caption = |&wording| Caption::Placed { subject, relation, target, wording };
    wordings.iter().map(caption).collect()
}

/// FNV-1a (Fowler, Noll & Vo) with a final mix: the same on every machine and in every version
/// of the standard library, whose own hasher promises neither.
fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325, fold);
    (hash ^ (hash >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::vocabulary;
    use super::*;

    const SPLITS: [Split; 3] = [Split::Train, Split::Tuning, Split::Test];

    #[test]
    fn splits_share_no_combination() {
        let combinations = |split| -> HashSet<Combination> {
            let decks = Task::ALL.into_iter().flat_map(|task| deck(split, task));
            decks.map(Combination::of).collect()
        };
        let sets = SPLITS.map(combinations);
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            assert!(sets[a].is_disjoint(&sets[b]));
        }
        // The other side of the same picture is in the same split.
        let split = |text| split_of(&Caption::parse(text).unwrap());
        assert_eq!(split("a dog left of a car"), split("a car to the right of a dog"));
        assert_eq!(split("a dog and a car"), split("a car and a dog"));
        assert_eq!(split("a red heart left of a dog"), None);
    }

    #[test]
    fn train_knows_every_word() {
        let decks = Task::ALL.into_iter().flat_map(|task| deck(Split::Train, task));
        let words: HashSet<String> = decks
            .flat_map(|c| c.to_string().split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let missing: Vec<_> = vocabulary().into_iter().filter(|w| !words.contains(w)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn train_knows_every_part_of_a_held_out_count_or_color() {
        let train = |task| deck(Split::Train, task).iter().flat_map(|c| c.things());
        for kind in Kind::all() {
            assert!(train(Task::Counting).any(|thing| thing.kind == kind), "several of {kind}");
        }
        for color in Color::ALL {
            assert!(train(Task::Colors).any(|thing| thing.color == Some(color)), "{color}");
        }
        for kind in Kind::SHAPES {
            assert!(train(Task::Colors).any(|thing| thing.kind == kind), "{kind} in a colour");
        }
    }

    #[test]
    fn prompts_are_balanced_and_many() {
        for split in SPLITS {
            let rows = prompts(split, 600, 5);
            for task in Task::ALL {
                assert_eq!(rows.iter().filter(|row| row.tag == task).count(), 100);
            }
            assert_eq!(rows, prompts(split, 600, 5));
            assert_ne!(rows, prompts(split, 600, 6));
        }
        let distinct = |split, n| {
            prompts(split, n, 5).into_iter().map(|r| r.prompt).collect::<HashSet<_>>().len()
        };
        assert!(distinct(Split::Test, 1200) >= 200, "{}", distinct(Split::Test, 1200));
    }
}
