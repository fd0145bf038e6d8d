//! From logits to objects: the instance segmentation of transformers'
//! `Mask2FormerImageProcessor.post_process_instance_segmentation`, one binary mask an object.

use burn::tensor::{Int, Tensor, TensorData, s};
use hyperalign_core::{
    fused::softmax,
    resize::{Filter, resize},
};

use super::Prediction;

/// Side of the square on which masks are judged, whatever the picture, in pixels. A constant of
/// the published post-processing.
pub const SQUARE: usize = 384;
/// Added to areas that are divided by.
const EPSILON: f64 = 1e-6;

/// A box around the pixels of a mask; its far edges are one beyond the last pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Left edge, in pixels.
    pub left: usize,
    /// Top edge.
    pub top: usize,
    /// Right edge, exclusive.
    pub right: usize,
    /// Bottom edge, exclusive.
    pub bottom: usize,
}

/// The pixels of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    /// Row by row.
    pixels: Vec<bool>,
}

/// An object that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The number of its class.
    pub class: usize,
    /// The probability of the class times the mean probability of its mask's pixels.
    pub score: f32,
    /// Where it is.
    pub mask: Mask,
    /// The box around it.
    pub bounds: Bounds,
}

impl Mask {
    /// A mask of rows of `width` pixels.
    ///
    /// # Panics
    ///
    /// Panics if there are no whole rows.
    pub fn new(width: usize, pixels: Vec<bool>) -> Self {
        assert!(width > 0 && pixels.len().is_multiple_of(width), "whole rows of {width} pixels");
        Self { width, pixels }
    }

    /// Width and height, in pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.pixels.len() / self.width]
    }

    /// Its pixels, row by row.
    pub fn pixels(&self) -> &[bool] {
        &self.pixels
    }

    /// Whether the pixel is part of it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such pixel.
    pub fn contains(&self, x: usize, y: usize) -> bool {
        self.pixels[y * self.width + x]
    }

    /// Number of its pixels.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|pixel| **pixel).count()
    }

    /// The box around its pixels, if it has any.
    pub fn bounds(&self) -> Option<Bounds> {
        let rows = || self.pixels.chunks_exact(self.width).enumerate();
        let has_any = |(_, row): &(usize, &[bool])| row.contains(&true);
        let (top, _) = rows().find(has_any)?;
        let (bottom, _) = rows().rfind(has_any)?;
        let first = rows().filter_map(|(_, row)| row.iter().position(|pixel| *pixel)).min()?;
        let last = rows().filter_map(|(_, row)| row.iter().rposition(|pixel| *pixel)).max()?;
        Some(Bounds { left: first, top, right: last + 1, bottom: bottom + 1 })
    }
}

/// A mask on the square where it is judged.
#[derive(Debug, Clone)]
pub struct SquareMask {
    /// Where the logit is above 0, row by row.
    pixels: Vec<bool>,
    /// The mean probability of these pixels; 0 without any.
    pub score: f32,
}

impl SquareMask {
    fn new(logits: &[f32]) -> Self {
        let pixels: Vec<bool> = logits.iter().map(|logit| *logit > 0.0).collect();
        Self { pixels, score: mean_probability(logits) }
    }

    /// Number of its pixels.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|pixel| **pixel).count()
    }

    /// The mask on a picture: each pixel is that of the square whose part of it is nearest to the
    /// upper left.
    fn on(&self, [height, width]: [usize; 2]) -> Mask {
        let nearest = |extent: usize| -> Vec<usize> {
            // In f32, as the reference computes it.
            let scale = SQUARE as f32 / extent as f32;
            (0..extent).map(|at| ((at as f32 * scale) as usize).min(SQUARE - 1)).collect()
        };
        let columns = nearest(width);
        let row = |y: usize| columns.iter().map(move |x| self.pixels[y * SQUARE + x]);
        Mask::new(width, nearest(height).into_iter().flat_map(row).collect())
    }
}

/// The mean probability of the logits above 0; 0 without any.
pub(super) fn mean_probability(logits: &[f32]) -> f32 {
    let (mut sum, mut area) = (0.0, 0.0);
    for logit in logits.iter().filter(|logit| **logit > 0.0) {
        sum += 1.0 / (1.0 + (-f64::from(*logit)).exp());
        area += 1.0;
    }
    (sum / (area + EPSILON)) as f32
}

/// The probabilities of the classes and, last, of no object, `[batch, queries, classes + 1]`.
pub fn class_probabilities(classes: Tensor<3>) -> Tensor<3> {
    softmax(classes)
}

/// The masks of some queries of one picture on the square.
///
/// # Shapes
///
/// - `masks`: logits, `[1, queries, height, width]`
pub fn square_masks(masks: Tensor<4>) -> Vec<SquareMask> {
    let squares = resize(masks, SQUARE, SQUARE, Filter::BilinearSampled);
    let logits: Vec<f32> = squares.into_data_as::<f32>().iter::<f32>().collect();
    logits.chunks_exact(SQUARE * SQUARE).map(SquareMask::new).collect()
}

/// The objects of each picture whose score is at least `threshold`, the best first.
///
/// Of all pairs of a query and a class, the most probable ones are looked at, as many as there are
/// queries: a query may be found as several classes. `sizes` are the heights and widths of the
/// pictures, which the masks are stretched to.
///
/// # Panics
///
/// Panics if there are not as many sizes as pictures.
pub fn instances(
    prediction: &Prediction,
    sizes: &[[usize; 2]],
    threshold: f32,
) -> Vec<Vec<Instance>> {
    instances_by(prediction, sizes, threshold, &|masks, size| {
        square_masks(masks).iter().map(|mask| (mask.on(size), mask.score)).collect()
    })
}

/// What brings the masks of some queries, `[1, queries, height, width]` as logits, onto a picture of
/// a height and a width: each one's mask there, and how probable its pixels are.
pub(super) type Place<'a> = &'a dyn Fn(Tensor<4>, [usize; 2]) -> Vec<(Mask, f32)>;

/// [`instances`] with masks on pictures as `place` says.
pub(super) fn instances_by(
    prediction: &Prediction,
    sizes: &[[usize; 2]],
    threshold: f32,
    place: Place<'_>,
) -> Vec<Vec<Instance>> {
    let [batch, queries, columns] = prediction.classes.dims();
    assert_eq!(batch, sizes.len(), "one size for each picture");
    let probabilities = class_probabilities(prediction.classes.clone());
    let probabilities: Vec<f32> = probabilities.into_data_as::<f32>().iter::<f32>().collect();
    let mut found = Vec::with_capacity(batch);
    for (picture, of_picture) in probabilities.chunks_exact(queries * columns).enumerate() {
        // A score is never above the probability of its class.
        let best: Vec<Candidate> = candidates(of_picture, columns)
            .into_iter()
            .filter(|candidate| candidate.probability >= threshold)
            .collect();
        let masks = prediction.masks.clone().slice(s![picture..picture + 1]);
        found.push(judge(&best, masks, sizes[picture], threshold, place));
    }
    found
}

/// A query as an object of a class.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    query: usize,
    class: usize,
    probability: f32,
}

/// The most probable pairs, as many as there are queries; `columns` probabilities a query, the last
/// that of no object.
fn candidates(probabilities: &[f32], columns: usize) -> Vec<Candidate> {
    let queries = probabilities.chunks_exact(columns).enumerate();
    let mut pairs: Vec<Candidate> = queries
        .flat_map(|(query, row)| {
            let classes = row[..columns - 1].iter().enumerate();
            classes.map(move |(class, probability)| Candidate {
                query,
                class,
                probability: *probability,
            })
        })
        .collect();
    pairs.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    pairs.truncate(probabilities.len() / columns);
    pairs
}

fn judge(
    candidates: &[Candidate],
    masks: Tensor<4>,
    size: [usize; 2],
    threshold: f32,
    place: Place<'_>,
) -> Vec<Instance> {
    let mut queries: Vec<i64> = candidates.iter().map(|one| one.query as i64).collect();
    queries.sort_unstable();
    queries.dedup();
    if queries.is_empty() {
        return Vec::new();
    }
    let (count, device) = (queries.len(), masks.device());
    let index = Tensor::<1, Int>::from_data(TensorData::new(queries.clone(), [count]), &device);
    let placed = place(masks.select(1, index), size);
    let mut found: Vec<Instance> = candidates
        .iter()
        .filter_map(|candidate| {
            let at = queries.binary_search(&(candidate.query as i64)).ok()?;
            let (mask, mean) = &placed[at];
            let score = candidate.probability * mean;
            if score.is_nan() || score < threshold {
                return None;
            }
            let mask = mask.clone();
            let bounds = mask.bounds()?;
            Some(Instance { class: candidate.class, score, mask, bounds })
        })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;

    #[test]
    fn bounds_end_behind_the_last_pixel() {
        let mut pixels = vec![false; 12];
        assert_eq!(Mask::new(4, pixels.clone()).bounds(), None);
        pixels[5] = true;
        pixels[10] = true;
        let mask = Mask::new(4, pixels);
        let bounds = Bounds { left: 1, top: 1, right: 3, bottom: 3 };
        assert_eq!((mask.bounds(), mask.area(), mask.size()), (Some(bounds), 2, [4, 3]));
    }

    /// Two queries, two classes; the left half of the picture is an object of the first query.
    fn prediction(classes: [f32; 6]) -> Prediction {
        let device = testing::device();
        let classes = TensorData::new(classes.to_vec(), [1, 2, 3]);
        let masks = TensorData::new(vec![9.0_f32, -9.0, -9.0, -9.0], [1, 2, 1, 2]);
        Prediction {
            classes: Tensor::from_data(classes, &device),
            masks: Tensor::from_data(masks, &device),
        }
    }

    #[test]
    fn a_query_may_be_of_several_classes_and_none_without_pixels() {
        // The second query is surer of its class, but has no pixel.
        let found = instances(&prediction([2.0, 2.0, -9.0, 9.0, -9.0, -9.0]), &[[4, 8]], 0.1);
        assert_eq!(found[0].len(), 1, "two pairs are looked at, one of them is empty");
        let found = instances(&prediction([2.0, 2.0, -9.0, -9.0, -9.0, 9.0]), &[[4, 8]], 0.1);
        let classes: Vec<usize> = found[0].iter().map(|instance| instance.class).collect();
        assert_eq!(classes, [0, 1]);
        let bounds = Bounds { left: 0, top: 0, right: 4, bottom: 4 };
        assert_eq!(found[0][0].bounds, bounds);
        assert!((0.45..0.5).contains(&found[0][0].score), "{}", found[0][0].score);
    }

    #[test]
    fn nothing_is_found() {
        let nothing = prediction([-9.0, -9.0, 9.0, -9.0, -9.0, 9.0]);
        assert_eq!(instances(&nothing, &[[4, 8]], 0.3), [[]]);
        let unreadable = prediction([f32::NAN; 6]);
        assert_eq!(instances(&unreadable, &[[4, 8]], 0.3), [[]]);
    }
}
