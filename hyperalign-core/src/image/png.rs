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
use crate::{
    atomic::{self, WriteError},
    input,
};

pub(super) const PARAMETERS: &str = "parameters";
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
        input::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
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
    let reader = read_info(bytes)?;
    Ok(Metadata {
        parameters: text(reader.info(), PARAMETERS).and_then(|text| text.parse().ok()),
        hyperalign: text(reader.info(), HYPERALIGN)
            .and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// What stands in the chunks of the PNG file `bytes`, before the picture and behind it.
pub(super) fn read_info(bytes: &[u8]) -> Result<png::Reader<Cursor<&[u8]>>, png::DecodingError> {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info()?;
    reader.finish()?;
    Ok(reader)
}

fn text(info: &png::Info, keyword: &str) -> Option<String> {
    texts(info).into_iter().find(|(known, _)| known == keyword).map(|(_, text)| text)
}

/// All text of a PNG file by its keywords, in the order of its kinds of chunks. A compressed text
/// that would be larger than any that says how a picture was made is left out.
pub(super) fn texts(info: &png::Info) -> Vec<(String, String)> {
    let plain = info.uncompressed_latin1_text.iter();
    let mut texts: Vec<_> =
        plain.map(|chunk| (chunk.keyword.clone(), chunk.text.clone())).collect();
    for chunk in &info.utf8_text {
        let mut chunk = chunk.clone();
        if chunk.decompress_text().is_ok()
            && let Ok(text) = chunk.get_text()
        {
            texts.push((chunk.keyword, text));
        }
    }
    for chunk in &info.compressed_latin1_text {
        let mut chunk = chunk.clone();
        if chunk.decompress_text().is_ok()
            && let Ok(text) = chunk.get_text()
        {
            texts.push((chunk.keyword, text));
        }
    }
    texts
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
