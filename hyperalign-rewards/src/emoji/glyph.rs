//! What the worlds hold: objects, coloured shapes, and the words for them.

use std::fmt;

/// A class of things. The worlds' classes in GenEval's sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An object, with its own colours.
    Apple,
    /// An object.
    Banana,
    /// An object.
    Boat,
    /// An object.
    Butterfly,
    /// An object.
    Car,
    /// An object.
    Carrot,
    /// An object.
    Clock,
    /// An object.
    Dog,
    /// An object.
    Fish,
    /// An object.
    Flower,
    /// An object.
    Football,
    /// An object.
    House,
    /// An object.
    Key,
    /// An object.
    Mushroom,
    /// An object.
    Penguin,
    /// An object.
    Robot,
    /// An object.
    Rocket,
    /// An object.
    Star,
    /// An object.
    Tree,
    /// An object.
    Umbrella,
    /// A shape, in any of a world's colours.
    Heart,
    /// A shape.
    Circle,
    /// A shape.
    Square,
}

/// How a kind is called and, for objects, drawn: the word for one, the word for several, the emoji.
type Entry = (Kind, &'static str, &'static str, &'static str);

/// Every kind, in the order of the enumeration.
const KINDS: [Entry; 23] = [
    (Kind::Apple, "apple", "apples", "🍎"),
    (Kind::Banana, "banana", "bananas", "🍌"),
    (Kind::Boat, "boat", "boats", "⛵"),
    (Kind::Butterfly, "butterfly", "butterflies", "🦋"),
    (Kind::Car, "car", "cars", "🚗"),
    (Kind::Carrot, "carrot", "carrots", "🥕"),
    (Kind::Clock, "clock", "clocks", "⏰"),
    (Kind::Dog, "dog", "dogs", "🐶"),
    (Kind::Fish, "fish", "fish", "🐟"),
    (Kind::Flower, "flower", "flowers", "🌻"),
    (Kind::Football, "football", "footballs", "⚽"),
    (Kind::House, "house", "houses", "🏠"),
    (Kind::Key, "key", "keys", "🔑"),
    (Kind::Mushroom, "mushroom", "mushrooms", "🍄"),
    (Kind::Penguin, "penguin", "penguins", "🐧"),
    (Kind::Robot, "robot", "robots", "🤖"),
    (Kind::Rocket, "rocket", "rockets", "🚀"),
    (Kind::Star, "star", "stars", "⭐"),
    (Kind::Tree, "tree", "trees", "🌲"),
    (Kind::Umbrella, "umbrella", "umbrellas", "☂"),
    (Kind::Heart, "heart", "hearts", ""),
    (Kind::Circle, "circle", "circles", ""),
    (Kind::Square, "square", "squares", ""),
];

impl Kind {
    /// The things that come in colours.
    pub const SHAPES: [Self; 3] = [Self::Heart, Self::Circle, Self::Square];

    /// The kinds of all worlds, objects first.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        KINDS.into_iter().map(|(kind, ..)| kind)
    }

    /// Whether this is one of the [`SHAPES`](Self::SHAPES).
    pub fn is_shape(self) -> bool {
        Self::SHAPES.contains(&self)
    }

    /// The word for one.
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// The word for several.
    pub fn plural(self) -> &'static str {
        KINDS[self as usize].2
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The colours of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Color {
    /// Twemoji's red.
    Red,
    /// Twemoji's orange.
    Orange,
    /// Twemoji's yellow.
    Yellow,
    /// Twemoji's green.
    Green,
    /// Twemoji's blue.
    Blue,
    /// Twemoji's purple.
    Purple,
    /// Twemoji's brown.
    Brown,
    /// Twemoji's black, a dark grey.
    Black,
}

impl Color {
    /// The colours of all worlds.
    pub const ALL: [Self; 8] = [
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
        Self::Brown,
        Self::Black,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Brown => "brown",
            Self::Black => "black",
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One look: an object, or a shape in a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Glyph {
    kind: Kind,
    color: Option<Color>,
}

impl Glyph {
    /// The look of `kind`. Shapes have a colour, objects have none.
    ///
    /// # Panics
    ///
    /// Panics for a shape without and for an object with a colour.
    pub fn new(kind: Kind, color: Option<Color>) -> Self {
        assert_eq!(kind.is_shape(), color.is_some(), "{kind} with colour {color:?}");
        Self { kind, color }
    }

    /// Every look there is in any world.
    pub fn all() -> impl Iterator<Item = Self> {
        Kind::all().flat_map(Self::of)
    }

    /// The looks of a kind: one of an object, one for each colour of a shape.
    pub fn of(kind: Kind) -> impl Iterator<Item = Self> {
        let plain = (!kind.is_shape()).then_some(Self { kind, color: None });
        let colors = Color::ALL.into_iter().filter(move |_| kind.is_shape());
        plain.into_iter().chain(colors.map(move |color| Self { kind, color: Some(color) }))
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Its colour, for a shape.
    pub fn color(self) -> Option<Color> {
        self.color
    }

    /// The emoji that is drawn.
    pub(super) fn emoji(self) -> &'static str {
        // In the order of the colours.
        let shapes = match self.kind {
            Kind::Heart => ["❤", "🧡", "💛", "💚", "💙", "💜", "🤎", "🖤"],
            Kind::Circle => ["🔴", "🟠", "🟡", "🟢", "🔵", "🟣", "🟤", "⚫"],
            Kind::Square => ["🟥", "🟧", "🟨", "🟩", "🟦", "🟪", "🟫", "⬛"],
            object => return KINDS[object as usize].3,
        };
        shapes[self.color.map_or(0, |color| color as usize)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_enumeration() {
        for (index, (kind, ..)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind}");
        }
        for (index, color) in Color::ALL.into_iter().enumerate() {
            assert_eq!(color as usize, index, "{color}");
        }
        assert_eq!(Glyph::all().count(), KINDS.len() - 3 + 3 * Color::ALL.len());
    }
}
