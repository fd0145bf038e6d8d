//! Train, tuning and test prompts, disjoint by what they ask for and not only by wording.
//!
//! What a prompt asks for is its combination: `a dog left of a car`,
//! `a dog to the left of a car` and `a car right of a dog` are one, as are `a dog and a car` and
//! `a car and a dog`. The combinations of a task that holds some out are ranked by a hash and cut
//! into shares of 65, 10 and 25 % ([`Holdout::Closed`]: 60, 15 and 25).
//!
//! What this does and does not hold out. In *two objects*, *position* and *colour attribution*
//! the things of a test prompt all occur in train, in other company. *Single objects*, *colours*
//! and *counting* are whole in every split, and differ in their noise. Where they are closed, a
//! test prompt is a (class, count) or (shape, colour) that train never asks for; the class and
//! the count, the shape and the colour, occur there apart, and train never asks for the single
//! objects of the test alone. The base itself has seen everything: what is held out is held out
//! from the alignment.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use hyperalign_core::noise::{Purpose, Stream};

use super::Kind;
use super::caption::{Caption, Thing, Wording};
use super::world::{Holdout, World};
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

impl Split {
    /// The three of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Tuning, Self::Test];
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

impl World {
    /// The split that `caption` belongs to; `None` for captions that are nobody's benchmark, such as
    /// positions of coloured shapes, and for those that belong to all splits.
    pub fn split_of(self, caption: &Caption) -> Option<Split> {
        self.table().split.get(&Combination::of(caption)).copied()
    }

    /// `n` rows of `split`, the tasks in turn. No prompt of a task comes again before all of its
    /// prompts have come.
    pub fn prompts(self, split: Split, n: usize, seed: u64) -> Vec<Row> {
        let mut decks: Vec<Vec<Caption>> =
            Task::ALL.map(|task| self.deck(split, task).to_vec()).into();
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
    pub(super) fn draw_from(self, split: Split, task: Task, stream: &mut Stream) -> Caption {
        *stream.pick(self.deck(split, task))
    }

    /// Whether training asks for some combinations of `task` only.
    pub fn holds_out(self, task: Task) -> bool {
        match task {
            Task::TwoObject | Task::Position | Task::ColorAttr => true,
            Task::SingleObject | Task::Counting | Task::Colors => self.holdout() == Holdout::Closed,
        }
    }

    /// Every caption of a task and split, in every wording and order.
    fn deck(self, split: Split, task: Task) -> &'static [Caption] {
        &self.table().decks[&(split, task)]
    }

    fn table(self) -> &'static Table {
        static TABLES: OnceLock<Mutex<HashMap<World, &'static Table>>> = OnceLock::new();
        let tables = TABLES.get_or_init(Mutex::default);
        let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.entry(self).or_insert_with(|| Box::leak(Box::new(Table::of(self))))
    }

    /// All captions of a task.
    fn captions_of(self, task: Task) -> Vec<Caption> {
        let kinds: Vec<Thing> = self.kinds().map(Thing::plain).collect();
        let colors =
            |kind| self.colors().iter().map(move |color| Thing { kind, color: Some(*color) });
        let shapes: Vec<Thing> = Kind::SHAPES.into_iter().flat_map(colors).collect();
        let one = |thing: &Thing| Caption::Some { thing: *thing, count: 1 };
        let both = |[first, second]: [Thing; 2]| Caption::Both { first, second };
        let several = |thing| (2..=Caption::MOST).map(move |count| Caption::Some { thing, count });
        match task {
            Task::SingleObject => kinds.iter().map(one).collect(),
            Task::Colors => shapes.iter().map(one).collect(),
            Task::Counting => kinds.iter().flat_map(|&thing| several(thing)).collect(),
            Task::TwoObject => pairs(&kinds).map(both).collect(),
            Task::ColorAttr => {
                pairs(&shapes).filter(|[a, b]| a.color != b.color).map(both).collect()
            }
            Task::Position => pairs(&kinds)
                .flat_map(|pair| Relation::ALL.map(|relation| (pair, relation)))
                .flat_map(|(pair, relation)| placed(pair, relation))
                .collect(),
        }
    }
}

/// The splits of a world.
struct Table {
    split: HashMap<Combination, Split>,
    decks: HashMap<(Split, Task), Vec<Caption>>,
}

impl Table {
    fn of(world: World) -> Self {
        // The shares of train, and of train and tuning together.
        let shares = match world.holdout() {
            Holdout::Closed => [0.6, 0.75],
            Holdout::Open => [0.65, 0.75],
        };
        let mut table = Self { split: HashMap::new(), decks: HashMap::new() };
        for task in Task::ALL {
            let captions = world.captions_of(task);
            if !world.holds_out(task) {
                for split in Split::ALL {
                    table.decks.insert((split, task), captions.clone());
                }
                continue;
            }
            let mut ranked: Vec<Combination> = captions.iter().map(Combination::of).collect();
            ranked.sort_by_key(|combination| (hash(&combination.0.to_string()), *combination));
            ranked.dedup();
            let [train, tuning] = shares.map(|share| share * ranked.len() as f64);
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
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn combinations(world: World, split: Split, task: Task) -> HashSet<Combination> {
        world.deck(split, task).iter().map(Combination::of).collect()
    }

    #[test]
    fn splits_share_no_combination_that_is_held_out() {
        for world in World::every() {
            for task in Task::ALL {
                let [train, tuning, test] =
                    Split::ALL.map(|split| combinations(world, split, task));
                if !world.holds_out(task) {
                    assert!(train == tuning && train == test, "{world:?} {task}");
                    continue;
                }
                for (a, b) in [(&train, &tuning), (&train, &test), (&tuning, &test)] {
                    assert!(a.is_disjoint(b), "{world:?} {task}");
                }
                let all = (train.len() + tuning.len() + test.len()) as f64;
                assert!((test.len() as f64 / all - 0.25).abs() < 0.5 / all + 0.03, "{task}");
            }
        }
        // The other side of the same picture is in the same split.
        let split = |text| World::LARGE.split_of(&Caption::parse(text).unwrap());
        assert_eq!(split("a dog left of a car"), split("a car to the right of a dog"));
        assert_eq!(split("a dog and a car"), split("a car and a dog"));
        assert_eq!(split("a red heart left of a dog"), None);
    }

    #[test]
    fn train_knows_every_word() {
        for world in [World::SMALL, World::LARGE] {
            let decks = Task::ALL.into_iter().flat_map(|task| world.deck(Split::Train, task));
            let words: HashSet<String> = decks
                .flat_map(|c| c.to_string().split(' ').map(str::to_owned).collect::<Vec<_>>())
                .collect();
            let vocabulary = world.vocabulary();
            let missing: Vec<_> = vocabulary.iter().filter(|w| !words.contains(*w)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    }

    #[test]
    fn train_has_every_thing_in_every_role() {
        for world in World::every() {
            let mut roles: HashMap<(Task, String), HashSet<Thing>> = HashMap::new();
            for task in Task::ALL {
                for caption in world.deck(Split::Train, task) {
                    for (index, thing) in caption.things().into_iter().enumerate() {
                        let role = match caption {
                            Caption::Placed { relation, .. } => format!("{index} {relation}"),
                            Caption::Both { .. } => index.to_string(),
                            Caption::Some { .. } => continue,
                        };
                        roles.entry((task, role)).or_default().insert(thing);
                    }
                }
            }
            let kinds = world.kinds().count();
            let shapes = 3 * world.colors().len();
            for ((task, role), things) in roles {
                let all = if task == Task::ColorAttr { shapes } else { kinds };
                assert_eq!(things.len(), all, "{world:?} {task} {role}");
            }
        }
    }

    #[test]
    fn train_knows_every_part_of_a_held_out_count_or_color() {
        let world = World::SMALL;
        let train = |task| world.deck(Split::Train, task).iter().flat_map(|c| c.things());
        for kind in world.kinds() {
            assert!(train(Task::Counting).any(|thing| thing.kind == kind), "several of {kind}");
        }
        for &color in world.colors() {
            assert!(train(Task::Colors).any(|thing| thing.color == Some(color)), "{color}");
        }
        for kind in Kind::SHAPES {
            assert!(train(Task::Colors).any(|thing| thing.kind == kind), "{kind} in a colour");
        }
    }

    #[test]
    fn prompts_are_balanced_and_many() {
        for world in World::every() {
            for split in Split::ALL {
                let rows = world.prompts(split, 600, 5);
                for task in Task::ALL {
                    assert_eq!(rows.iter().filter(|row| row.tag == task).count(), 100);
                }
                assert_eq!(rows, world.prompts(split, 600, 5));
                assert_ne!(rows, world.prompts(split, 600, 6));
            }
        }
        let distinct = |world: World, n| {
            let rows = world.prompts(Split::Test, n, 5);
            rows.into_iter().map(|r| r.prompt).collect::<HashSet<_>>().len()
        };
        assert!(distinct(World::SMALL, 660) >= 200, "{}", distinct(World::SMALL, 660));
        assert!(distinct(World::LARGE, 660) >= 400, "{}", distinct(World::LARGE, 660));
    }

    /// The tables of earlier runs are of these prompts.
    #[test]
    fn the_small_world_keeps_its_prompts() {
        let rows = World::SMALL.prompts(Split::Test, 660, 0);
        let text: Vec<&str> = rows.iter().map(|row| row.prompt.as_str()).collect();
        assert_eq!(hash(&text.join("\n")), 0x148f_d9c6_927f_687b);
    }
}
