//! Which things a world holds, and which combinations it keeps out of training.
//!
//! All worlds share one language, one renderer and one scorer; what differs is what is drawn from
//! them. Everything random about a world is a method here or in a neighbouring file.

use super::{Color, Glyph, Kind};

/// A set of things with their prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    size: Size,
    holdout: Holdout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Size {
    Small,
    Large,
}

/// What the splits of a world's prompts keep apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holdout {
    /// Combinations of every task. A diagnostic of what training does to combinations that it never
    /// asks for: tasks with few of them (colours, counts) lose most.
    Closed,
    /// Combinations of the tasks with many of them: two objects, position, colour attribution.
    /// Single objects, colours and counts are trained on whole and tested with new noise, as the
    /// paper's test prompts are new prompts of the training distribution.
    Open,
}

impl World {
    /// Eleven objects, and three shapes in five colours.
    pub const SMALL: Self = Self { size: Size::Small, holdout: Holdout::Closed };

    /// Twenty objects, and three shapes in eight colours.
    pub const LARGE: Self = Self { size: Size::Large, holdout: Holdout::Open };

    /// Every world with every holdout.
    #[cfg(test)]
    pub(super) fn every() -> impl Iterator<Item = Self> {
        [Self::SMALL, Self::LARGE]
            .into_iter()
            .flat_map(|world| [Holdout::Closed, Holdout::Open].map(|h| world.with_holdout(h)))
    }

    /// The same things with other splits.
    #[must_use]
    pub fn with_holdout(self, holdout: Holdout) -> Self {
        Self { holdout, ..self }
    }

    /// What its splits keep apart.
    pub fn holdout(self) -> Holdout {
        self.holdout
    }

    /// The largest world all of whose words are `known`, for a base that says which words it
    /// knows; the small one where none is.
    pub fn of_words(known: impl Fn(&str) -> bool) -> Self {
        let is_known = |world: &Self| world.words().iter().all(|word| known(word));
        [Self::LARGE].into_iter().find(is_known).unwrap_or(Self::SMALL)
    }

    /// The things that have one look each.
    pub fn objects(self) -> &'static [Kind] {
        use Kind::{
            Apple, Banana, Boat, Butterfly, Car, Carrot, Clock, Dog, Fish, Flower, Football, House,
            Key, Mushroom, Penguin, Robot, Rocket, Star, Tree, Umbrella,
        };
        match self.size {
            Size::Small => {
                &[Apple, Car, Dog, Fish, Flower, Football, Key, Mushroom, Star, Tree, Umbrella]
            }
            Size::Large => &[
                Apple, Banana, Boat, Butterfly, Car, Carrot, Clock, Dog, Fish, Flower, Football,
                House, Key, Mushroom, Penguin, Robot, Rocket, Star, Tree, Umbrella,
            ],
        }
    }

    /// Objects and shapes.
    pub fn kinds(self) -> impl Iterator<Item = Kind> + Clone {
        self.objects().iter().copied().chain(Kind::SHAPES)
    }

    /// The colours that its shapes come in.
    pub fn colors(self) -> &'static [Color] {
        use Color::{Black, Blue, Green, Red, Yellow};
        match self.size {
            Size::Small => &[Red, Yellow, Green, Blue, Black],
            Size::Large => &Color::ALL,
        }
    }

    /// Every look that its things have.
    pub fn glyphs(self) -> impl Iterator<Item = Glyph> {
        let worn = move |glyph: &Glyph| glyph.color().is_none_or(|c| self.colors().contains(&c));
        self.kinds().flat_map(Glyph::of).filter(worn)
    }

    /// The words for its things and colours.
    pub(super) fn words(self) -> Vec<&'static str> {
        let colors = self.colors().iter().map(|color| color.name());
        self.kinds().flat_map(|kind| [kind.name(), kind.plural()]).chain(colors).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_of_the_largest_world_that_it_has_words_for() {
        assert_eq!(World::of_words(|_| true), World::LARGE);
        assert_eq!(World::of_words(|word| word != "penguin"), World::SMALL);
        assert_eq!(World::of_words(|_| false), World::SMALL);
    }
}
