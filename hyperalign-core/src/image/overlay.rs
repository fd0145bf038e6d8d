//! Marks of objects in a picture: mask, box and label.

use ::image::{Rgb, RgbImage};

use super::caption;

/// How much of a marked pixel is the colour of the mark, in 256ths.
const TINT: u32 = 102;
/// Black behind labels, so that they can be read on anything.
const BEHIND: Rgb<u8> = Rgb([0; 3]);
/// Pixels of a side for each pixel of thickness.
const SIDE: u32 = 400;

/// An object to mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its colour.
    pub color: Rgb<u8>,
    /// What is written at its box.
    pub label: String,
    /// Left and top edge of the box, in pixels.
    pub from: (u32, u32),
    /// Right and bottom edge, exclusive.
    pub to: (u32, u32),
    /// The pixels of the object, row by row of the whole picture; may be empty.
    pub mask: Vec<bool>,
}

/// Draws a mark: its pixels tinted, its box as a frame, its label at the top of the box. What lies
/// outside of the picture is left out.
pub fn mark(canvas: &mut RgbImage, mark: &Mark) {
    for (pixel, _) in canvas.pixels_mut().zip(&mark.mask).filter(|(_, is_marked)| **is_marked) {
        for (value, tint) in pixel.0.iter_mut().zip(mark.color.0) {
            let mixed = u32::from(*value) * (256 - TINT) + u32::from(tint) * TINT;
            *value = (mixed / 256) as u8;
        }
    }
    let scale = 1 + canvas.width().min(canvas.height()) / SIDE;
    let ((left, top), (right, bottom)) = (mark.from, mark.to);
    for y in top..bottom.min(canvas.height()) {
        for x in left..right.min(canvas.width()) {
            let depth = (x - left).min(right - 1 - x).min(y - top).min(bottom - 1 - y);
            if depth < scale {
                canvas.put_pixel(x, y, mark.color);
            }
        }
    }
    write(canvas, mark, scale);
}

/// The label above the box, or inside of it where there is no room.
fn write(canvas: &mut RgbImage, mark: &Mark, scale: u32) {
    let line = (caption::HEIGHT + 1) * scale;
    let (left, top) = (mark.from.0, mark.from.1.checked_sub(line).unwrap_or(mark.from.1));
    let room = canvas.width().saturating_sub(left + scale);
    let glyph = (caption::WIDTH as u32 + 1) * scale;
    let width = (mark.label.chars().count() as u32 * glyph + scale).min(room + scale);
    for y in top..(top + line).min(canvas.height()) {
        for x in left..(left + width).min(canvas.width()) {
            canvas.put_pixel(x, y, BEHIND);
        }
    }
    caption::draw(canvas, &mark.label, (left + scale, top + scale), room, scale, mark.color);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_box_and_label() {
        let mut canvas = RgbImage::from_pixel(60, 40, Rgb([100; 3]));
        let mut mask = vec![false; 60 * 40];
        mask[25 * 60 + 30] = true;
        let color = Rgb([200, 0, 100]);
        let object = Mark { color, label: "I".to_owned(), from: (20, 20), to: (40, 35), mask };
        mark(&mut canvas, &object);
        // 100 of 154 parts and 200 of 102 parts of 256.
        assert_eq!(canvas.get_pixel(30, 25).0, [139, 60, 100]);
        assert_eq!(canvas.get_pixel(31, 25).0, [100; 3]);
        for corner in [(20, 20), (39, 20), (20, 34), (39, 34)] {
            assert_eq!(*canvas.get_pixel(corner.0, corner.1), color);
        }
        assert_eq!(canvas.get_pixel(40, 25).0, [100; 3], "the far edge is not part of it");
        let above = (10..20).flat_map(|y| (20..40).map(move |x| (x, y)));
        assert!(above.clone().any(|(x, y)| *canvas.get_pixel(x, y) == color), "a label");
        assert!(above.clone().any(|(x, y)| *canvas.get_pixel(x, y) == BEHIND));
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let mut canvas = RgbImage::new(8, 18);
        let color = Rgb([9; 3]);
        let label = "a long label".to_owned();
        let object = Mark { color, label, from: (6, 0), to: (20, 30), mask: Vec::new() };
        mark(&mut canvas, &object);
        assert_eq!(*canvas.get_pixel(6, 17), color);
    }
}
