//! How far pictures lie from the base's pictures of the same prompt and noise.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use hyperalign_core::image::read_png;
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
    let mut pairs: Vec<(usize, RgbImage, RgbImage)> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        for k in 0..record.seeds.len() {
            let [own, other] = [folder, base].map(|folder| path_of(folder, record.row, k));
            if own.is_file() && other.is_file() {
                let read = |path: &Path| read_png(path).into_diagnostic();
                pairs.push((at, read(&own)?.0, read(&other)?.0));
            }
        }
    }
    for chunk in pairs.chunks(CHUNK) {
        let embed = |pictures: Vec<&RgbImage>| normalize(space.embed(tensor(&pictures, device)));
        let own = embed(chunk.iter().map(|(_, own, _)| own).collect());
        let others = embed(chunk.iter().map(|(_, _, other)| other).collect());
        let cosines: Tensor<2> = (own * others).sum_dim(1);
        let cosines: Vec<f32> = cosines.into_data().convert::<f32>().iter::<f32>().collect();
        for ((at, ..), cosine) in chunk.iter().zip(cosines) {
            let column = records[*at].scores.entry(Column::DISTANCE.to_owned()).or_default();
            column.push(1.0 - cosine);
        }
    }
    Ok(())
}

/// `[batch, 3, height, width]` in `[-1, 1]`.
fn tensor(pictures: &[&RgbImage], device: &Device) -> Tensor<4> {
    let (width, height) = pictures.first().map_or((0, 0), |picture| picture.dimensions());
    let shape = [pictures.len(), height as usize, width as usize, 3];
    let values = pictures.iter().flat_map(|picture| picture.as_raw());
    let values: Vec<f32> = values.map(|value| f32::from(*value) / 127.5 - 1.0).collect();
    Tensor::<4>::from_data(TensorData::new(values, shape), device).permute([0, 3, 1, 2])
}
