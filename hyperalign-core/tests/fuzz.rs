//! Readers of pictures and texts on inputs that nobody wrote.

#![allow(
    clippy::print_stderr,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::io::Cursor;

use hyperalign_core::{
    fuzz::{Counting, Fuzz, inputs},
    image::{Header, Metadata, Parameters, encode_png, png_prompt},
    input::decode_text,
};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn fuzz(fuzz: &Fuzz, read: impl FnMut(&[u8]) -> bool) {
    let figures = fuzz.run(inputs(), read);
    eprintln!("fuzz {}: {figures}", fuzz.name);
}

fn picture() -> RgbImage {
    RgbImage::from_fn(16, 12, |x, y| Rgb([x as u8 * 9, y as u8 * 9, 40]))
}

fn file(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(picture()).write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

fn png() -> Vec<u8> {
    let parameters = Parameters {
        prompt: "a red heart".to_owned(),
        negative_prompt: "dark".to_owned(),
        steps: 20,
        size: (16, 12),
        extra: vec![("Wildcard".to_owned(), "a, \"b\"\nc".to_owned())],
        ..Parameters::default()
    };
    let flow = serde_json::json!({"3": {"inputs": {"positive": ["6", 0]}}, "6": {"inputs": {"text": "x"}}});
    encode_png(&picture(), &Metadata { parameters: Some(parameters), hyperalign: Some(flow) })
}

/// A picture that a header may promise is made before its pixels are read, twice at the most; larger
/// ones are refused.
const PICTURE: usize = 2 * 4 * (hyperalign_core::image::MAX_PIXELS as usize);

fn decodes(bytes: &[u8]) -> bool {
    Header::read(bytes).and_then(|header| header.decode()).is_ok()
}

#[test]
fn png_pictures() {
    let corpus = vec![png(), file(ImageFormat::Png)];
    let words = &["IHDR", "IDAT", "IEND", "tEXt", "iTXt", "zTXt", "PLTE", "acTL"];
    fuzz(&Fuzz { name: "png", corpus, words, constant: PICTURE }, decodes);
}

#[test]
fn png_chunks() {
    let words = &["parameters\0", "prompt\0", "Steps: ", "\nTemplate: ", "\"", "[\"6\",0]", "NaN"];
    let fuzzed = Fuzz { name: "png chunks", corpus: vec![png()], words, constant: 8 << 20 };
    fuzz(&fuzzed, |bytes| {
        png_prompt(bytes);
        true
    });
}

#[test]
fn jpeg_tails() {
    let whole = file(ImageFormat::Jpeg);
    let film = [whole.clone(), b"\0\0\0\x18ftypmp42\xFF\xDA".to_vec(), whole.clone()].concat();
    let words = &["ftyp", "Exif\0\0", "MPF\0"];
    let fuzzed = Fuzz { name: "jpeg", corpus: vec![whole, film], words, constant: PICTURE };
    fuzz(&fuzzed, decodes);
}

#[test]
fn webp_pictures() {
    let corpus = vec![file(ImageFormat::WebP)];
    let words = &["RIFF", "WEBP", "VP8L", "VP8X", "EXIF", "ANMF"];
    fuzz(&Fuzz { name: "webp", corpus, words, constant: PICTURE }, decodes);
}

#[test]
fn parameters() {
    let text = "a red heart\nNegative prompt: dark\nSteps: 20, Sampler: x, Seed: 7, Size: 16x12, \
                Wildcard: \"a\\n\"\nTemplate: a\nNegative Template: b";
    let words = &["Steps: ", "\n", "\"", ": ", ", ", "Negative prompt:", "Template:", "\\"];
    let corpus = vec![text.as_bytes().to_vec()];
    fuzz(&Fuzz { name: "parameters", corpus, words, constant: 64 << 10 }, |bytes| {
        let Ok(text) = decode_text(bytes) else { return false };
        text.parse::<Parameters>().is_ok()
    });
}
