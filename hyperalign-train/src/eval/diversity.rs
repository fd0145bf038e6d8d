//! How different the pictures of one prompt are.

use burn::tensor::Tensor;
use hyperalign_models::clip::normalize;
use hyperalign_rewards::ClipReward;

/// A space in which pictures are compared.
pub trait ImageSpace {
    /// Its name, for tables.
    fn name(&self) -> &str;

    /// What tells it from another of the same name.
    fn version(&self) -> String;

    /// Where pictures lie in it.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, in `[-1, 1]`
    /// - output: `[batch, dim]`
    fn embed(&self, images: Tensor<4>) -> Tensor<2>;
}

/// The image features of a CLIP.
#[derive(Debug, Clone, Copy)]
pub struct ClipSpace<'a>(
    /// The dual encoder, with its preparation of pictures.
    pub &'a ClipReward,
);

impl ImageSpace for ClipSpace<'_> {
    fn name(&self) -> &str {
        hyperalign_rewards::Reward::name(self.0)
    }

    fn version(&self) -> String {
        hyperalign_rewards::Reward::version(self.0)
    }

    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        self.0.image_features(images)
    }
}

/// The pixels themselves, where there is no model to compare pictures with. It sees colours and
/// places rather than contents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pixels;

impl ImageSpace for Pixels {
    fn name(&self) -> &'static str {
        "pixels"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        images.flatten(1, 3)
    }
}

/// The mean of `1 - cosine` over all pairs of rows: 0 for copies, 1 for orthogonal rows. `None`
/// for fewer than two.
///
/// # Shapes
///
/// - `features`: `[pictures, dim]`
pub fn mean_pairwise_distance(features: Tensor<2>) -> Option<f64> {
    let [pictures, _] = features.dims();
    if pictures < 2 {
        return None;
    }
    let unit = normalize(features);
    let cosines = unit.clone().matmul(unit.transpose());
    let values: Vec<f32> = cosines.into_data().convert::<f32>().iter::<f32>().collect();
    let apart = |k: usize| k / pictures < k % pictures;
    let distances = (0..values.len()).filter(|&k| apart(k)).map(|k| 1.0 - f64::from(values[k]));
    Some(distances.sum::<f64>() / (pictures * (pictures - 1) / 2) as f64)
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;

    #[test]
    fn distances_of_known_angles() {
        let device = testing::device();
        let of = |rows: &[[f32; 2]]| {
            let features: Vec<Tensor<1>> =
                rows.iter().map(|row| Tensor::from_floats(*row, &device)).collect();
            mean_pairwise_distance(Tensor::stack(features, 0))
        };
        assert_eq!(of(&[[1.0, 0.0]]), None);
        let is = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-6;
        assert!(is(of(&[[1.0, 2.0], [2.0, 4.0]]), 0.0), "length does not matter");
        assert!(is(of(&[[1.0, 0.0], [0.0, 3.0]]), 1.0));
        assert!(is(of(&[[1.0, 0.0], [-1.0, 0.0]]), 2.0));
        // Pairs at 0, 90 and 90 degrees.
        assert!(is(of(&[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 2.0 / 3.0));
    }

    #[test]
    fn pixels_are_compared_as_they_are() {
        let images = Tensor::ones([2, 3, 4, 4], &testing::device());
        let features = Pixels.embed(images);
        assert_eq!(features.dims(), [2, 48]);
        assert!(mean_pairwise_distance(features).unwrap().abs() < 1e-6);
    }
}
