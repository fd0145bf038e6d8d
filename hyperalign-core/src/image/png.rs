//! PNG files that say how they were made.
//!
//! Two text chunks: `parameters` as other programs read it, and `hyperalign`, a JSON value with
//! everything. Text outside of Latin-1 goes into an international chunk of the same keyword.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use ::image::RgbImage;
use serde_json::Value;

use super::Parameters;
use crate::atomic::{self, WriteError};

const PARAMETERS: &str = "parameters";
const HYPERALIGN: &str = "hyperalign";

/// What a picture's file says about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// The settings that other programs read.
    pub parameters: Option<Parameters>,
    /// Everything, as JSON.
    pub hyperalign: Option<Value>,
}

/// Why a picture cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It cannot be opened.
    #[error("cannot read the picture `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not a PNG file, or damaged.
    #[error("`{}` is not a whole PNG picture: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The bytes of a PNG file with `image` and `metadata`. The same arguments give the same bytes.
///
/// # Panics
///
/// Panics if the picture has no pixels.
pub fn encode_png(image: &RgbImage, metadata: &Metadata) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, image, metadata).expect("memory can be written, and extents are not 0");
    bytes
}

fn write_to(
    bytes: &mut Vec<u8>,
    image: &RgbImage,
    metadata: &Metadata,
) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let texts = [
        (PARAMETERS, metadata.parameters.as_ref().map(ToString::to_string)),
        (HYPERALIGN, metadata.hyperalign.as_ref().map(ToString::to_string)),
    ];
    for (keyword, text) in texts {
        let Some(text) = text else { continue };
        if text.chars().all(|character| u32::from(character) < 256) {
            encoder.add_text_chunk(keyword.to_owned(), text)?;
        } else {
            encoder.add_itxt_chunk(keyword.to_owned(), text)?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_raw())?;
    writer.finish()
}

/// Writes a picture with its metadata, whole or not at all.
///
/// # Errors
///
/// Fails if the file cannot be written.
///
/// # Panics
///
/// Panics if the picture has no pixels.
pub fn write_png(path: &Path, image: &RgbImage, metadata: &Metadata) -> Result<(), ImageError> {
    Ok(atomic::write(path, &encode_png(image, metadata))?)
}

/// Reads a picture and what it says about itself. Chunks that are missing or are not ours leave
/// their field empty: the picture counts.
///
/// # Errors
///
/// Fails if the file cannot be read or is not a PNG picture.
pub fn read_png(path: &Path) -> Result<(RgbImage, Metadata), ImageError> {
    let bytes =
        std::fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    let damaged = |source: Box<dyn std::error::Error + Send + Sync>| ImageError::Decode {
        path: path.to_owned(),
        source,
    };
    let picture = ::image::load_from_memory_with_format(&bytes, ::image::ImageFormat::Png)
        .map_err(|error| damaged(error.into()))?
        .to_rgb8();
    let metadata = png_metadata(&bytes).map_err(|error| damaged(error.into()))?;
    Ok((picture, metadata))
}

/// What the PNG file `bytes` says about itself; the picture is not decoded.
///
/// # Errors
///
/// Fails if it is not a PNG file, or damaged.
pub fn png_metadata(bytes: &[u8]) -> Result<Metadata, png::DecodingError> {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info()?;
    // Text may stand behind the picture too.
    reader.finish()?;
    Ok(Metadata {
        parameters: text(reader.info(), PARAMETERS).and_then(|text| text.parse().ok()),
        hyperalign: text(reader.info(), HYPERALIGN)
            .and_then(|text| serde_json::from_str(&text).ok()),
    })
}

fn text(info: &png::Info, keyword: &str) -> Option<String> {
    let mut latin1 = info.uncompressed_latin1_text.iter();
    let mut utf8 = info.utf8_text.iter();
    match latin1.find(|chunk| chunk.keyword == keyword) {
        Some(chunk) => Some(chunk.text.clone()),
        None => utf8.find(|chunk| chunk.keyword == keyword)?.get_text().ok(),
    }
}

#[cfg(test)]
mod tests {
    use ::image::Rgb;

    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(20, 10, |x, y| Rgb([x as u8 * 12, y as u8 * 25, 7]))
    }

    fn metadata(prompt: &str) -> Metadata {
        Metadata {
            parameters: Some(Parameters {
                prompt: prompt.to_owned(),
                steps: 3,
                size: (20, 10),
                ..Parameters::default()
            }),
            hyperalign: Some(serde_json::json!({"prompt": prompt, "nested": {"list": [1, 2.5]}})),
        }
    }

    #[test]
    fn round_trips() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/picture.png");
        for metadata in
            [metadata("a dog"), metadata("ein Bär"), metadata("一只狗 🐕"), Metadata::default()]
        {
            write_png(&path, &picture(), &metadata).unwrap();
            assert_eq!(read_png(&path).unwrap(), (picture(), metadata));
        }
    }

    /// The chunk's bytes, as other programs look for them: type, keyword, 0, Latin-1 text.
    #[test]
    fn chunks_are_plain_text() {
        let bytes = encode_png(&picture(), &metadata("a dog"));
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(has(b"tEXtparameters\0a dog\nSteps: 3"));
        assert!(has(b"tEXthyperalign\0{\"prompt\":\"a dog\""));
        let bytes = encode_png(&picture(), &metadata("🐕"));
        assert!(bytes.windows(14).any(|window| window == b"iTXtparameters"));
    }

    #[test]
    fn files_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        picture().save(&path).unwrap();
        assert_eq!(read_png(&path).unwrap(), (picture(), Metadata::default()));

        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(read_png(&path), Err(ImageError::Decode { .. })));
        std::fs::write(&path, b"GIF89a").unwrap();
        assert!(read_png(&path).unwrap_err().to_string().contains("picture.png"));
        assert!(matches!(read_png(&folder.path().join("none")), Err(ImageError::Read { .. })));
    }
}
