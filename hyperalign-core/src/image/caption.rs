//! Text in pictures, in a fixed font of 5 x 9 pixels (printable ASCII, 7 above the base line).

use ::image::{Rgb, RgbImage};

/// Sixteen glyphs a line, drawn with `#`, from the space to the tilde.
const FONT: &str = include_str!("font.txt");
/// Width of a glyph at scale 1, in pixels; one more lies between two.
pub(super) const WIDTH: usize = 5;
/// Height of a line at scale 1, in pixels.
pub(super) const HEIGHT: u32 = 9;
const GLYPHS_A_LINE: usize = 16;

/// Draws `text` at `(x, y)`, cut to `room` pixels. Every pixel of the font becomes a square of
/// `scale` pixels; what is not in the font is shown as `?`.
pub(super) fn draw(
    canvas: &mut RgbImage,
    text: &str,
    (x, y): (u32, u32),
    room: u32,
    scale: u32,
    color: Rgb<u8>,
) {
    let advance = (WIDTH as u32 + 1) * scale;
    // The last glyph needs no gap after it.
    let fitting = (room + scale) / advance.max(1);
    for (k, character) in (0..fitting).zip(text.chars()) {
        for (dx, dy) in ink(character) {
            let (left, top) = (x + k * advance + dx * scale, y + dy * scale);
            for (px, py) in (0..scale * scale).map(|p| (left + p % scale, top + p / scale)) {
                if let Some(pixel) = canvas.get_pixel_mut_checked(px, py) {
                    *pixel = color;
                }
            }
        }
    }
}

/// The pixels of a glyph.
fn ink(character: char) -> impl Iterator<Item = (u32, u32)> {
    let glyph = if (' '..='~').contains(&character) { character } else { '?' };
    let index = glyph as usize - ' ' as usize;
    let first_line = index / GLYPHS_A_LINE * HEIGHT as usize;
    let first_column = index % GLYPHS_A_LINE * (WIDTH + 1);
    let lines = FONT.lines().skip(first_line).take(HEIGHT as usize);
    lines.enumerate().flat_map(move |(dy, line)| {
        let pixels = line.bytes().skip(first_column).take(WIDTH).enumerate();
        pixels.filter(|(_, mark)| *mark == b'#').map(move |(dx, _)| (dx as u32, dy as u32))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_glyph_is_its_own() {
        let glyphs: HashSet<Vec<_>> = (' '..='~').map(|c| ink(c).collect()).collect();
        assert_eq!(glyphs.len(), 95);
        assert_eq!(ink(' ').count(), 0);
        assert!(ink('ß').eq(ink('?')));
    }

    #[test]
    fn scale_and_room() {
        let ink_of = |text: &str, room: u32, scale: u32| {
            let mut canvas = RgbImage::new(80, 40);
            draw(&mut canvas, text, (1, 2), room, scale, Rgb([255; 3]));
            let inked = canvas.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] == 255);
            let right = inked.clone().map(|(x, _, _)| x).max().unwrap_or(0);
            (inked.count(), right)
        };
        // The bar of a `T` is five pixels wide.
        let (count, right) = ink_of("T", 5, 1);
        assert_eq!((count, right), (11, 5));
        assert_eq!(ink_of("T", 10, 2), (4 * count, 10));
        assert_eq!(ink_of("T", 4, 1).0, 0);
        // Two glyphs and the gap between need 11 pixels.
        assert_eq!(ink_of("TT", 10, 1), (count, right));
        assert_eq!(ink_of("TT", 11, 1), (2 * count, 11));
    }
}
