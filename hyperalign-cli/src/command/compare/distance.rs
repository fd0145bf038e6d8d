//! How far pictures lie from the base's pictures of the same prompt and noise.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use hyperalign_core::image::{from_images, read_png};
use hyperalign_models::clip::normalize;
use hyperalign_train::{
    compare::Column,
    eval::{ImageSpace, Record},
};
use image::RgbImage;
use miette::IntoDiagnostic;

use super::kept::path_of;

/// Pictures that go through a network at once.
const CHUNK: usize = 32;

/// Adds `1 - cosine` to the base's picture, of pictures that are in both folders, as a column. Kept
/// pictures have 8 bits; a file that is not there is no error, for only the first rows are kept.
pub(super) fn add_distances(
    records: &mut [Record],
    folder: &Path,
    base: &Path,
    space: &dyn ImageSpace,
    device: &Device,
) -> miette::Result<()> {
    let (mut rows, mut pictures, mut bases) = (Vec::new(), Vec::new(), Vec::new());
    for (at, record) in records.iter().enumerate() {
        for k in 0..record.seeds.len() {
            let [own, other] = [folder, base].map(|folder| path_of(folder, record.row, k));
            if own.is_file() && other.is_file() {
                let read = |path: &Path| read_png(path).into_diagnostic();
                rows.push(at);
                pictures.push(read(&own)?.0);
                bases.push(read(&other)?.0);
            }
        }
    }
    let embed = |pictures: &[RgbImage]| normalize(space.embed(from_images(pictures, device)));
    let pairs = pictures.chunks(CHUNK).zip(bases.chunks(CHUNK));
    for (rows, (own, others)) in rows.chunks(CHUNK).zip(pairs) {
        let (own, others) = (embed(own), embed(others));
        let cosines: Tensor<2> = (own * others).sum_dim(1);
        let cosines: Vec<f32> = cosines.into_data().convert::<f32>().iter::<f32>().collect();
        for (at, cosine) in rows.iter().zip(cosines) {
            let column = records[*at].scores.entry(Column::DISTANCE.to_owned()).or_default();
            column.push(1.0 - cosine);
        }
    }
    Ok(())
}
