//! Sprites: Twemoji, brought to the world's two sizes.

use std::sync::OnceLock;

use image::imageops::FilterType;
use image::{Rgba, Rgba32FImage};
use twemoji_assets::png::PngTwemojiAsset;

use super::Glyph;

/// The names that the licence of the sprites asks for wherever they are shown.
pub const ATTRIBUTION: &str = "Emoji graphics: Twemoji, copyright 2020 Twitter, Inc and other \
    contributors, licensed under CC-BY 4.0 (https://creativecommons.org/licenses/by/4.0/); \
    resized";

/// Edges that a sprite may have, in pixels.
pub const SPRITE_SIZES: [usize; 2] = [20, 24];

/// The pixels of a glyph at one size.
#[derive(Debug, Clone)]
pub struct Sprite {
    /// What it shows.
    pub glyph: Glyph,
    /// Edge in pixels.
    pub size: usize,
    /// Colour times alpha, `[3, size, size]`, in `[0, 1]`.
    pub color: Vec<f32>,
    /// Coverage, `[size, size]`, in `[0, 1]`.
    pub alpha: Vec<f32>,
}

impl Sprite {
    /// The sprite of `glyph` whose edge is `SPRITE_SIZES[size]`.
    ///
    /// # Panics
    ///
    /// Panics if `size` is not an index of [`SPRITE_SIZES`].
    pub fn of(glyph: Glyph, size: usize) -> &'static Self {
        all()
            .iter()
            .filter(|sprite| sprite.size == SPRITE_SIZES[size])
            .find(|sprite| sprite.glyph == glyph)
            .expect("the table holds every glyph at every size")
    }

    fn load(glyph: Glyph, size: usize) -> Self {
        let asset = PngTwemojiAsset::from_emoji(glyph.emoji())
            .expect("every emoji of the world is part of Twemoji");
        let full =
            image::load_from_memory(asset.data.0).expect("the assets are valid PNG").into_rgba32f();
        // Averaging colours with their coverage keeps the black of transparent pixels, which
        // nobody sees, from darkening the edges.
        let premultiplied = Rgba32FImage::from_fn(full.width(), full.height(), |x, y| {
            let Rgba([r, g, b, a]) = *full.get_pixel(x, y);
            Rgba([r * a, g * a, b * a, a])
        });
        let edge = u32::try_from(size).expect("sprites are small");
        let small = image::imageops::resize(&premultiplied, edge, edge, FilterType::Triangle);
        let plane = |channel: usize| small.pixels().map(move |pixel| pixel.0[channel]);
        Self { glyph, size, color: (0..3).flat_map(plane).collect(), alpha: plane(3).collect() }
    }
}

/// Every glyph at every size.
pub fn all() -> &'static [Sprite] {
    static SPRITES: OnceLock<Vec<Sprite>> = OnceLock::new();
    SPRITES.get_or_init(|| {
        let sizes = SPRITE_SIZES.into_iter();
        sizes.flat_map(|size| Glyph::all().map(move |glyph| Sprite::load(glyph, size))).collect()
    })
}
