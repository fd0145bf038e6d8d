//! What a reward is shown of a picture: several views that are a little off.

use burn::tensor::{Tensor, s};
use hyperalign_core::noise::{Purpose, Stream, normal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Views of a picture whose mean reward is maximised.
///
/// The gradient of a network's score by the pixels is mostly a pattern that means something to the
/// network alone. It hangs on the exact place of the pixels; the mean over views that are moved by
/// a few pixels and have a little noise on them has less of it (AugCLIP of Liu et al. 2021,
/// arXiv:2112.01573).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Views {
    /// Views of each picture; 0 shows the picture as it is.
    pub count: usize,
    /// Largest shift along each side, as a share of it. The border is continued.
    pub shift: f64,
    /// Standard deviation of the noise, in pictures between -1 and 1.
    pub noise: f64,
}

impl Default for Views {
    fn default() -> Self {
        Self { count: 4, shift: 0.1, noise: 0.1 }
    }
}

impl Views {
    /// The views of `images`, one after the other, each of all images.
    ///
    /// `stream` gives the stream of a number that no two draws share.
    ///
    /// # Shapes
    ///
    /// - `images`: `[rows, channels, height, width]`
    /// - output: `[views * rows, channels, height, width]`; `images` itself where there are none
    pub(super) fn of(&self, images: Tensor<4>, stream: impl Fn(usize) -> Stream) -> Tensor<4> {
        if self.count == 0 {
            return images;
        }
        let [rows, channels, height, width] = images.dims();
        let most = |side: usize| ((self.shift * side as f64) as usize).min(side);
        let (down, right) = (most(height), most(width));
        let padded = continued(continued(images, 3, right), 2, down);
        let views = (0..self.count).map(|view| {
            let number = view * (rows + 1);
            let mut place = stream(number);
            let (y, x) = (place.below(2 * down + 1), place.below(2 * right + 1));
            let streams = (1..=rows).map(|row| stream(number + row));
            let noise = normal([1, channels, height, width], streams, &padded.device());
            padded.clone().slice(s![.., .., y..y + height, x..x + width]) + noise * self.noise
        });
        Tensor::cat(views.collect(), 0)
    }

    /// The prompts of the [views](Self::of).
    pub(super) fn prompts<T: Clone>(&self, prompts: Vec<T>) -> Vec<T> {
        std::iter::repeat_n(prompts, self.count.max(1)).flatten().collect()
    }

    /// The stream of draw `number` in a shard of an update.
    pub(super) fn stream(seed: u64, update: u64, shard: usize, number: usize) -> Stream {
        // No shard has a million rows times views.
        Stream::new(seed, Purpose::View, update as u32, (shard * 1_000_000 + number) as u32)
    }
}

/// `images` with `margin` more pixels at both ends of axis `dim`, of the colour of the border.
fn continued(images: Tensor<4>, dim: usize, margin: usize) -> Tensor<4> {
    if margin == 0 {
        return images;
    }
    let last = images.dims()[dim] - 1;
    let border = |at: usize| images.clone().narrow(dim, at, 1).repeat_dim(dim, margin);
    Tensor::cat(vec![border(0), images.clone(), border(last)], dim)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, Tolerance};
    use hyperalign_core::testing;

    use super::*;

    fn ramp(rows: usize) -> Tensor<4> {
        let values: Vec<f32> = (0..rows * 400).map(|i| (i % 400) as f32 / 400.0).collect();
        Tensor::from_data(TensorData::new(values, [rows, 1, 20, 20]), &testing::device())
    }

    #[test]
    fn a_view_is_the_picture_moved_by_whole_pixels() {
        let views = Views { count: 8, shift: 0.1, noise: 0.0 };
        let seen = views.of(ramp(1), |number| Views::stream(3, 0, 0, number));
        assert_eq!(seen.dims(), [8, 1, 20, 20]);
        let picture = ramp(1);
        let mut shifts = Vec::new();
        for view in 0..8 {
            let inner = seen.clone().slice(s![view..view + 1, .., 2..18, 2..18]).into_data();
            let found = (0..5).flat_map(|y| (0..5).map(move |x| (y, x))).find(|&(y, x)| {
                picture.clone().slice(s![.., .., y..y + 16, x..x + 16]).into_data() == inner
            });
            shifts.push(found.expect("within two pixels"));
        }
        shifts.sort_unstable();
        shifts.dedup();
        assert!(shifts.len() > 3, "{shifts:?}");
    }

    #[test]
    fn rows_have_noise_of_their_own_and_none_means_the_picture() {
        let views = Views { count: 1, shift: 0.0, noise: 0.5 };
        let seen = views.of(ramp(2), |number| Views::stream(3, 7, 1, number)) - ramp(2);
        let deviation = seen.clone().square().mean().sqrt().into_scalar::<f32>();
        assert!((0.45..0.55).contains(&deviation), "{deviation}");
        let [first, second] = [0, 1].map(|k| seen.clone().narrow(0, k, 1).into_data());
        assert_ne!(first, second);
        let none = Views { count: 0, ..views };
        let same = none.of(ramp(2), |_| unreachable!("nothing is drawn"));
        same.into_data().assert_approx_eq::<f32>(&ramp(2).into_data(), Tolerance::absolute(0.0));
        assert_eq!(none.prompts(vec!["a dog".to_owned()]).len(), 1);
    }
}
