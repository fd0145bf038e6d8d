//! Pictures of unknown origin: what can be told from the header is refused before anything is
//! decoded, so that a hostile file costs no memory.

use std::io::Cursor;

use ::image::{
    DynamicImage, ImageDecoder, ImageError as CodecError, ImageFormat, ImageReader, RgbImage,
};

use super::jpeg;
use crate::input::not_the_file;

/// The shortest side that is read, in pixels. Below, no reward has anything to see.
pub const MIN_SIDE: u32 = 8;
/// The longest side that is read, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// The most pixels that are read: 100 MB of red, green and blue.
pub const MAX_PIXELS: u64 = 1 << 25;

/// Why a picture was refused. The messages name no file; whoever read it does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No PNG, JPEG or WebP.
    #[error("it is not a picture in PNG, JPEG or WebP")]
    NotAPicture,
    /// What a tool left that did not fetch the file.
    #[error("it is no picture but {what}")]
    NotTheFile {
        /// What it is, and what to do.
        what: &'static str,
    },
    /// The file is cut off or damaged.
    #[error("the {format} picture is cut off or damaged: {reason}")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// Too few pixels.
    #[error("it has {width}x{height} pixels; at least {MIN_SIDE} a side are needed")]
    TooSmall {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// Too many pixels.
    #[error(
        "it has {width}x{height} pixels; at most {MAX_SIDE} a side and {MAX_PIXELS} together are \
         read, make it smaller first"
    )]
    TooLarge {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// Ink instead of light: what colours they are depends on a profile.
    #[error("it is in CMYK, whose colours depend on a printer; convert it to 8-bit RGB")]
    Cmyk,
    /// More than 8 bits a channel.
    #[error("it has {bits} bits a channel, and scores are defined for 8; convert it to 8-bit RGB")]
    Deep {
        /// Bits of a channel.
        bits: u16,
    },
}

/// A picture whose header was read and found good.
pub struct Header<'a> {
    bytes: &'a [u8],
    format: ImageFormat,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl<'a> Header<'a> {
    /// Reads the header of the PNG, JPEG or WebP file `bytes`.
    ///
    /// # Errors
    ///
    /// Fails for everything that will not be decoded.
    pub fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|_| DecodeError::NotAPicture)?;
        let Some(format) = reader.format() else {
            return Err(match not_the_file(bytes) {
                Some(what) => DecodeError::NotTheFile { what },
                None => DecodeError::NotAPicture,
            });
        };
        let bytes = if format == ImageFormat::Jpeg { jpeg::picture(bytes)? } else { bytes };
        let reader = ImageReader::with_format(Cursor::new(bytes), format);
        let decoder = reader.into_decoder().map_err(|error| damaged(format, &error))?;
        let (width, height) = decoder.dimensions();
        if width < MIN_SIDE || height < MIN_SIDE {
            return Err(DecodeError::TooSmall { width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
            return Err(DecodeError::TooLarge { width, height });
        }
        let bits = 8 * u16::from(decoder.color_type().bytes_per_pixel())
            / u16::from(decoder.color_type().channel_count());
        if bits > 8 {
            return Err(DecodeError::Deep { bits });
        }
        Ok(Self { bytes, format, width, height })
    }

    /// How many pixels it has.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Decodes the picture. Transparency and colour profiles are dropped and greys repeated, as
    /// PIL's conversion to RGB does; the orientation of cameras is not applied, for the same
    /// reason.
    ///
    /// # Errors
    ///
    /// Fails if the file is cut off or damaged.
    pub fn decode(&self) -> Result<RgbImage, DecodeError> {
        let picture = ::image::load_from_memory_with_format(self.bytes, self.format)
            .map_err(|error| damaged(self.format, &error))?;
        Ok(match picture {
            DynamicImage::ImageRgb8(picture) => picture,
            other => other.to_rgb8(),
        })
    }
}

/// Reads and decodes a PNG, JPEG or WebP file.
///
/// # Errors
///
/// Fails as [`Header::read`] and [`Header::decode`] do.
pub fn decode_picture(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    Header::read(bytes)?.decode()
}

fn damaged(format: ImageFormat, error: &CodecError) -> DecodeError {
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        _ => return DecodeError::NotAPicture,
    };
    let reason = match error {
        CodecError::Unsupported(error) => error.to_string(),
        CodecError::Decoding(error) => error.to_string(),
        error => error.to_string(),
    };
    DecodeError::Damaged { format: name, reason }
}

#[cfg(test)]
mod tests {
    use ::image::{ImageBuffer, Luma, Rgb};

    use super::*;

    fn file(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn picture() -> RgbImage {
        RgbImage::from_fn(20, 10, |x, y| Rgb([x as u8 * 12, y as u8 * 25, 90]))
    }

    fn reason(bytes: &[u8]) -> String {
        decode_picture(bytes).unwrap_err().to_string()
    }

    #[test]
    fn the_three_formats() {
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            assert_eq!(decode_picture(&file(picture(), format)).unwrap(), picture());
        }
        let jpeg = decode_picture(&file(picture(), ImageFormat::Jpeg)).unwrap();
        let most = jpeg.as_raw().iter().zip(picture().as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most.is_some_and(|most| most < 40), "{most:?}");
        let grey = ImageBuffer::from_pixel(9, 9, Luma([7_u8]));
        assert_eq!(
            decode_picture(&file(grey, ImageFormat::Png)).unwrap().get_pixel(0, 0).0,
            [7; 3]
        );
    }

    #[test]
    fn what_is_cut_off_is_damaged() {
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
            let whole = file(picture(), format);
            for share in [2, 3] {
                let message = reason(&whole[..whole.len() * (share - 1) / share]);
                assert!(message.contains("cut off or damaged"), "{format:?}: {message}");
            }
        }
        assert!(reason(b"no picture at all").contains("PNG, JPEG or WebP"));
        assert!(reason(b"").contains("empty"));
        assert!(reason(b"GIF89a\x01\x00\x01\x00\x00\x00\x00").contains("PNG, JPEG or WebP"));
    }

    /// The header of a PNG file that says what it likes about its size, and has nothing else.
    fn promise(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = file(picture(), ImageFormat::Png);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]).to_be_bytes();
        bytes[29..33].copy_from_slice(&crc);
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    #[test]
    fn sizes_are_refused_by_the_header() {
        let tiny = ImageBuffer::from_pixel(1, 1, Rgb([1_u8, 2, 3]));
        assert!(reason(&file(tiny, ImageFormat::Png)).contains("1x1"));
        assert!(reason(&promise(20_000, 20_000)).contains("20000x20000"));
        assert!(reason(&promise(16_384, 16_384)).contains("make it smaller"));
        assert!(Header::read(&promise(8192, 4096)).is_ok());
    }

    #[test]
    fn depth_and_ink_are_refused() {
        let deep = ImageBuffer::from_pixel(9, 9, Rgb([1_u16, 2, 3]));
        assert!(reason(&file(deep, ImageFormat::Png)).contains("16 bits"));
        // A frame header of four components is all that is looked at.
        let mut jpeg = file(picture(), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|window| window == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 9] = 4;
        assert!(reason(&jpeg).contains("CMYK"));
        jpeg[frame + 4] = 12;
        jpeg[frame + 9] = 3;
        assert!(reason(&jpeg).contains("12 bits"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = file(picture(), ImageFormat::Jpeg);
        for cut in 0..whole.len().min(700) {
            let _ = decode_picture(&whole[..cut]);
            let mut flipped = whole.clone();
            flipped[cut] ^= 0xFF;
            let _ = decode_picture(&flipped);
        }
    }
}
