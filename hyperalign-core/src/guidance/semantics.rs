//! Whether things lie where what is said of them lies.

use burn::tensor::Tensor;

use crate::{
    one_picture::{Noun, widened},
    resize::{Filter, resize},
};

/// What keeps a map without attention a map.
const EPS: f64 = 1e-8;

/// The longest side of the maps that are compared; longer ones are shrunk.
const LARGEST: usize = 16;

/// The semantic loss of a picture's maps of attention (Xie & Gong 2025, DyMO, arXiv:2412.00759,
/// section 3.2): the mean distance of the maps of things to those of what is said of them, less
/// the mean distance of the maps of different things. `None` without a pair of either kind.
///
/// The distance of two maps is 1 less their cosine. Of the maps those of the largest size up to
/// 16 are averaged.
///
/// # Shapes
///
/// - `maps`: each `[1, tokens, height, width]`
/// - output: `[1]`
pub(super) fn loss(maps: &[Tensor<4>], nouns: &[Noun]) -> Option<Tensor<1>> {
    let map = mean_map(maps)?;
    let tokens = map.dims()[1];
    let known = |places: &[usize]| -> Vec<usize> {
        places.iter().copied().filter(|place| *place < tokens).collect()
    };
    // Places beyond the context are those of words that were cut off.
    let of = |places: &[usize]| {
        let places = known(places);
        (!places.is_empty()).then(|| {
            let words = places.iter().map(|&place| map.clone().slice_dim(1, place..place + 1));
            Tensor::cat(words.collect(), 1).mean_dim(1).flatten::<1>(0, 3) + EPS
        })
    };
    let things: Vec<(Tensor<1>, &Noun)> =
        nouns.iter().filter_map(|noun| Some((of(&noun.tokens)?, noun))).collect();
    let said = things.iter().flat_map(|(thing, noun)| {
        let words = noun.attributes.iter().filter_map(|attribute| of(attribute));
        words.map(|word| distance(thing.clone(), word)).collect::<Vec<_>>()
    });
    let others = things.iter().enumerate().flat_map(|(k, (one, _))| {
        things[k + 1..].iter().map(|(other, _)| distance(one.clone(), other.clone()))
    });
    let (said, others) = (mean(said.collect()), mean(others.collect()));
    match (said, others) {
        (None, None) => None,
        (Some(said), None) => Some(said),
        (None, Some(others)) => Some(others.neg()),
        (Some(said), Some(others)) => Some(said - others),
    }
}

/// The mean of the largest maps, `[1, tokens, height, width]`.
fn mean_map(maps: &[Tensor<4>]) -> Option<Tensor<4>> {
    let small = maps.iter().map(|map| {
        let [_, _, height, width] = map.dims();
        let scale = (LARGEST as f64 / height.max(width) as f64).min(1.0);
        let side = |side: usize| ((side as f64 * scale).round() as usize).max(1);
        resize(widened(map.clone()), side(height), side(width), Filter::Bilinear)
    });
    let small: Vec<Tensor<4>> = small.collect();
    let size = |map: &Tensor<4>| map.dims()[2] * map.dims()[3];
    let largest = small.iter().map(size).max()?;
    let kept: Vec<Tensor<4>> = small.into_iter().filter(|map| size(map) == largest).collect();
    let count = kept.len() as f64;
    kept.into_iter().reduce(|sum, map| sum + map).map(|sum| sum.div_scalar(count))
}

fn distance(a: Tensor<1>, b: Tensor<1>) -> Tensor<1> {
    let length = |x: &Tensor<1>| x.clone().square().sum().sqrt();
    let lengths = length(&a) * length(&b);
    ((a * b).sum() / lengths).neg().add_scalar(1.0)
}

fn mean(values: Vec<Tensor<1>>) -> Option<Tensor<1>> {
    let count = values.len() as f64;
    values.into_iter().reduce(|sum, value| sum + value).map(|sum| sum.div_scalar(count))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};

    use super::*;
    use crate::testing;

    /// Maps of 2 x 2 for four tokens: of three places, and a mixture of the first two.
    fn maps() -> Tensor<4> {
        let values = [
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [1.0, 1.0, 0.0, 0.0],
        ];
        let data = TensorData::new(values.concat(), [1, 4, 2, 2]);
        Tensor::from_data(data, (&testing::cpu(), DType::F64))
    }

    fn noun(token: usize, attributes: &[usize]) -> Noun {
        let attributes = attributes.iter().map(|&token| vec![token]).collect();
        Noun { tokens: vec![token], attributes }
    }

    fn value(nouns: &[Noun]) -> Option<f64> {
        loss(&[maps()], nouns).map(Tensor::into_scalar)
    }

    /// By hand: places apart are 1 apart, and a mixture of two is `1 - sqrt(1 / 2)` from each.
    #[test]
    fn distances_of_maps() {
        let half = 1.0 - 0.5_f64.sqrt();
        let close = |found: Option<f64>, expected: f64| {
            assert!((found.unwrap() - expected).abs() < 1e-6, "{found:?}, not {expected}");
        };
        close(value(&[noun(0, &[3])]), half);
        close(value(&[noun(0, &[1, 3])]), f64::midpoint(1.0, half));
        close(value(&[noun(0, &[]), noun(2, &[])]), -1.0);
        close(value(&[noun(0, &[3]), noun(1, &[3])]), half - 1.0);
        // A word of two tokens is the mean of their maps.
        let both = Noun { tokens: vec![0, 1], attributes: vec![vec![3]] };
        close(value(&[both]), 0.0);
    }

    /// No pairs, and words that were cut off.
    #[test]
    fn without_pairs_there_is_no_loss() {
        assert!(value(&[]).is_none() && value(&[noun(0, &[])]).is_none());
        assert!(value(&[noun(0, &[9])]).is_none() && value(&[noun(9, &[0])]).is_none());
        assert!(loss(&[], &[noun(0, &[1])]).is_none());
    }

    #[test]
    fn the_largest_maps_are_averaged() {
        let large = resize(maps(), 4, 4, Filter::Bilinear);
        let of =
            |maps: &[Tensor<4>]| -> f64 { loss(maps, &[noun(0, &[3])]).unwrap().into_scalar() };
        assert!((of(&[maps(), large.clone()]) - of(std::slice::from_ref(&large))).abs() < 1e-12);
        let huge = resize(maps(), 64, 32, Filter::Bilinear);
        assert_eq!(mean_map(&[huge]).unwrap().dims(), [1, 4, 16, 8]);
    }

    #[test]
    fn the_gradient_against_finite_differences() {
        let nouns = [noun(0, &[3]), noun(2, &[1])];
        let x = (maps() + 0.3).autodiff().require_grad();
        let gradients = loss(std::slice::from_ref(&x), &nouns).unwrap().backward();
        let gradient: Vec<f64> = x.grad(&gradients).unwrap().try_into_vec_as().unwrap();
        let values: Vec<f64> = (maps() + 0.3).try_into_vec_as().unwrap();
        for at in [0, 1, 5, 10, 13] {
            let moved = |by: f64| -> f64 {
                let mut values = values.clone();
                values[at] += by;
                let data = TensorData::new(values, [1, 4, 2, 2]);
                let map = Tensor::from_data(data, (&testing::cpu(), DType::F64));
                loss(&[map], &nouns).unwrap().into_scalar()
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[at] - expected).abs() < 1e-8, "{at}: {} {expected}", gradient[at]);
        }
    }
}
