//! What a network has at work beside its weights: feature maps of a step, and the tape of a training
//! step.

use hyperalign_models::{blocks::KEPT_NUMBERS, flux::FluxConfig, unet::UnetConfig};

/// Tensors of the size of a feature map that one layer has at once: input, output, what lies
/// between, and what the convolution unfolds.
pub(super) const WORKING: usize = 8;
/// Feature maps that the tape keeps of a residual block, and of a transformer block (whose
/// feed-forward layer is eight times as wide).
pub(super) const TAPE: [usize; 2] = [10, 24];

/// Tokens of a prompt that FLUX.1's transformer reads.
const FLUX_TEXT_TOKENS: usize = 512;

/// The largest of `maps`.
pub(super) fn largest(maps: &[usize]) -> usize {
    maps.iter().copied().max().unwrap_or_default()
}

/// Numbers that the tape of a training step holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tape {
    /// From the forward pass to the backward pass.
    pub(super) kept: usize,
    /// While the dearest block is computed again.
    pub(super) again: usize,
}

impl Tape {
    /// Of `blocks` frozen blocks on feature maps of `map` numbers in each of `rows` rows, which have
    /// `working` such maps at work. Large ones keep their input and are computed again.
    pub(super) fn of(map: usize, blocks: usize, rows: usize, working: usize) -> Self {
        match map >= KEPT_NUMBERS {
            true => Self { kept: rows * map * blocks, again: rows * map * working },
            false => Self { kept: rows * map * blocks * working, again: 0 },
        }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { kept: self.kept + other.kept, again: self.again.max(other.again) }
    }

    /// All of them.
    pub(super) fn numbers(self) -> usize {
        self.kept + self.again
    }
}

/// Numbers at work in a guided step of a U-Net, and on the tape of a pass.
pub(super) fn unet_numbers(unet: &UnetConfig) -> (usize, Tape) {
    // A feature map of each resolution.
    let levels = unet.block_out_channels.iter().enumerate();
    let maps: Vec<usize> =
        levels.map(|(level, channels)| channels * (unet.sample_size >> level).pow(2)).collect();
    let skips: usize = maps.iter().map(|map| map * (unet.layers_per_block + 1)).sum();
    // Guidance computes two rows.
    let denoising = 2 * (skips + WORKING * largest(&maps));
    let blocks = 2 * unet.layers_per_block + 1;
    let tape =
        |&map: &usize| Tape::of(map, blocks, 2, TAPE[0]).and(Tape::of(map, blocks, 2, TAPE[1]));
    (denoising, maps.iter().map(tape).fold(Tape::default(), Tape::and))
}

/// The same of a FLUX.1 whose picture has `side` tokens along a side.
pub(super) fn flux_numbers(flux: &FluxConfig, side: usize) -> (usize, Tape) {
    let stream = (side.pow(2) + FLUX_TEXT_TOKENS) * flux.dim();
    // Told its guidance, it computes one row; the feed-forward layers are four times as wide.
    let rows = if flux.guidance_embeds { 1 } else { 2 };
    let blocks = flux.num_layers + flux.num_single_layers;
    (rows * 2 * WORKING * stream, Tape::of(stream, blocks, rows, TAPE[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block that is computed again keeps one map.
    #[test]
    fn large_blocks_are_not_kept() {
        let (small, large) = (KEPT_NUMBERS - 1, KEPT_NUMBERS);
        assert_eq!(Tape::of(small, 3, 1, 10).numbers(), 30 * small);
        assert_eq!(Tape::of(large, 3, 1, 10).numbers(), 13 * large);
        assert_eq!(Tape::of(large, 3, 1, 10).and(Tape::of(large, 3, 2, 10)).again, 20 * large);
    }
}
