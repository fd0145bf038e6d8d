//! Rotary positions along three axes.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::modulation::wide;

/// Base of the wave lengths.
const THETA: f64 = 10_000.0;

/// The position of a token: 0 for everything so far, row and column of its patch. Text lies at
/// the origin.
pub type Position = [f64; 3];

/// Rotations of queries and keys by the positions of their tokens (Su et al. 2021,
/// arXiv:2104.09864, section 3.2.2): pair `k` of an axis of `d` channels turns by
/// `position * 10000^(-2k / d)`.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// `[tokens, dim / 2]`
    cos: Tensor<2>,
    /// `[tokens, dim / 2]`
    sin: Tensor<2>,
}

impl Rotary {
    /// The rotations at `positions`, whose axes turn `axes` channels of a head each.
    pub fn new(positions: &[Position], axes: [usize; 3], device: &Device) -> Self {
        // On the host in f64: in f32 the angle of a far patch is off by 1e-5.
        let angles: Vec<f64> = positions
            .iter()
            .flat_map(|position| position.iter().zip(axes))
            .flat_map(|(position, dim)| {
                (0..dim / 2).map(move |k| position * THETA.powf(-(2.0 * k as f64) / dim as f64))
            })
            .collect();
        let shape = [positions.len(), axes.iter().sum::<usize>() / 2];
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|angle| of(*angle) as f32).collect();
            Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// Cosines and sines of every channel, `[tokens, dim]` each; the two channels of a pair share
    /// theirs.
    pub fn tables(&self) -> [Tensor<2>; 2] {
        [&self.cos, &self.sin].map(|table| {
            let [tokens, pairs] = table.dims();
            let both = table.clone().unsqueeze_dim::<3>(2).repeat_dim(2, 2);
            both.reshape([tokens, 2 * pairs])
        })
    }

    /// Turns the channels of every head, neighbours in pairs.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, heads, tokens, dim]`
    /// - output: the same
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, tokens, dim] = x.dims();
        let dtype = x.dtype();
        let pairs = x.cast(wide(dtype)).reshape([batch, heads, tokens, dim / 2, 2]);
        let (a, b) = (pairs.clone().narrow(4, 0, 1), pairs.narrow(4, 1, 1));
        let table =
            |table: &Tensor<2>| table.clone().cast(wide(dtype)).reshape([1, 1, tokens, dim / 2, 1]);
        let (cos, sin) = (table(&self.cos), table(&self.sin));
        let turned = Tensor::cat(
            vec![a.clone() * cos.clone() - b.clone() * sin.clone(), a * sin + b * cos],
            4,
        );
        turned.reshape([batch, heads, tokens, dim]).cast(dtype)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use hyperalign_core::testing;

    use super::*;

    /// Scores of rotated queries and keys depend on differences of positions only.
    #[test]
    fn scores_see_differences_of_positions() {
        let device = testing::device();
        let axes = [4, 6, 6];
        let random = || Tensor::<4>::random([1, 1, 1, 16], Distribution::Default, &device);
        let (q, k) = (random(), random());
        let score = |at: Position, of: Position| {
            let rotate =
                |x: &Tensor<4>, position| Rotary::new(&[position], axes, &device).rotate(x.clone());
            (rotate(&q, at) * rotate(&k, of)).sum().into_scalar::<f32>()
        };
        let near = score([0.0, 1.0, 2.0], [0.0, 3.0, 7.0]);
        let far = score([0.0, 11.0, 20.0], [0.0, 13.0, 25.0]);
        assert!((near - far).abs() < 1e-4, "{near} {far}");
        let other = score([0.0, 1.0, 2.0], [0.0, 3.0, 6.0]);
        assert!((near - other).abs() > 1e-4, "columns are not seen");
        let origin = (q.clone() * k.clone()).sum().into_scalar::<f32>();
        assert!((score([0.0; 3], [0.0; 3]) - origin).abs() < 1e-6);
    }
}
