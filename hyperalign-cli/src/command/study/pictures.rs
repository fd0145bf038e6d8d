//! Copies of pictures that say nothing of where they come from.

use std::{
    io,
    path::{Path, PathBuf},
};

use hyperalign_core::{
    atomic::{self, WriteError},
    image::{DecodeError, Header, Metadata, encode_png},
    input,
    noise::{Purpose, Stream},
};
use hyperalign_models::weights::sha256;
use hyperalign_train::study::{Answer, Cast, Item, Placed, Shown, Study};
use image::RgbImage;
use miette::Diagnostic;

use super::runs::Run;

/// How much of a picture's contrast is left in a spoiled copy.
const CONTRAST: f64 = 0.5;
/// The deviation of the noise on it, in steps of 256.
const NOISE: f64 = 70.0;

/// A picture that cannot be shown.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum PictureError {
    #[error("cannot read the picture `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot show the picture `{}`: {source}", path.display())]
    Decode { path: PathBuf, source: DecodeError },
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Copies the pictures of `placed` into the study's `folder`: pixels alone, under names that tell the
/// item and the side. Also how many items have pictures of two sizes.
///
/// # Errors
///
/// Fails for pictures that cannot be decoded or written.
pub(super) fn copy(
    folder: &Path,
    placed: &[Placed],
    runs: &[Run],
    seed: u64,
) -> Result<(Vec<Item>, usize), PictureError> {
    let mut items = Vec::with_capacity(placed.len());
    let mut unlike = 0;
    for (k, item) in placed.iter().enumerate() {
        let one = |cast: Cast, side| {
            let path = &runs[cast.method].pictures[&item.subject];
            let mut picture = read(path)?;
            if cast.is_degraded {
                degrade(&mut picture, seed, k as u32);
            }
            let bytes = encode_png(&picture, &Metadata::default());
            atomic::write(&Study::picture(folder, k, side), &bytes)?;
            let Cast { method, is_degraded } = cast;
            let shown = Shown { method, is_degraded, sha256: sha256(&bytes) };
            Ok::<_, PictureError>((shown, picture.dimensions()))
        };
        let (left, size) = one(item.left, Answer::Left)?;
        let (right, other) = one(item.right, Answer::Right)?;
        unlike += usize::from(size != other);
        items.push(Item { subject: item.subject.clone(), left, right });
    }
    Ok((items, unlike))
}

fn read(path: &Path) -> Result<RgbImage, PictureError> {
    let failed = |source| PictureError::Read { path: path.to_owned(), source };
    let bytes = input::read(path).map_err(failed)?;
    let picture = Header::read(&bytes).and_then(|header| header.decode());
    picture.map_err(|source| PictureError::Decode { path: path.to_owned(), source })
}

/// Spoils a picture so that nobody who looks can prefer it: half its contrast under strong noise.
fn degrade(picture: &mut RgbImage, seed: u64, item: u32) {
    let mut stream = Stream::new(seed, Purpose::View, item, 0);
    for value in picture.iter_mut() {
        let faded = 128.0 + CONTRAST * (f64::from(*value) - 128.0);
        *value = (faded + NOISE * stream.normal()).clamp(0.0, 255.0) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoiled_copy_is_far_from_its_picture_and_always_the_same() {
        let picture = RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 0]));
        let spoiled = |item| {
            let mut copy = picture.clone();
            degrade(&mut copy, 1, item);
            copy
        };
        assert_eq!(spoiled(0), spoiled(0));
        assert_ne!(spoiled(0), spoiled(1));
        let squares: f64 = picture
            .iter()
            .zip(spoiled(0).iter())
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum();
        let deviation = (squares / picture.len() as f64).sqrt();
        assert!((50.0..90.0).contains(&deviation), "{deviation}");
    }
}
