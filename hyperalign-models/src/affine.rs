//! Stacks of linear layers with nothing in between, which are one affine map.
//!
//! The heads of ImageReward and of LAION's aesthetic predictor are published as such stacks: the
//! dropout between their layers does nothing after training.

use burn::tensor::{Tensor, TensorData};

use crate::weights::{Key, KeyMismatch, LoadError, Tensors, sha256};

/// Widths of the published stacks, behind their input.
const WIDTHS: [usize; 5] = [1024, 128, 64, 16, 1];
/// Where the linear layers stand among the others.
const PLACES: [usize; 5] = [0, 2, 4, 6, 7];

/// `x w + b` with one number as the result.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineHead {
    weight: Vec<f64>,
    bias: f64,
}

impl AffineHead {
    /// The product of the layers that `tensors` hold: `layers.0`, `layers.2`, ... as in the
    /// published stacks, or a single layer without a name. Folded in `f64`.
    ///
    /// # Errors
    ///
    /// Fails if a tensor is missing, left over, or does not fit the one before it, and if the
    /// last layer has more than one output.
    pub fn from_tensors(tensors: &Tensors) -> Result<Self, LoadError> {
        let single = tensors.contains("weight");
        let names: Vec<String> = match single {
            true => vec![String::new()],
            false => PLACES.iter().map(|place| format!("layers.{place}.")).collect(),
        };
        let mut mismatch = KeyMismatch::default();
        let expected: Vec<String> = names
            .iter()
            .flat_map(|name| ["weight", "bias"].map(|part| format!("{name}{part}")))
            .collect();
        mismatch.missing.extend(
            expected.iter().filter(|key| !tensors.contains(key)).map(|key| (key.clone(), None)),
        );
        mismatch.unused.extend(
            tensors
                .iter()
                .filter(|(key, _)| !expected.iter().any(|name| name == key))
                .map(|(key, _)| (key.to_owned(), None)),
        );
        // From the end: the row that the output is of each layer's input.
        let (mut row, mut bias) = (vec![1.0], 0.0);
        for name in names.iter().rev().filter(|_| mismatch.is_empty()) {
            let (weight_key, bias_key) = (format!("{name}weight"), format!("{name}bias"));
            let shape = tensors.shape(&weight_key).unwrap_or_default();
            let &[outputs, inputs] = shape else {
                mismatch.shapes.push((weight_key, vec![row.len(), 0], shape.to_vec()));
                break;
            };
            let given = tensors.shape(&bias_key).unwrap_or_default();
            if outputs != row.len() || given != [outputs] {
                mismatch.shapes.push((weight_key, vec![row.len(), inputs], shape.to_vec()));
                break;
            }
            let (weights, biases) = (tensors.f32(&weight_key)?, tensors.f32(&bias_key)?);
            bias += row.iter().zip(&biases).map(|(r, b)| r * f64::from(*b)).sum::<f64>();
            let mut next = vec![0.0; inputs];
            for (r, weights) in row.iter().zip(weights.chunks_exact(inputs.max(1))) {
                for (sum, weight) in next.iter_mut().zip(weights) {
                    *sum += r * f64::from(*weight);
                }
            }
            row = next;
        }
        if mismatch.is_empty() {
            return Ok(Self { weight: row, bias });
        }
        Err(LoadError::Keys { file: tensors.name().to_owned(), mismatch })
    }

    /// The keys of a published stack over `inputs` numbers.
    pub fn keys(inputs: usize) -> Vec<Key> {
        let before = std::iter::once(inputs).chain(WIDTHS);
        PLACES
            .into_iter()
            .zip(WIDTHS.into_iter().zip(before))
            .flat_map(|(place, (outputs, inputs))| {
                [("weight", vec![outputs, inputs]), ("bias", vec![outputs])]
                    .map(|(part, shape)| Key { name: format!("layers.{place}.{part}"), shape })
            })
            .collect()
    }

    /// A map with these numbers.
    pub fn new(weight: Vec<f64>, bias: f64) -> Self {
        Self { weight, bias }
    }

    /// SHA-256 of its numbers as 64 hexadecimal digits.
    pub fn hash(&self) -> String {
        let numbers = self.weight.iter().chain([&self.bias]);
        let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
        sha256(bytes)
    }

    /// How many numbers it takes.
    pub fn inputs(&self) -> usize {
        self.weight.len()
    }

    /// Applies the map.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, inputs]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// Panics if `x` has another width.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<1> {
        let [_, width] = x.dims();
        assert_eq!(width, self.weight.len(), "width of the features");
        let data = TensorData::new(self.weight.clone(), [1, width]);
        let device = if x.is_autodiff() { x.device().inner() } else { x.device() };
        let weight = Tensor::<2>::from_data(data, (&device, x.dtype()));
        (x * weight).sum_dim(1).squeeze_dim::<1>(1) + self.bias
    }
}
