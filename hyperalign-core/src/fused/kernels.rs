//! Loops over slices that a compiler turns into vector instructions.

/// Elements of one piece of work for a thread.
const PIECE: usize = 1 << 14;

/// Runs `kernel` on matching rows of the inputs and the output, on all threads.
///
/// `rows` has the length of one row in each of `inputs` and, last, in `output`. A kernel gets
/// whole rows, so that its results do not depend on where the work is cut.
pub(super) fn by_rows<const N: usize>(
    inputs: [&[f32]; N],
    rows: [usize; N],
    output: &mut [f32],
    output_row: usize,
    kernel: impl Fn([&[f32]; N], &mut [f32]) + Sync,
) {
    use rayon::prelude::*;
    if output.is_empty() {
        return;
    }
    let count = (PIECE / output_row).max(1);
    output.par_chunks_mut(count * output_row).enumerate().for_each(|(i, output)| {
        let done = output.len() / output_row;
        let inputs = std::array::from_fn(|k| {
            let start = i * count * rows[k];
            &inputs[k][start..start + done * rows[k]]
        });
        kernel(inputs, output);
    });
}

/// `e^x` to about two units of the last place, between `e^-87` and `e^88`.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, and `e^r` by its Taylor series, whose next term is
/// below 6e-9. NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding this pushes the fraction of a float out of its mantissa, which rounds, and leaves
    // the integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // The upper part has few digits, so that `n` times it is exact.
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2[0] - n * LN2[1];
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = series * r + 1.0;
    let series = series * r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    series * f32::from_bits(exponent << 23)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The distribution function and the density of the standard normal at `x`, by the
/// approximation of erf in Abramowitz & Stegun 1964, 7.1.26, whose error is below 1.5e-7.
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    const SQRT_1_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
    // 1 / sqrt(2 pi)
    const DENSITY: f32 = 0.398_942_3;
    let gauss = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.327_591_1 * SQRT_1_2 * x.abs());
    let series = 1.061_405_4;
    let series = series * t - 1.453_152;
    let series = series * t + 1.421_413_8;
    let series = series * t - 0.284_496_74;
    let series = series * t + 0.254_829_6;
    // Half of what is left of the distribution beyond |x|.
    let tail = 0.5 * series * t * gauss;
    let distribution = if x < 0.0 { tail } else { 1.0 - tail };
    (distribution, DENSITY * gauss)
}

/// Numbers that are added side by side, so that the compiler may use vectors for them.
const LANES: usize = 16;

/// The largest element.
pub(super) fn largest(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| a.max(*b))
}

/// The sum of all elements.
pub(super) fn sum(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).sum()
}

/// The sum of products.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
