//! All factors of a set in one tensor: what is computed again in the backward pass has its inputs
//! counted at compile time, and a network's updates are dozens.

use burn::tensor::{Shape, Tensor};

use super::{LoraDelta, LoraSet};

/// Where the factors of a [`LoraSet`] lie in its packed numbers.
#[derive(Debug, Clone)]
pub struct LoraLayout {
    deltas: Vec<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    path: String,
    down_aux: Option<[usize; 2]>,
    down: [usize; 3],
    up: Option<[usize; 3]>,
    up_aux: Option<[usize; 2]>,
    scale: f64,
}

impl LoraSet {
    /// All factors behind each other, and where each is.
    ///
    /// # Shapes
    ///
    /// - output: `[1, 1, 1, numbers]`
    ///
    /// # Panics
    ///
    /// Panics if the set is empty.
    pub fn pack(&self) -> (Tensor<4>, LoraLayout) {
        let mut numbers = Vec::new();
        let mut deltas = Vec::new();
        for (path, delta) in self.iter() {
            let LoraDelta { down_aux, down, up, up_aux, scale } = delta.clone();
            deltas.push(Place {
                path: path.to_owned(),
                down_aux: down_aux.as_ref().map(Tensor::dims),
                down: down.dims(),
                up: up.as_ref().map(Tensor::dims),
                up_aux: up_aux.as_ref().map(Tensor::dims),
                scale,
            });
            numbers.extend(down_aux.map(row));
            numbers.push(row(down));
            numbers.extend(up.map(row));
            numbers.extend(up_aux.map(row));
        }
        (Tensor::cat(numbers, 3), LoraLayout { deltas })
    }

    /// Whether a factor asks for a gradient.
    pub fn is_tracked(&self) -> bool {
        self.iter().any(|(_, delta)| {
            let aux = [&delta.down_aux, &delta.up_aux];
            delta.down.is_tracked()
                || delta.up.as_ref().is_some_and(Tensor::is_tracked)
                || aux.into_iter().flatten().any(Tensor::is_tracked)
        })
    }
}

impl LoraLayout {
    /// The set whose factors [`LoraSet::pack`] has put into `numbers`.
    ///
    /// # Panics
    ///
    /// Panics if `numbers` is of another size.
    pub fn unpack(&self, numbers: Tensor<4>) -> LoraSet {
        let mut next = Next { numbers, start: 0 };
        LoraSet::new(self.deltas.iter().map(|place| {
            let delta = LoraDelta {
                down_aux: place.down_aux.map(|dims| next.take(dims)),
                down: next.take(place.down),
                up: place.up.map(|dims| next.take(dims)),
                up_aux: place.up_aux.map(|dims| next.take(dims)),
                scale: place.scale,
            };
            (place.path.clone(), delta)
        }))
    }
}

fn row<const D: usize>(factor: Tensor<D>) -> Tensor<4> {
    let count = factor.shape().num_elements();
    factor.reshape([1, 1, 1, count])
}

struct Next {
    numbers: Tensor<4>,
    start: usize,
}

impl Next {
    fn take<const D: usize>(&mut self, dims: [usize; D]) -> Tensor<D> {
        let count = Shape::from(dims).num_elements();
        let factor = self.numbers.clone().narrow(3, self.start, count).reshape(dims);
        self.start += count;
        factor
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;

    use super::*;
    use crate::noise::{Purpose, Stream, normal};

    fn random<const D: usize>(dims: [usize; D], index: u32) -> Tensor<D> {
        let count = Shape::from(dims).num_elements();
        let stream = Stream::new(3, Purpose::Init, 0, index);
        normal([1, count], [stream], &testing::device()).reshape(dims)
    }

    fn set() -> LoraSet {
        let whole = LoraDelta {
            down_aux: Some(random([5, 3], 0)),
            down: random([2, 3, 2], 1),
            up: Some(random([2, 2, 4], 2)),
            up_aux: Some(random([4, 6], 3)),
            scale: 0.5,
        };
        let bare = LoraDelta {
            down_aux: None,
            down: random([1, 5, 2], 4),
            up: Some(random([1, 2, 6], 5)),
            up_aux: None,
            scale: 2.0,
        };
        let weight = LoraDelta::whole(random([5, 6], 6));
        LoraSet::new(
            [("a.to_q", whole), ("b.to_v", bare), ("c.conv", weight)]
                .map(|(path, delta)| (path.to_owned(), delta)),
        )
    }

    #[test]
    fn what_is_packed_comes_back() {
        let set = set();
        let (numbers, layout) = set.pack();
        let again = layout.unpack(numbers);
        assert_eq!(again.len(), set.len());
        for ((path, found), (expected_path, expected)) in again.iter().zip(set.iter()) {
            assert_eq!(path, expected_path);
            assert_eq!(found.scale, expected.scale);
            found.down.to_data().assert_eq(&expected.down.to_data(), true);
            let up = |delta: &LoraDelta| delta.up.as_ref().map(Tensor::to_data);
            assert_eq!(up(found), up(expected));
            for (found, expected) in
                [(&found.down_aux, &expected.down_aux), (&found.up_aux, &expected.up_aux)]
            {
                assert_eq!(found.is_some(), expected.is_some());
                if let Some((found, expected)) = found.as_ref().zip(expected.as_ref()) {
                    found.to_data().assert_eq(&expected.to_data(), true);
                }
            }
        }
    }

    #[test]
    fn gradients_find_their_factors() {
        let set = set();
        assert!(!set.is_tracked());
        let leaf = set.at("b.to_v")[0].last().clone().autodiff().require_grad();
        let mut deltas: Vec<_> = set.iter().map(|(p, d)| (p.to_owned(), d.clone())).collect();
        deltas[1].1.up = Some(leaf.clone());
        let set = LoraSet::new(deltas);
        assert!(set.is_tracked());
        let (numbers, layout) = set.pack();
        let unpacked = layout.unpack(numbers);
        let x = random([1, 2, 5], 7);
        let through = |set: &LoraSet| {
            let output = set.at("b.to_v")[0].forward(x.clone());
            leaf.grad(&output.square().sum().backward()).unwrap()
        };
        through(&unpacked).into_data().assert_eq(&through(&set).into_data(), true);
    }
}
