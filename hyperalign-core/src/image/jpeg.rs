//! What a JPEG file says before and behind its pixels: what the decoder would let pass, and where
//! the picture ends.

use super::DecodeError;

/// Marker that begins a scan, and with it compressed data.
const SCAN: u8 = 0xDA;
/// Marker that ends the picture.
const END: u8 = 0xD9;

/// The part of `bytes` that is the picture: cameras write a film or a second picture behind it,
/// which has markers of its own.
///
/// # Errors
///
/// Fails for inks, for more than 8 bits a channel, and for a file that is cut off, whose rest the
/// decoder would fill with grey.
pub(super) fn picture(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let cut_off = |reason: &str| DecodeError::Damaged { format: "JPEG", reason: reason.to_owned() };
    let mut has_scan = false;
    let mut at = 2;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            // Markers without a segment: restarts, and what some encoders put in between.
            0x01 | 0xD0..=0xD8 => {}
            END if has_scan => return Ok(&bytes[..at]),
            END => return Err(cut_off("it holds no picture data")),
            _ => {
                let segment = segment(bytes, at).ok_or_else(|| cut_off(missing(has_scan)))?;
                if is_frame(marker) {
                    check_frame(segment)?;
                }
                has_scan |= marker == SCAN;
                at += 2 + segment.len();
            }
        }
    }
    Err(cut_off(missing(has_scan)))
}

fn missing(has_scan: bool) -> &'static str {
    if has_scan { "the end of the picture is missing" } else { "it holds no picture data" }
}

/// The marker at `at` or behind it, past what is none: compressed data, in which every FF is
/// followed by 00, and fill bytes. `at` is moved behind it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let from = bytes.get(*at..)?;
        let skipped =
            from.windows(2).position(|two| two[0] == 0xFF && !matches!(two[1], 0 | 0xFF))?;
        *at += skipped + 2;
        let marker = bytes[*at - 1];
        // Restarts lie within a scan.
        if !(0xD0..=0xD7).contains(&marker) {
            return Some(marker);
        }
    }
}

/// The segment whose length is written at `at`, without the length.
fn segment(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    bytes.get(at + 2..at + length.max(2))
}

fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && ![0xC4, 0xC8, 0xCC].contains(&marker)
}

/// Bits of a sample and number of components, in the frame's header.
fn check_frame(frame: &[u8]) -> Result<(), DecodeError> {
    match *frame {
        [_, _, _, _, _, 4, ..] => Err(DecodeError::Cmyk),
        [bits, ..] if bits > 8 => Err(DecodeError::Deep { bits: bits.into() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ::image::{DynamicImage, ImageFormat, Rgb, RgbImage};
    use std::io::Cursor;

    use super::{super::decode_picture, *};

    fn jpeg(shade: u8) -> Vec<u8> {
        let picture = RgbImage::from_fn(24, 16, |x, y| Rgb([x as u8 * 9, y as u8 * 9, shade]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(picture).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn what_lies_behind_is_no_part_of_the_picture() {
        let whole = jpeg(10);
        let expected = decode_picture(&whole).unwrap();
        // A film that happens to hold a scan marker, a second picture cut off, zeros.
        let film = b"\0\0\0\x18ftypmp42\xFF\xDA and no end".to_vec();
        let second = jpeg(200);
        for tail in [film, second[..second.len() / 2].to_vec(), second, vec![0; 64]] {
            let bytes = [whole.clone(), tail].concat();
            assert_eq!(picture(&bytes).unwrap().len(), whole.len());
            assert_eq!(decode_picture(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn a_thumbnail_within_does_not_stand_for_the_end() {
        let (whole, thumbnail) = (jpeg(10), jpeg(200));
        let length = (thumbnail.len() as u16 + 2).to_be_bytes();
        let exif = [&[0xFF, 0xE1][..], &length, &thumbnail].concat();
        let bytes = [&whole[..2], &exif, &whole[2..]].concat();
        assert_eq!(picture(&bytes).unwrap().len(), bytes.len());
        // The thumbnail is whole, the picture is not.
        let cut = &bytes[..bytes.len() - 20];
        assert!(picture(cut).unwrap_err().to_string().contains("end of the picture"));
    }

    #[test]
    fn no_marker_reads_beyond_the_end() {
        let whole = jpeg(10);
        for cut in 0..whole.len() {
            assert!(picture(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(picture(&[0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0xFF, 0xD9]).is_err());
    }
}
