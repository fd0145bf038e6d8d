//! Views of a picture that a reward should like as well as the picture.

use burn::tensor::{Tensor, TensorData};

use crate::{
    noise::Stream,
    resize::{Filter, resize},
};

/// How far brightness may move, in pictures between 0 and 1.
const BRIGHTNESS: f64 = 0.5;
/// How far a picture may be moved, as a share of its side.
const SHIFT: f64 = 0.125;
/// How much smaller or larger it may be shown.
const ZOOM: f64 = 0.2;
/// The side of the hole, as a share of the picture's.
const HOLE: f64 = 0.5;

/// A view of a picture: other colours, another place and size, and a hole, as the differentiable
/// augmentation of Zhao et al. 2020 (arXiv:2006.10738) with the policy of DyMO. What lies beyond
/// the picture, and in the hole, is grey.
///
/// # Shapes
///
/// - `picture`: `[1, 3, height, width]`, in `[-1, 1]`
/// - output: the same
pub(super) fn view(picture: Tensor<4>, stream: &mut Stream) -> Tensor<4> {
    let picture = recolored(picture, stream);
    let [_, _, height, width] = picture.dims();
    let shift = |stream: &mut Stream, side: usize| {
        (stream.range(-SHIFT, SHIFT) * side as f64).round() as isize
    };
    let (down, right) = (shift(stream, height), shift(stream, width));
    let picture = placed(picture, [down, right], [height, width]);
    let zoom = stream.range(1.0 - ZOOM, 1.0 + ZOOM);
    let zoomed = [height, width].map(|side| ((side as f64 * zoom).round() as usize).max(1));
    let picture = resize(picture, zoomed[0], zoomed[1], Filter::BilinearSampled);
    let middle = |side: usize, zoomed: usize| (side as isize - zoomed as isize).div_euclid(2);
    let corner = [middle(height, zoomed[0]), middle(width, zoomed[1])];
    let picture = placed(picture, corner, [height, width]);
    let mask = mask(height, width, stream);
    let options = (&picture.device(), picture.dtype());
    (picture * Tensor::from_data(mask, options)).clamp(-1.0, 1.0)
}

/// Brightness, then saturation about the mean of the channels, then contrast about the mean of all.
fn recolored(picture: Tensor<4>, stream: &mut Stream) -> Tensor<4> {
    // Twice as wide a range of values as between 0 and 1.
    let picture = picture + 2.0 * stream.range(-BRIGHTNESS, BRIGHTNESS);
    let grey = picture.clone().mean_dim(1);
    let picture = (picture - grey.clone()) * stream.range(0.0, 2.0) + grey;
    let mean = picture.clone().mean_dims(&[1, 2, 3]);
    (picture - mean.clone()) * stream.range(0.5, 1.5) + mean
}

/// `picture` with its corner at `corner` of a grey canvas of `[height, width]`.
fn placed(picture: Tensor<4>, corner: [isize; 2], size: [usize; 2]) -> Tensor<4> {
    let mut picture = picture;
    for ((dim, corner), size) in [2, 3].into_iter().zip(corner).zip(size) {
        let side = picture.dims()[dim] as isize;
        let first = (-corner).clamp(0, side);
        let last = (size as isize - corner).clamp(first, side);
        let inside = picture.slice_dim(dim, first as usize..last as usize);
        let before = corner.clamp(0, size as isize) as usize;
        let after = size - before - (last - first) as usize;
        let grey = |extent: usize| {
            let mut dims = inside.dims();
            dims[dim] = extent;
            Tensor::<4>::zeros(dims, (&inside.device(), inside.dtype()))
        };
        let mut parts = Vec::new();
        if before > 0 {
            parts.push(grey(before));
        }
        if last > first {
            parts.push(inside.clone());
        }
        if after > 0 {
            parts.push(grey(after));
        }
        picture = Tensor::cat(parts, dim);
    }
    picture
}

/// 0 in a square hole around some pixel, 1 elsewhere, `[1, 1, height, width]`.
fn mask(height: usize, width: usize, stream: &mut Stream) -> TensorData {
    let hole = |stream: &mut Stream, side: usize| {
        let extent = (side as f64 * HOLE).round() as usize;
        let middle = stream.below(side);
        middle.saturating_sub(extent / 2)..(middle + extent.div_ceil(2)).min(side)
    };
    let (rows, columns) = (hole(stream, height), hole(stream, width));
    let is_hole = |y: usize, x: usize| rows.contains(&y) && columns.contains(&x);
    let values =
        (0..height * width).map(|k| if is_hole(k / width, k % width) { 0.0_f32 } else { 1.0 });
    TensorData::new(values.collect::<Vec<_>>(), [1, 1, height, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        noise::{Purpose, normal},
        testing,
    };

    fn stream(k: u64) -> Stream {
        Stream::new(k, Purpose::View, 0, 0)
    }

    #[test]
    fn a_view_is_a_picture_of_its_size() {
        let device = testing::device();
        let picture = normal([1, 3, 12, 9], [stream(99)], &device).mul_scalar(0.3);
        let mut all: Vec<Vec<f32>> = Vec::new();
        for k in 0..20 {
            let view = view(picture.clone(), &mut stream(k));
            assert_eq!(view.dims(), picture.dims());
            let values: Vec<f32> = view.try_into_vec_as().unwrap();
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
            assert!(values.iter().filter(|value| **value == 0.0).count() >= 3 * 6, "no hole");
            assert!(!all.contains(&values));
            all.push(values);
        }
    }

    /// On a canvas, out of it, and across its edge.
    #[test]
    fn pictures_are_placed() {
        let device = testing::device();
        let picture = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]]], &device);
        let of = |corner, size| -> Vec<f32> {
            placed(picture.clone(), corner, size).try_into_vec_as().unwrap()
        };
        assert_eq!(of([0, 1], [2, 3]), [0.0, 1.0, 2.0, 0.0, 3.0, 4.0]);
        assert_eq!(of([-1, -1], [2, 2]), [4.0, 0.0, 0.0, 0.0]);
        assert_eq!(of([1, 0], [2, 2]), [0.0, 0.0, 1.0, 2.0]);
        assert_eq!(of([5, 0], [2, 2]), [0.0; 4]);
        assert_eq!(of([-5, 0], [2, 2]), [0.0; 4]);
    }

    /// Colours move about their means: without noise in a channel there is nothing to move.
    #[test]
    fn views_have_gradients() {
        let device = testing::device();
        let picture = normal([1, 3, 8, 8], [stream(98)], &device).mul_scalar(0.1);
        let x = picture.autodiff().require_grad();
        let gradients = view(x.clone(), &mut stream(3)).sum().backward();
        let gradient: Vec<f32> = x.grad(&gradients).unwrap().try_into_vec_as().unwrap();
        assert!(gradient.iter().any(|value| *value != 0.0));
    }
}
