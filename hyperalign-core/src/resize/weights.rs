//! The weights of separable resampling filters.

use super::Filter;

/// The number format in which positions are computed. A position of 1,000 pixels is known to
/// 3e-5 of a pixel in f32, and at an edge that much of a weight is that much of a value: who
/// wants the values of another program computes positions as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Positions {
    /// As torch does for pictures in f32 and below.
    F32,
    /// As PIL does, and torch for pictures in f64.
    F64,
}

impl Positions {
    fn round(self, x: f64) -> f64 {
        match self {
            Self::F32 => f64::from(x as f32),
            Self::F64 => x,
        }
    }
}

/// The input pixels that make one output pixel: the first of them, and their weights.
pub(super) struct Taps {
    pub first: usize,
    pub weights: Vec<f64>,
}

impl Filter {
    /// Half the width of the filter at scale 1, in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear | Self::BilinearSampled => 1.0,
            Self::Bicubic | Self::BicubicSampled => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bilinear | Self::BilinearSampled => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => cubic(x, -0.5),
            Self::BicubicSampled => cubic(x, -0.75),
        }
    }
}

/// The cubic convolution kernel (Keys 1981, "Cubic convolution interpolation for digital image
/// processing", eq. 4 with free `a`).
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

/// The taps of all `to` output pixels of an axis of `from` input pixels.
///
/// # Panics
///
/// Panics if an extent is 0.
pub(super) fn taps(from: usize, to: usize, filter: Filter, positions: Positions) -> Vec<Taps> {
    assert!(from > 0 && to > 0, "cannot resize {from} pixels to {to}");
    let scale = positions.round(from as f64 / to as f64);
    let center = |pixel: usize| positions.round((pixel as f64 + 0.5) * scale);
    let make = |pixel| match filter {
        Filter::BilinearSampled | Filter::BicubicSampled => {
            sampled(positions.round(center(pixel) - 0.5), from, filter)
        }
        _ => antialiased(center(pixel), scale, from, filter),
    };
    (0..to).map(make).collect()
}

/// Widened to the size of an output pixel when shrinking; what hangs over the border is cut off
/// and the rest renormalised, as PIL and torch do.
fn antialiased(center: f64, scale: f64, from: usize, filter: Filter) -> Taps {
    let widening = scale.max(1.0);
    let support = filter.support() * widening;
    // Truncation of the sum with one half, as PIL rounds its borders.
    let first = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5).max(0.0) as usize).min(from);
    let weight = |pixel: usize| filter.weight((pixel as f64 - center + 0.5) / widening);
    let weights: Vec<f64> = (first..end).map(weight).collect();
    let total: f64 = weights.iter().sum();
    Taps { first, weights: weights.into_iter().map(|weight| weight / total).collect() }
}

/// The two or four samples around the point `source`, in pixels from the middle of the first; what
/// hangs over the border goes to the border's pixel.
fn sampled(source: f64, from: usize, filter: Filter) -> Taps {
    let base = source.floor();
    let clamp = |tap: i32| (base + f64::from(tap)).clamp(0.0, (from - 1) as f64) as usize;
    let reach = filter.support() as i32;
    let (first, last) = (clamp(1 - reach), clamp(reach));
    let mut weights = vec![0.0; last - first + 1];
    for tap in 1 - reach..=reach {
        weights[clamp(tap) - first] += filter.weight(source - base - f64::from(tap));
    }
    Taps { first, weights }
}

/// The same as a dense matrix, `to` rows of `from` weights.
pub(super) fn matrix(from: usize, to: usize, filter: Filter, positions: Positions) -> Vec<f64> {
    let mut matrix = vec![0.0; to * from];
    for (row, taps) in matrix.chunks_exact_mut(from).zip(taps(from, to, filter, positions)) {
        row[taps.first..taps.first + taps.weights.len()].copy_from_slice(&taps.weights);
    }
    matrix
}
