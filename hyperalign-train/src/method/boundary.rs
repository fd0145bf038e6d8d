//! The backward pass in two stages, cut where an update enters the frozen network.
//!
//! The gradients of single trajectories differ by a factor of a hundred, and the few long ones would
//! decide everything: each has to be limited before they are added up. In the first stage the loss
//! is differentiated by a copy of the update in which every sample has factors of its own, back
//! through the decoder, the reward and the frozen network, whose tape ends there. Then each sample's
//! gradient is known, and can be shortened. The second stage goes on into the trained network.
//! Where nothing is shortened the result is that of a single pass.

use burn::tensor::{Gradients, Tensor};
use hyperalign_core::lora::{LoraDelta, LoraSet};

/// What an update at the border has.
const TWO_FACTORS: &str = "HyperAlign trains low-rank updates alone";

/// An update at the border of the frozen network.
pub struct Boundary {
    joints: Vec<Joint>,
}

/// One layer's update.
struct Joint {
    path: String,
    /// As the trained network emits it, off the tape.
    plain: LoraDelta,
    /// On the tape of the trained network: outer and inner factor multiplied,
    /// `[rows, d_input, rank]` and `[rows, rank, d_output]`.
    whole: [Tensor<3>; 2],
    /// The same values as leaves of another tape.
    leaves: [Tensor<3>; 2],
}

/// The gradients of a mean over samples by each sample's own factors.
pub struct SampleGradients(Vec<[Tensor<3>; 2]>);

impl Boundary {
    /// Cuts the tape at `lora`, which is for `rows` samples or the same for all of them.
    ///
    /// # Panics
    ///
    /// Panics for an update of whole weights: each sample would have all of them.
    pub fn new(lora: &LoraSet, rows: usize) -> Self {
        let joints = lora.iter().map(|(path, delta)| {
            let LoraDelta { down_aux, down, up, up_aux, .. } = delta.clone();
            let down = match down_aux {
                Some(aux) => aux.unsqueeze().matmul(down),
                None => down,
            };
            let up = up.expect(TWO_FACTORS);
            let up = match up_aux {
                Some(aux) => up.matmul(aux.unsqueeze()),
                None => up,
            };
            let whole = [down, up].map(|factor| match factor.dims()[0] {
                1 => factor.repeat_dim(0, rows),
                _ => factor,
            });
            let leaves = whole.clone().map(|factor| factor.inner().autodiff().require_grad());
            Joint { path: path.to_owned(), plain: plain(delta), whole, leaves }
        });
        Self { joints: joints.collect() }
    }

    /// The update on the tape that ends here.
    pub fn lora(&self) -> LoraSet {
        LoraSet::new(self.joints.iter().map(|joint| {
            let [down, up] = joint.leaves.clone();
            let scale = joint.plain.scale;
            let up = Some(up);
            (joint.path.clone(), LoraDelta { down_aux: None, down, up, up_aux: None, scale })
        }))
    }

    /// What a backward pass gave for the update.
    pub fn gradients(&self, gradients: &mut Gradients) -> SampleGradients {
        let mut of = |leaf: &Tensor<3>| {
            let gradient = leaf.grad_remove(gradients);
            gradient.unwrap_or_else(|| leaf.clone().inner().zeros_like())
        };
        SampleGradients(
            self.joints.iter().map(|joint| joint.leaves.each_ref().map(&mut of)).collect(),
        )
    }

    /// The norm of each sample's gradient: by the factors that were emitted for it, and what it
    /// gives to the gradient of the outer factors that all samples share. `gradients` are of a mean,
    /// the norms those of the samples by themselves.
    pub fn norms(&self, SampleGradients(gradients): &SampleGradients) -> Vec<f64> {
        let squares = self.joints.iter().zip(gradients).map(|(joint, [down, up])| {
            let LoraDelta { down_aux, up_aux, .. } = &joint.plain;
            let inner_down = joint.plain.down.clone();
            let inner_up = joint.plain.up.clone().expect(TWO_FACTORS);
            let (down, up) = (down.clone(), up.clone());
            let of_down = match down_aux {
                // whole = aux inner, so d inner = aux^T d whole and d aux = d whole inner^T.
                Some(aux) => {
                    let emitted = aux.clone().transpose().unsqueeze().matmul(down.clone());
                    let gram = down.clone().transpose().matmul(down);
                    squares(emitted) + sum(gram * inner_down.clone().transpose().matmul(inner_down))
                }
                None => squares(down),
            };
            let of_up = match up_aux {
                Some(aux) => {
                    let emitted = up.clone().matmul(aux.clone().transpose().unsqueeze());
                    let gram = up.clone().matmul(up.transpose());
                    squares(emitted) + sum(gram * inner_up.clone().matmul(inner_up.transpose()))
                }
                None => squares(up),
            };
            of_down + of_up
        });
        let Some(total) = squares.reduce(|sum, one| sum + one) else { return Vec::new() };
        let total: Vec<f64> = total.into_data().iter::<f64>().collect();
        let rows = total.len() as f64;
        total.into_iter().map(|square| square.max(0.0).sqrt() * rows).collect()
    }

    /// A loss whose gradient is that of the first stage, with each sample's share times its factor.
    /// It has another value.
    pub fn pull_back(
        self,
        SampleGradients(gradients): SampleGradients,
        factors: &[f64],
    ) -> Tensor<1> {
        let terms = self.joints.into_iter().zip(gradients).flat_map(|(joint, gradients)| {
            joint.whole.into_iter().zip(gradients).map(|(whole, gradient)| {
                let factors: Vec<f32> = factors.iter().map(|&factor| factor as f32).collect();
                let factors = Tensor::<1>::from_data(&factors[..], &gradient.device());
                let factors = factors.cast(gradient.dtype()).reshape([-1, 1, 1]);
                (whole * (gradient * factors)).sum()
            })
        });
        terms.reduce(|sum, term| sum + term).expect("an update has layers")
    }
}

/// The same factors off the tape.
fn plain(delta: &LoraDelta) -> LoraDelta {
    let LoraDelta { down_aux, down, up, up_aux, scale } = delta.clone();
    LoraDelta {
        down_aux: down_aux.map(Tensor::inner),
        down: down.inner(),
        up: up.map(Tensor::inner),
        up_aux: up_aux.map(Tensor::inner),
        scale,
    }
}

/// The sum of each row, axis by axis, which has an order on every backend. Shape `[rows]`.
fn sum(x: Tensor<3>) -> Tensor<1> {
    x.sum_dim(2).sum_dim(1).reshape([-1])
}

fn squares(x: Tensor<3>) -> Tensor<1> {
    sum(x.square())
}
