//! Captions: what can be asked of a world, in GenEval's six tasks.
//!
//! A caption is a typed request with a wording; text and [`Row`] are made from it, and
//! [`parse`](super::parse) makes it from text.

use std::fmt;

use hyperalign_core::noise::Stream;

use super::{Color, Kind, World};
use crate::geneval::{Exclude, Include, Relation, Row, Task};

/// One thing that a caption names: `dog`, `heart` or `red heart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// The colour asked for; shapes only.
    pub color: Option<Color>,
}

impl Thing {
    /// A thing of no particular colour.
    pub fn plain(kind: Kind) -> Self {
        Self { kind, color: None }
    }

    fn include(self, count: usize) -> Include {
        Include {
            class: self.kind.name().to_owned(),
            count,
            color: self.color.map(|color| color.name().to_owned()),
            position: None,
        }
    }

    fn with_article(self) -> String {
        let first = self.color.map_or(self.kind.name(), Color::name);
        let article = if first.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("{article} {}", self.bare(1))
    }

    fn bare(self, count: usize) -> String {
        let noun = if count == 1 { self.kind.name() } else { self.kind.plural() };
        self.color.map_or_else(|| noun.to_owned(), |color| format!("{color} {noun}"))
    }
}

/// How a relation is put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wording {
    /// `left of`, as GenEval says it.
    Short,
    /// `to the left of`. Above and below have no long wording.
    Long,
}

/// What a picture should show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caption {
    /// `a dog`, `a red heart`, `three apples`: one to four of one thing.
    Some {
        /// What.
        thing: Thing,
        /// How many: exactly, where more than one.
        count: usize,
    },
    /// `a dog and a red heart`: two things of different kinds.
    Both {
        /// The thing named first.
        first: Thing,
        /// The thing named second.
        second: Thing,
    },
    /// `a dog to the left of a car`: two things of different kinds and how they lie.
    Placed {
        /// The thing that lies somewhere.
        subject: Thing,
        /// Where.
        relation: Relation,
        /// Seen from what.
        target: Thing,
        /// How the relation is said.
        wording: Wording,
    },
}

impl Caption {
    /// The words for counts from one (an article, so no word here) to four.
    pub(super) const COUNTS: [&'static str; 3] = ["two", "three", "four"];

    /// The largest count.
    pub const MOST: usize = 4;

    /// The things named, in the order of their naming.
    pub fn things(&self) -> Vec<Thing> {
        match *self {
            Self::Some { thing, .. } => vec![thing],
            Self::Both { first, second } => vec![first, second],
            Self::Placed { subject, target, .. } => vec![subject, target],
        }
    }

    pub(super) fn things_mut(&mut self) -> Vec<&mut Thing> {
        match self {
            Self::Some { thing, .. } => vec![thing],
            Self::Both { first, second } => vec![first, second],
            Self::Placed { subject, target, .. } => vec![subject, target],
        }
    }

    /// GenEval's task for it.
    pub fn task(&self) -> Task {
        match self {
            Self::Some { count: 2.., .. } => Task::Counting,
            Self::Some { thing, .. } if thing.color.is_some() => Task::Colors,
            Self::Some { .. } => Task::SingleObject,
            Self::Both { first, second } if first.color.is_some() && second.color.is_some() => {
                Task::ColorAttr
            }
            Self::Both { .. } => Task::TwoObject,
            Self::Placed { .. } => Task::Position,
        }
    }

    /// GenEval's row for it. In a position the target's clause comes first, as in the published
    /// rows.
    pub fn row(&self) -> Row {
        let mut exclude = Vec::new();
        let include = match *self {
            Self::Some { thing, count } => {
                if count > 1 {
                    exclude.push(Exclude { class: thing.kind.name().to_owned(), count: count + 1 });
                }
                vec![thing.include(count)]
            }
            Self::Both { first, second } => vec![first.include(1), second.include(1)],
            Self::Placed { subject, relation, target, .. } => vec![
                target.include(1),
                Include { position: Some((relation, 0)), ..subject.include(1) },
            ],
        };
        Row { tag: self.task(), include, exclude, prompt: self.to_string() }
    }
}

impl fmt::Display for Caption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Some { thing, count: 1 } => f.write_str(&thing.with_article()),
            Self::Some { thing, count } => {
                write!(f, "{} {}", Self::COUNTS[count - 2], thing.bare(count))
            }
            Self::Both { first, second } => {
                write!(f, "{} and {}", first.with_article(), second.with_article())
            }
            Self::Placed { subject, relation, target, wording } => {
                let to_the = if wording == Wording::Long { "to the " } else { "" };
                let (subject, target) = (subject.with_article(), target.with_article());
                write!(f, "{subject} {to_the}{relation} {target}")
            }
        }
    }
}

impl World {
    /// A caption of `task`, drawn at random. Shapes go without colours where the task has none.
    pub fn caption(self, task: Task, stream: &mut Stream) -> Caption {
        match task {
            Task::SingleObject => {
                Caption::Some { thing: Thing::plain(self.any_kind(stream)), count: 1 }
            }
            Task::Counting => {
                let thing = Thing::plain(self.any_kind(stream));
                Caption::Some { thing, count: 2 + stream.below(Caption::MOST - 1) }
            }
            Task::Colors => Caption::Some { thing: self.any_shape(stream), count: 1 },
            Task::TwoObject => {
                let [first, second] = self.two_kinds(stream).map(Thing::plain);
                Caption::Both { first, second }
            }
            Task::Position => {
                let [subject, target] = self.two_kinds(stream).map(Thing::plain);
                let relation = *stream.pick(&Relation::ALL);
                let wording = any_wording(relation, stream);
                Caption::Placed { subject, relation, target, wording }
            }
            Task::ColorAttr => {
                let first = self.any_shape(stream);
                let kind = other(Kind::SHAPES, &[first.kind], stream);
                let worn: Vec<Color> = first.color.into_iter().collect();
                let color = other(self.colors().iter().copied(), &worn, stream);
                Caption::Both { first, second: Thing { kind, color: Some(color) } }
            }
        }
    }

    /// `caption` with a colour for each shape that has none, each with probability `p`.
    pub fn colored(self, mut caption: Caption, p: f64, stream: &mut Stream) -> Caption {
        for thing in caption.things_mut() {
            if thing.kind.is_shape() && thing.color.is_none() && stream.chance(p) {
                thing.color = Some(*stream.pick(self.colors()));
            }
        }
        caption
    }

    fn any_kind(self, stream: &mut Stream) -> Kind {
        *stream.pick(&self.kinds().collect::<Vec<_>>())
    }

    fn any_shape(self, stream: &mut Stream) -> Thing {
        let kind = *stream.pick(&Kind::SHAPES);
        Thing { kind, color: Some(*stream.pick(self.colors())) }
    }

    fn two_kinds(self, stream: &mut Stream) -> [Kind; 2] {
        let first = self.any_kind(stream);
        [first, other(self.kinds(), &[first], stream)]
    }
}

fn any_wording(relation: Relation, stream: &mut Stream) -> Wording {
    let sideways = matches!(relation, Relation::LeftOf | Relation::RightOf);
    if sideways && stream.chance(0.5) { Wording::Long } else { Wording::Short }
}

/// One of `all` that is not in `but`.
pub(super) fn other<T: PartialEq + Copy>(
    all: impl IntoIterator<Item = T>,
    but: &[T],
    stream: &mut Stream,
) -> T {
    let left: Vec<T> = all.into_iter().filter(|item| !but.contains(item)).collect();
    *stream.pick(&left)
}
