//! The beginning of a pass, for whoever goes on from it.

use burn::tensor::Tensor;

/// What the first blocks of the way down made of some rows, without any update.
#[derive(Debug, Clone)]
pub struct UnetStart {
    /// Blocks that are done; the middle is the last.
    pub(super) depth: usize,
    /// The map after them, `[rows, channels, height, width]`.
    pub(super) x: Tensor<4>,
    /// The maps that the way up reads again, in the order in which they came.
    pub(super) skips: Vec<Tensor<4>>,
}

impl UnetStart {
    /// The rows of `self` followed by those of `other`, which has come as far.
    pub(super) fn followed_by(self, other: &Self) -> Self {
        let both = |a: Tensor<4>, b: &Tensor<4>| Tensor::cat(vec![a, b.clone()], 0);
        let skips = self.skips.into_iter().zip(&other.skips);
        Self {
            depth: self.depth,
            x: both(self.x, &other.x),
            skips: skips.map(|(a, b)| both(a, b)).collect(),
        }
    }
}
