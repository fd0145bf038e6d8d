//! Counter-based random streams: (seed, purpose, step, sample index) → noise.
//!
//! There is no generator state and no global seed. A picture's noise is a function of its own
//! seed, so it does not depend on the batch that it was made in, and a resumed run draws what
//! the uninterrupted one would have drawn.
//!
//! The generator is Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
//! 1, 2, 3"); normals are made from pairs of its words by the Box-Muller transform in `f64`.

use burn::tensor::{Device, Tensor, TensorData};

/// What a stream of random numbers is for. Streams of different purposes never share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// The latents that a trajectory starts from.
    Start = 1,
    /// Noise that a stochastic sampler adds.
    Sampler = 2,
    /// Initial values of parameters.
    Init = 3,
    /// Which items of a data set make a batch.
    Data = 4,
    /// Timesteps drawn for a loss.
    Timestep = 5,
    /// Noise added to data for a loss.
    Forward = 6,
    /// Dropping of prompts.
    Dropout = 7,
    /// The posterior of an autoencoder.
    Posterior = 8,
    /// Contents of the embedded world.
    World = 9,
    /// Resampling of results for intervals.
    Bootstrap = 10,
    /// Candidates of a search.
    Search = 11,
    /// Views of pictures that a reward is shown.
    View = 12,
    /// Captions that a text encoder learns from alone.
    Caption = 13,
}

/// One random stream: the numbers that belong to (seed, purpose, step, index).
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
    spare: Option<f64>,
}

impl Stream {
    /// The stream of (`seed`, `purpose`, `step`, `index`), from its beginning.
    pub fn new(seed: u64, purpose: Purpose, step: u32, index: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, index, step, purpose as u32],
            words: [0; 4],
            used: 4,
            spare: None,
        }
    }

    /// The next 32 uniform bits.
    pub fn bits(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// The next uniform number in `[0, 1)`, of 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (self.bits() >> 5, self.bits() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// The next uniform number in `[low, high)`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// The next uniform integer below `n`.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "there is no integer below 0");
        ((self.uniform() * n as f64) as usize).min(n - 1)
    }

    /// Whether an event of probability `p` happens.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// The next standard normal number (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// One item of a non-empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Shuffles `items` (Fisher & Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Standard normal noise, row `k` of it from the `k`-th stream.
///
/// # Shapes
///
/// - `row`: the shape of one sample, its first extent 1: `[1, channels, height, width]`
/// - output: `row` with as many rows as there are streams
pub fn normal<const D: usize>(
    row: [usize; D],
    streams: impl IntoIterator<Item = Stream>,
    device: &Device,
) -> Tensor<D> {
    let size: usize = row.iter().product();
    let mut values: Vec<f32> = Vec::new();
    for mut stream in streams {
        values.extend((0..size).map(|_| stream.normal() as f32));
    }
    let mut shape = row;
    shape[0] = row[0] * values.len() / size.max(1);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Philox 4x32 with ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Known answers of the Random123 distribution, `philox4x32 10`.
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn normal_moments() {
        let mut stream = Stream::new(7, Purpose::Start, 0, 0);
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        // Four standard errors.
        assert!(mean.abs() < 4.0 / f64::from(n).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / f64::from(n)).sqrt(), "variance {variance}");
    }

    #[test]
    fn a_row_depends_on_its_stream_only() {
        let device = testing::device();
        let stream = |index| Stream::new(3, Purpose::Start, 0, index);
        let both = normal([1, 2, 3], [stream(0), stream(1)], &device);
        let second = normal([1, 2, 3], [stream(1)], &device);
        assert_eq!(both.slice(burn::tensor::s![1..2]).into_data(), second.into_data());
    }
}
