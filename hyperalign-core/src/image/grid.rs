//! Pictures side by side.

use ::image::{Rgb, RgbImage, imageops};

use super::caption;

/// Looks of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridStyle {
    /// Pixels between pictures and around them.
    pub margin: u32,
    /// Size of the captions' pixels in pixels.
    pub text_scale: u32,
    /// Colour of the margins.
    pub background: Rgb<u8>,
    /// Colour of the captions.
    pub text: Rgb<u8>,
}

impl Default for GridStyle {
    fn default() -> Self {
        Self { margin: 4, text_scale: 1, background: Rgb([255; 3]), text: Rgb([40; 3]) }
    }
}

/// Lays pictures of one size out in rows of `columns`, with margins.
///
/// # Panics
///
/// Panics if `columns` is 0 or the pictures differ in size.
pub fn grid(images: &[RgbImage], columns: usize, style: GridStyle) -> RgbImage {
    captioned_grid(images, columns, &[], &[], style)
}

/// The same with a caption over each column and another over each row, cut to the width that
/// there is. Either may be empty.
///
/// # Panics
///
/// Panics if `columns` is 0 or the pictures differ in size.
pub fn captioned_grid(
    images: &[RgbImage],
    columns: usize,
    over_columns: &[String],
    over_rows: &[String],
    style: GridStyle,
) -> RgbImage {
    assert!(columns > 0, "a grid has at least one column");
    let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
    let rows = images.len().div_ceil(columns) as u32;
    let margin = style.margin;
    let line = caption::HEIGHT * style.text_scale;
    // A caption takes a line and a margin below it.
    let head = if over_columns.is_empty() { 0 } else { line + margin };
    let over_row = if over_rows.is_empty() { 0 } else { line + margin };
    let full_width = margin + columns as u32 * (width + margin);
    let full_height = margin + head + rows * (over_row + height + margin);
    let mut canvas = RgbImage::from_pixel(full_width, full_height, style.background);

    for (column, text) in over_columns.iter().take(columns).enumerate() {
        let x = margin + column as u32 * (width + margin);
        caption::draw(&mut canvas, text, (x, margin), width, style.text_scale, style.text);
    }
    let top = |row: u32| margin + head + row * (over_row + height + margin);
    for (row, text) in (0..rows).zip(over_rows) {
        let room = full_width - 2 * margin;
        caption::draw(&mut canvas, text, (margin, top(row)), room, style.text_scale, style.text);
    }
    for (k, image) in images.iter().enumerate() {
        assert_eq!(image.dimensions(), (width, height), "pictures of one grid have one size");
        let (row, column) = ((k / columns) as u32, (k % columns) as u32);
        let x = margin + column * (width + margin);
        imageops::replace(&mut canvas, image, i64::from(x), i64::from(top(row) + over_row));
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: u8) -> RgbImage {
        RgbImage::from_pixel(30, 20, Rgb([value; 3]))
    }

    #[test]
    fn places() {
        let style = GridStyle { margin: 2, ..GridStyle::default() };
        let images: Vec<_> = (0..5).map(plain).collect();
        let canvas = grid(&images, 2, style);
        assert_eq!(canvas.dimensions(), (2 + 2 * 32, 2 + 3 * 22));
        for (k, image) in images.iter().enumerate() {
            let (x, y) = (2 + (k as u32 % 2) * 32, 2 + (k as u32 / 2) * 22);
            assert_eq!(imageops::crop_imm(&canvas, x, y, 30, 20).to_image(), *image);
            assert_eq!(*canvas.get_pixel(x - 1, y), style.background);
        }
    }

    #[test]
    fn captions_stay_out_of_the_pictures() {
        let style = GridStyle { margin: 3, text_scale: 1, ..GridStyle::default() };
        let images: Vec<_> = [200, 210, 220, 230].map(plain).to_vec();
        let texts = |texts: [&str; 2]| texts.map(str::to_owned);
        let long = "a caption that is longer than the whole grid is wide, by far";
        let canvas =
            captioned_grid(&images, 2, &texts(["base", "S"]), &texts([long, "two"]), style);
        let (head, over_row) = (caption::HEIGHT + 3, caption::HEIGHT + 3);
        assert_eq!(canvas.dimensions(), (3 + 2 * 33, 3 + head + 2 * (over_row + 23)));
        for (k, image) in images.iter().enumerate() {
            let x = 3 + (k as u32 % 2) * 33;
            let y = 3 + head + (k as u32 / 2) * (over_row + 23) + over_row;
            assert_eq!(imageops::crop_imm(&canvas, x, y, 30, 20).to_image(), *image);
        }
        let ink = |x: u32, y: u32, width: u32| {
            let line = imageops::crop_imm(&canvas, x, y, width, caption::HEIGHT).to_image();
            line.pixels().filter(|pixel| **pixel == style.text).count()
        };
        assert!(ink(3, 3, 30) > 20 && ink(36, 3, 30) > 5 && ink(3, 3 + head, 63) > 40);
        // The right margin stays clear of the caption that was cut.
        assert_eq!(ink(66, 3 + head, 3), 0);
    }
}
