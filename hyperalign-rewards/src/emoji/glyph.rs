//! What the world holds: objects, coloured shapes, and the words for them.

use std::fmt;

/// A class of things. The world's classes in GenEval's sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An object, with its own colours.
    Apple,
    /// An object.
    Car,
    /// An object.
    Dog,
    /// An object.
    Fish,
    /// An object.
    Flower,
    /// An object.
    Football,
    /// An object.
    Key,
    /// An object.
    Mushroom,
    /// An object.
    Star,
    /// An object.
    Tree,
    /// An object.
    Umbrella,
    /// A shape, in any of the world's colours.
    Heart,
    /// A shape.
    Circle,
    /// A shape.
    Square,
}

impl Kind {
    /// The things that have one look each.
    pub const OBJECTS: [Self; 11] = [
        Self::Apple,
        Self::Car,
        Self::Dog,
        Self::Fish,
        Self::Flower,
        Self::Football,
        Self::Key,
        Self::Mushroom,
        Self::Star,
        Self::Tree,
        Self::Umbrella,
    ];

    /// The things that come in every [`Color`].
    pub const SHAPES: [Self; 3] = [Self::Heart, Self::Circle, Self::Square];

    /// Objects and shapes.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        Self::OBJECTS.into_iter().chain(Self::SHAPES)
    }

    /// Whether this is one of the [`SHAPES`](Self::SHAPES).
    pub fn is_shape(self) -> bool {
        Self::SHAPES.contains(&self)
    }

    /// The word for one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apple => "apple",
            Self::Car => "car",
            Self::Dog => "dog",
            Self::Fish => "fish",
            Self::Flower => "flower",
            Self::Football => "football",
            Self::Key => "key",
            Self::Mushroom => "mushroom",
            Self::Star => "star",
            Self::Tree => "tree",
            Self::Umbrella => "umbrella",
            Self::Heart => "heart",
            Self::Circle => "circle",
            Self::Square => "square",
        }
    }

    /// The word for several.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Apple => "apples",
            Self::Car => "cars",
            Self::Dog => "dogs",
            Self::Fish => "fish",
            Self::Flower => "flowers",
            Self::Football => "footballs",
            Self::Key => "keys",
            Self::Mushroom => "mushrooms",
            Self::Star => "stars",
            Self::Tree => "trees",
            Self::Umbrella => "umbrellas",
            Self::Heart => "hearts",
            Self::Circle => "circles",
            Self::Square => "squares",
        }
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
    /// Twemoji's yellow.
    Yellow,
    /// Twemoji's green.
    Green,
    /// Twemoji's blue.
    Blue,
    /// Twemoji's black, a dark grey.
    Black,
}

impl Color {
    /// All colours.
    pub const ALL: [Self; 5] = [Self::Red, Self::Yellow, Self::Green, Self::Blue, Self::Black];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
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

    /// Every look in the world.
    pub fn all() -> impl Iterator<Item = Self> {
        let objects = Kind::OBJECTS.into_iter().map(|kind| Self { kind, color: None });
        let shapes = Kind::SHAPES.into_iter().flat_map(|kind| {
            Color::ALL.into_iter().map(move |color| Self { kind, color: Some(color) })
        });
        objects.chain(shapes)
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
        use Color::{Black, Blue, Green, Red, Yellow};
        match (self.kind, self.color) {
            (Kind::Apple, _) => "🍎",
            (Kind::Car, _) => "🚗",
            (Kind::Dog, _) => "🐶",
            (Kind::Fish, _) => "🐟",
            (Kind::Flower, _) => "🌻",
            (Kind::Football, _) => "⚽",
            (Kind::Key, _) => "🔑",
            (Kind::Mushroom, _) => "🍄",
            (Kind::Star, _) => "⭐",
            (Kind::Tree, _) => "🌲",
            (Kind::Umbrella, _) => "☂",
            (Kind::Heart, Some(Red)) => "❤",
            (Kind::Heart, Some(Yellow)) => "💛",
            (Kind::Heart, Some(Green)) => "💚",
            (Kind::Heart, Some(Blue)) => "💙",
            (Kind::Heart, _) => "🖤",
            (Kind::Circle, Some(Red)) => "🔴",
            (Kind::Circle, Some(Yellow)) => "🟡",
            (Kind::Circle, Some(Green)) => "🟢",
            (Kind::Circle, Some(Blue)) => "🔵",
            (Kind::Circle, _) => "⚫",
            (Kind::Square, Some(Red)) => "🟥",
            (Kind::Square, Some(Yellow)) => "🟨",
            (Kind::Square, Some(Green)) => "🟩",
            (Kind::Square, Some(Blue)) => "🟦",
            (Kind::Square, Some(Black) | None) => "⬛",
        }
    }
}
