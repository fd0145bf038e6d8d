//! The random numbers of one picture.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use crate::noise::{Purpose, Stream, normal};

/// The noise of a picture by its seed. Candidate 0 has the noise that the picture is sampled from
/// where nothing is searched.
#[derive(Debug, Clone)]
pub struct Draws {
    seed: u64,
    /// Of one sample, `[1, channels, height, width]`.
    row: [usize; 4],
    device: Device,
}

impl Draws {
    /// The noise of the picture with this seed, for latents of `[channels, height, width]`.
    pub fn new(seed: u64, [channels, height, width]: [usize; 3], device: &Device) -> Self {
        Self { seed, row: [1, channels, height, width], device: device.clone() }
    }

    /// Numbers in a sample.
    pub fn size(&self) -> usize {
        self.row.iter().product()
    }

    /// What these candidates start from, a row each.
    pub fn start(&self, candidates: Range<usize>) -> Tensor<4> {
        self.of(Purpose::Start, 0, candidates)
    }

    /// What step `i` of these candidates draws, a row each.
    pub fn step(&self, i: usize, candidates: Range<usize>) -> Tensor<4> {
        self.of(Purpose::Sampler, i, candidates)
    }

    /// What a method draws at step `i` beside that, a row for each of `which`.
    pub fn search(&self, i: usize, which: Range<usize>) -> Tensor<4> {
        self.of(Purpose::Search, i, which)
    }

    /// The stream of draw `which` of a method at step `i`.
    pub fn stream(&self, i: usize, which: usize) -> Stream {
        Stream::new(self.seed, Purpose::Search, i as u32, which as u32)
    }

    fn of(&self, purpose: Purpose, i: usize, which: Range<usize>) -> Tensor<4> {
        let stream = |k: usize| Stream::new(self.seed, purpose, i as u32, k as u32);
        normal(self.row, which.map(stream), &self.device)
    }
}
