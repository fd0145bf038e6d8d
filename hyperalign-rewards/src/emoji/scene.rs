//! Scenes: what lies where, before any pixel is drawn.

use hyperalign_core::noise::Stream;

use super::caption::{Caption, Thing};
use super::{Glyph, SIZE, SPRITE_SIZES, World};
use crate::geneval::{BoundingBox, relations};

/// Sprites lie on multiples of this many pixels: the autoencoder's factor, so that its grid
/// always cuts them the same way.
const GRID: usize = 4;

/// One sprite at its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// What lies there.
    pub glyph: Glyph,
    /// Index into [`SPRITE_SIZES`].
    pub size: usize,
    /// Left edge in pixels.
    pub x: usize,
    /// Top edge in pixels.
    pub y: usize,
}

impl Placement {
    /// The sprite's box.
    pub fn bounds(&self) -> BoundingBox {
        let edge = SPRITE_SIZES[self.size] as f32;
        BoundingBox { x: self.x as f32, y: self.y as f32, width: edge, height: edge }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let apart = |a: usize, a_size: usize, b: usize, b_size: usize| {
            a + SPRITE_SIZES[a_size] <= b || b + SPRITE_SIZES[b_size] <= a
        };
        !(apart(self.x, self.size, other.x, other.size)
            || apart(self.y, self.size, other.y, other.size))
    }
}

/// Things on a plain background. Shows what its caption asks for, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Colour of the background: red, green, blue in `[0, 1]`.
    pub background: [f32; 3],
    /// The sprites; their boxes are disjoint.
    pub placements: Vec<Placement>,
}

impl World {
    /// A scene for `caption`, drawn at random: background, sizes, places, and the colours that
    /// the caption leaves open.
    ///
    /// Two things with a relation stand in that one and no other, so that a diagonal never makes
    /// two captions right.
    pub fn scene(self, caption: &Caption, stream: &mut Stream) -> Scene {
        let background = pastel(stream);
        let glyphs: Vec<Glyph> = match *caption {
            Caption::Some { thing, count } => {
                (0..count).map(|_| self.glyph(thing, stream)).collect()
            }
            _ => caption.things().into_iter().map(|thing| self.glyph(thing, stream)).collect(),
        };
        loop {
            if let Some(placements) = place(&glyphs, stream)
                && holds(caption, &placements)
            {
                return Scene { background, placements };
            }
        }
    }

    fn glyph(self, thing: Thing, stream: &mut Stream) -> Glyph {
        let any = |stream: &mut Stream| *stream.pick(self.colors());
        let color = thing.kind.is_shape().then(|| thing.color.unwrap_or_else(|| any(stream)));
        Glyph::new(thing.kind, color)
    }
}

/// Places for all glyphs, or `None` where the first ones left no room for the last.
fn place(glyphs: &[Glyph], stream: &mut Stream) -> Option<Vec<Placement>> {
    const TRIES: usize = 20;
    let mut placements: Vec<Placement> = Vec::with_capacity(glyphs.len());
    for &glyph in glyphs {
        let free = (0..TRIES).find_map(|_| {
            let size = stream.below(SPRITE_SIZES.len());
            let places = (SIZE - SPRITE_SIZES[size]) / GRID + 1;
            let [x, y] = [(); 2].map(|()| GRID * stream.below(places));
            let candidate = Placement { glyph, size, x, y };
            (!placements.iter().any(|placed| placed.overlaps(&candidate))).then_some(candidate)
        });
        placements.push(free?);
    }
    Some(placements)
}

fn holds(caption: &Caption, placements: &[Placement]) -> bool {
    match (caption, placements) {
        (Caption::Placed { relation, .. }, [subject, target]) => {
            relations(&subject.bounds(), &target.bounds()) == [*relation]
        }
        _ => true,
    }
}

/// A light background of any hue: saturation .12 to .25, value .85 to .97.
fn pastel(stream: &mut Stream) -> [f32; 3] {
    let hue = stream.range(0.0, 6.0);
    let saturation = stream.range(0.12, 0.25);
    let value = stream.range(0.85, 0.97);
    // Smith 1978, "Color gamut transform pairs": each channel is a clipped triangle of the hue.
    [5.0, 3.0, 1.0].map(|shift: f64| {
        let k = (shift + hue) % 6.0;
        (value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))) as f32
    })
}
