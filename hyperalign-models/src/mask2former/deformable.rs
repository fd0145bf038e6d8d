//! Attention that looks at a few points of feature maps, wherever it likes.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Int, Tensor, TensorData, s},
};
use hyperalign_core::fused::softmax;

use super::config::LEVELS;

/// Points of each head on each map.
pub(super) const POINTS: usize = 4;

/// Pixels that a place lies between.
const CORNERS: usize = 4;

/// How many numbers are fetched from the maps at once: 64 MiB in f32. A picture of 384 pixels
/// needs five times as many, one of 1333 sixty times.
const FETCHED: usize = 1 << 24;

/// Where to look, and how much each look counts.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Places (x, y) as parts of the maps' extents, `[batch, queries, heads, levels, points, 2]`.
    pub locations: Tensor<6>,
    /// `[batch, queries, heads, levels, points]`; they sum to 1 over levels and points.
    pub weights: Tensor<5>,
}

/// The core of multi-scale deformable attention: the weighted sum of bilinear samples (Zhu et al.
/// 2021, arXiv:2010.04159, eq. 3). Pixel centres lie at halves, and outside of a map is 0, for
/// each corner of a sample on its own. Differentiable in all tensors.
///
/// Corners are looked up row by row of one table that holds all maps, which every backend can do.
///
/// # Shapes
///
/// - `values`: `[batch, sum of height * width, heads, dim]`
/// - `sizes`: height and width of each map
/// - output: `[batch, queries, heads * dim]`
///
/// # Panics
///
/// Panics if the shapes contradict each other.
pub fn sample_levels(values: Tensor<4>, sizes: &[[usize; 2]], samples: Samples) -> Tensor<3> {
    let [batch, _, heads, dim] = values.dims();
    let [_, queries, _, levels, points] = samples.weights.dims();
    let each = batch * heads * levels * points * CORNERS * dim;
    sample_chunked(values, sizes, samples, (FETCHED / each).clamp(1, queries.max(1)))
}

/// [`sample_levels`], `chunk` queries at a time.
fn sample_chunked(
    values: Tensor<4>,
    sizes: &[[usize; 2]],
    samples: Samples,
    chunk: usize,
) -> Tensor<3> {
    let [batch, positions, heads, dim] = values.dims();
    let [_, queries, _, levels, points] = samples.weights.dims();
    assert_eq!(samples.locations.dims(), [batch, queries, heads, levels, points, 2]);
    assert_eq!(levels, sizes.len(), "one size for each level");
    assert_eq!(positions, sizes.iter().map(|[h, w]| h * w).sum::<usize>(), "values of all maps");
    let table = values.reshape([batch * positions * heads, dim]);
    let looks = levels * points * CORNERS;
    let parts = (0..queries).step_by(chunk).map(|first| {
        let count = chunk.min(queries - first);
        let part = Samples {
            locations: samples.locations.clone().narrow(1, first, count),
            weights: samples.weights.clone().narrow(1, first, count),
        };
        let (rows, weights) = corners(part, sizes, positions);
        let fetched = table.clone().select(0, rows);
        let fetched = fetched.reshape([batch * count * heads, looks, dim]);
        let weights = weights.reshape([batch * count * heads, 1, looks]);
        weights.matmul(fetched).reshape([batch, count, heads * dim])
    });
    Tensor::cat(parts.collect(), 1)
}

/// For each corner of each sample, its row in the table of all maps and what it counts.
///
/// # Shapes
///
/// - rows: `[batch * queries * heads * levels * points * 4]`
/// - weights: `[batch, queries, heads, levels * points, 4]`
fn corners(
    samples: Samples,
    sizes: &[[usize; 2]],
    positions: usize,
) -> (Tensor<1, Int>, Tensor<5>) {
    let Samples { locations, weights } = samples;
    let [batch, queries, heads, levels, points] = weights.dims();
    let device = weights.device();
    let per_level = |of: &dyn Fn(usize) -> f64| {
        let values: Vec<f64> = (0..levels).map(of).collect();
        let data = TensorData::new(values, [1, 1, 1, levels, 1]);
        Tensor::<5>::from_data(data, (&device, weights.dtype()))
    };
    let axis = |k: usize, extent: &dyn Fn(usize) -> f64| {
        let place = locations.clone().slice(s![.., .., .., .., .., k..k + 1]).squeeze_dim::<5>(5);
        // Far outside all places are alike; a number beyond the integers would be none.
        let most = per_level(&|level| extent(level) + 1.0);
        let place = (place * per_level(extent)).sub_scalar(0.5);
        let place = place.max_pair(most.zeros_like().sub_scalar(2.0)).min_pair(most);
        let low = place.clone().floor();
        let part = place - low.clone();
        [(low.clone(), part.clone().neg().add_scalar(1.0)), (low.add_scalar(1.0), part)]
    };
    let width = |level: usize| sizes[level][1] as f64;
    let height = |level: usize| sizes[level][0] as f64;
    let (across, down) = (axis(0, &width), axis(1, &height));
    let inside = |at: &Tensor<5>, extent: &dyn Fn(usize) -> f64| {
        let last = per_level(&|level| extent(level) - 1.0).expand(at.dims());
        at.clone().greater_equal_elem(0.0).float() * at.clone().lower_equal(last).float()
    };
    let first = |level: usize| sizes[..level].iter().map(|[h, w]| h * w).sum::<usize>() as i64;
    let integers = |values: Vec<i64>, shape: [usize; 5]| {
        Tensor::<5, Int>::from_data(TensorData::new(values, shape), &device)
    };
    let level_row =
        integers((0..levels).map(first).collect(), [1, 1, 1, levels, 1]).mul_scalar(heads as i64);
    let widths = sizes.iter().map(|[_, width]| *width as i64).collect();
    let widths = integers(widths, [1, 1, 1, levels, 1]);
    let head = integers((0..heads as i64).collect(), [1, 1, heads, 1, 1]);
    let of_picture = (positions * heads) as i64;
    let picture = (0..batch as i64).map(|picture| picture * of_picture).collect();
    let offset = integers(picture, [batch, 1, 1, 1, 1]) + head + level_row;

    let (mut rows, mut parts) = (Vec::with_capacity(CORNERS), Vec::with_capacity(CORNERS));
    for (y, of_y) in &down {
        for (x, of_x) in &across {
            let counts = inside(x, &width) * inside(y, &height);
            // A corner outside counts nothing, wherever it is taken from.
            let x = (x.clone() * counts.clone()).int();
            let y = (y.clone() * counts.clone()).int();
            let row = (y * widths.clone() + x).mul_scalar(heads as i64) + offset.clone();
            rows.push(row.reshape([batch, queries, heads, levels * points, 1]));
            let part = of_x.clone() * of_y.clone() * counts * weights.clone();
            parts.push(part.reshape([batch, queries, heads, levels * points, 1]));
        }
    }
    let count = batch * queries * heads * levels * points * CORNERS;
    (Tensor::cat(rows, 4).reshape([count]), Tensor::cat(parts, 4))
}

/// Multi-scale deformable attention of the pixels of several maps to a few points of all of them,
/// around their own places.
#[derive(Module, Debug)]
pub(super) struct DeformableAttention {
    sampling_offsets: Linear,
    attention_weights: Linear,
    value_proj: Linear,
    output_proj: Linear,
    heads: usize,
}

impl DeformableAttention {
    pub(super) fn new(dim: usize, heads: usize, device: &Device) -> Self {
        let linear = |outputs| LinearConfig::new(dim, outputs).init(device);
        let looks = heads * LEVELS * POINTS;
        Self {
            sampling_offsets: linear(2 * looks),
            attention_weights: linear(looks),
            value_proj: linear(dim),
            output_proj: linear(dim),
            heads,
        }
    }

    /// # Shapes
    ///
    /// - `x`: the pixels of all maps, `[batch, sum of height * width, dim]`
    /// - `positions`: added to the queries, `[1, sum of height * width, dim]`
    /// - `sizes`: height and width of each map
    /// - output: that of `x`
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        positions: Tensor<3>,
        sizes: &[[usize; 2]],
    ) -> Tensor<3> {
        let [batch, tokens, dim] = x.dims();
        let heads = self.heads;
        let query = x.clone() + positions;
        let values = self.value_proj.forward(x).reshape([batch, tokens, heads, dim / heads]);
        let offsets = self.sampling_offsets.forward(query.clone());
        let offsets = offsets.reshape([batch, tokens, heads, LEVELS, POINTS, 2]);
        let weights = self.attention_weights.forward(query);
        let weights = softmax(weights.reshape([batch, tokens, heads, LEVELS * POINTS]));
        let options = (&offsets.device(), offsets.dtype());
        let extents: Vec<f32> =
            sizes.iter().flat_map(|[height, width]| [*width as f32, *height as f32]).collect();
        let extents = TensorData::new(extents, [1, 1, 1, LEVELS, 1, 2]);
        let centres = Tensor::<6>::from_data(
            TensorData::new(pixel_centres(sizes), [1, tokens, 1, 1, 1, 2]),
            options,
        );
        let samples = Samples {
            locations: offsets / Tensor::<6>::from_data(extents, options) + centres,
            weights: weights.reshape([batch, tokens, heads, LEVELS, POINTS]),
        };
        self.output_proj.forward(sample_levels(values, sizes, samples))
    }
}

/// The place (x, y) of each pixel of all maps, as parts of its map's extents.
fn pixel_centres(sizes: &[[usize; 2]]) -> Vec<f32> {
    let of_map = |[height, width]: [usize; 2]| {
        let pixel = move |k: usize| {
            let (x, y) = ((k % width) as f32 + 0.5, (k / width) as f32 + 0.5);
            [x / width as f32, y / height as f32]
        };
        (0..height * width).flat_map(pixel)
    };
    sizes.iter().copied().flat_map(of_map).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyperalign_core::testing;

    /// Two maps of one head, whose pixels are numbered from 1 on.
    fn maps(device: &Device) -> (Tensor<4>, [[usize; 2]; 2]) {
        let values = Tensor::<1, Int>::arange(1..11, device).float().reshape([1, 10, 1, 1]);
        (values, [[2, 3], [2, 2]])
    }

    /// The same places on both maps, of which only `level` counts.
    fn looks(places: &[[f32; 2]], level: usize, device: &Device) -> Samples {
        let both = places.iter().flat_map(|place| [*place, *place]).flatten().collect::<Vec<f32>>();
        let locations = TensorData::new(both, [1, places.len(), 1, 2, 1, 2]);
        let counts = (0..2 * places.len()).map(|k| f32::from(u8::from(k % 2 == level)));
        let weights = TensorData::new(counts.collect::<Vec<f32>>(), [1, places.len(), 1, 2, 1]);
        Samples {
            locations: Tensor::from_data(locations, device),
            weights: Tensor::from_data(weights, device),
        }
    }

    fn sampled(places: &[[f32; 2]], level: usize) -> Vec<f32> {
        let device = testing::device();
        let (values, sizes) = maps(&device);
        let found = sample_levels(values, &sizes, looks(places, level, &device));
        found.into_data_as::<f32>().iter::<f32>().collect()
    }

    #[test]
    fn centres_corners_and_outside() {
        // The centre of the second pixel of the second row, the middle of four, a corner of the
        // map, of which a quarter is inside, and places outside, one of them far.
        let places =
            [[0.5, 0.75], [1.0 / 3.0, 0.5], [0.0, 0.0], [-0.2, 0.5], [1e9, 0.5], [0.5, -1e9]];
        let found = sampled(&places, 0);
        let expected = [5.0, 3.0, 0.25, 0.0, 0.0, 0.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
        assert!((sampled(&[[0.25, 0.75]], 1)[0] - 9.0).abs() < 1e-5, "the second map");
    }

    /// Large pictures are looked up a few queries at a time.
    #[test]
    fn chunks_are_the_whole() {
        let device = testing::device();
        let (values, sizes) = maps(&device);
        let places = [[0.1, 0.2], [0.9, 0.4], [0.3, 0.8], [0.6, 0.6], [0.5, 0.1]];
        let whole = sample_levels(values.clone(), &sizes, looks(&places, 0, &device));
        for chunk in [1, 2, 4] {
            let samples = looks(&places, 0, &device);
            let parts = sample_chunked(values.clone(), &sizes, samples, chunk);
            assert_eq!(parts.into_data(), whole.clone().into_data(), "{chunk}");
        }
    }
}
