//! Low-rank updates of linear layers, applied to activations.
//!
//! An update is a value that travels beside the input, never a change of a weight. A network
//! looks its updates up by the path of the adapted layer ([`LoraScope`]), so the order of the
//! layers is a matter of the adapter file alone.

mod packed;

use std::collections::BTreeMap;

use burn::{nn::Linear, tensor::Tensor};

pub use packed::LoraLayout;

use crate::{
    precision::{like, to},
    rows::select_rows,
};

/// One low-rank update for each sample of a batch,
/// `delta y = scale * (((x down_aux) down) up) up_aux`.
///
/// Without the auxiliary factors this is LoRA (Hu et al. 2021, arXiv:2106.09685); with them the
/// factorisation of HyperAlign (arXiv:2601.15968), in which a hypernetwork emits only the small
/// inner factors. Evaluated from left to right on the activations: no tensor of the shape of the
/// weight is ever formed.
#[derive(Debug, Clone)]
pub struct LoraDelta {
    /// Outer input factor shared by the batch, `[d_input, a]`.
    pub down_aux: Option<Tensor<2>>,
    /// `[batch, a or d_input, rank]`; a batch of 1 is shared by all samples.
    pub down: Tensor<3>,
    /// `[batch, rank, b or d_output]`; a batch of 1 is shared by all samples.
    pub up: Tensor<3>,
    /// Outer output factor shared by the batch, `[b, d_output]`.
    pub up_aux: Option<Tensor<2>>,
    /// `alpha / rank` (arXiv:2106.09685, section 4.1).
    pub scale: f64,
}

impl LoraDelta {
    /// The change of the layer's output for the input `x`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, d_input]`
    /// - output: `[batch, tokens, d_output]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        // A base may compute in half precision; what is trained keeps its own.
        let dtype = x.dtype();
        let x = like(x, &self.down);
        let x = match &self.down_aux {
            Some(aux) => x.matmul(aux.clone().unsqueeze()),
            None => x,
        };
        let inner = x.matmul(self.down.clone()).matmul(self.up.clone());
        let outer = match &self.up_aux {
            Some(aux) => inner.matmul(aux.clone().unsqueeze()),
            None => inner,
        };
        to(outer.mul_scalar(self.scale), dtype)
    }

    fn map_rows(&self, f: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        Self { down: f(self.down.clone()), up: f(self.up.clone()), ..self.clone() }
    }
}

/// The updates of all adapted layers of a network, by the layer's path.
#[derive(Debug, Clone, Default)]
pub struct LoraSet {
    deltas: BTreeMap<String, LoraDelta>,
}

impl LoraSet {
    /// Collects updates under the paths of their layers, such as
    /// `mid_block.attentions.0.transformer_blocks.0.attn1.to_q`.
    pub fn new(deltas: impl IntoIterator<Item = (String, LoraDelta)>) -> Self {
        Self { deltas: deltas.into_iter().collect() }
    }

    /// The update of the layer at `path`.
    pub fn get(&self, path: &str) -> Option<&LoraDelta> {
        self.deltas.get(path)
    }

    /// Updates in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LoraDelta)> {
        self.deltas.iter().map(|(path, delta)| (path.as_str(), delta))
    }

    /// Number of adapted layers.
    pub fn len(&self) -> usize {
        self.deltas.len()
    }

    /// Whether no layer is adapted.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// The updates for a batch in which every row of the present one comes `times` times, the
    /// whole batch after itself (as classifier-free guidance lays its rows out). A shared row
    /// stays shared.
    pub fn repeat(&self, times: usize) -> Self {
        self.map_rows(|factor| factor.repeat_dim(0, times))
    }

    /// The updates of rows `range`. A shared row stays shared.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        self.map_rows(|factor| factor.slice(range.clone()))
    }

    /// The updates of these rows, in this order; a row may come more than once. A shared row
    /// stays shared.
    pub fn select(&self, rows: &[usize]) -> Self {
        self.map_rows(|factor| select_rows(factor, rows))
    }

    /// The updates of several batches as those of one: each with the rows of its batch. What a
    /// batch shares is written out for its rows.
    pub fn join(parts: &[(&Self, usize)]) -> Self {
        let Some((first, _)) = parts.first() else { return Self::default() };
        let joined = |path: &str, of: fn(&LoraDelta) -> &Tensor<3>| {
            let rows = parts.iter().filter_map(|(set, rows)| {
                let factor = of(set.get(path)?).clone();
                Some(if factor.dims()[0] == 1 { factor.repeat_dim(0, *rows) } else { factor })
            });
            Tensor::cat(rows.collect(), 0)
        };
        let deltas = first.deltas.iter().map(|(path, delta)| {
            let (down, up) = (joined(path, |delta| &delta.down), joined(path, |delta| &delta.up));
            (path.clone(), LoraDelta { down, up, ..delta.clone() })
        });
        Self { deltas: deltas.collect() }
    }

    /// The same values, cut off from any autodiff graph.
    pub fn detach(&self) -> Self {
        let deltas = self.deltas.iter().map(|(path, delta)| {
            let delta = LoraDelta {
                down_aux: delta.down_aux.clone().map(Tensor::detach),
                down: delta.down.clone().detach(),
                up: delta.up.clone().detach(),
                up_aux: delta.up_aux.clone().map(Tensor::detach),
                scale: delta.scale,
            };
            (path.clone(), delta)
        });
        Self { deltas: deltas.collect() }
    }

    /// `f` of every factor but those of a row that the batch shares.
    fn map_rows(&self, f: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        let f = |factor: Tensor<3>| if factor.dims()[0] == 1 { factor } else { f(factor) };
        let deltas = self.deltas.iter().map(|(path, delta)| (path.clone(), delta.map_rows(f)));
        Self { deltas: deltas.collect() }
    }
}

/// A linear layer that a low-rank update adapts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct LoraTarget {
    /// The path of the layer in its network.
    pub path: String,
    /// Features of the layer's input.
    pub d_input: usize,
    /// Features of the layer's output.
    pub d_output: usize,
}

/// A [`LoraSet`] seen from inside a network: the updates below one module's path.
#[derive(Debug, Clone)]
pub struct LoraScope<'a> {
    set: Option<&'a LoraSet>,
    path: String,
}

impl<'a> LoraScope<'a> {
    /// The scope of the whole network.
    pub fn root(set: Option<&'a LoraSet>) -> Self {
        Self { set, path: String::new() }
    }

    /// The scope of the child module `name`, such as `attn1` or `attentions.0`.
    pub fn child(&self, name: &str) -> Self {
        if self.set.is_none() {
            return self.clone();
        }
        Self { set: self.set, path: join(&self.path, name) }
    }

    /// The updates of the layers below this module, by their paths from here.
    pub fn below(&self) -> LoraSet {
        let prefix = join(&self.path, "");
        let all = self.set.into_iter().flat_map(LoraSet::iter);
        LoraSet::new(all.filter_map(|(path, delta)| {
            path.strip_prefix(&prefix).map(|path| (path.to_owned(), delta.clone()))
        }))
    }

    /// The update of the layer `name` of this module, if it is adapted.
    pub fn get(&self, name: &str) -> Option<&'a LoraDelta> {
        self.set?.get(&join(&self.path, name))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Applies `linear`, shifted by `delta` where there is one.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, d_input]`
/// - output: `[batch, tokens, d_output]`
pub fn linear_with_lora(linear: &Linear, x: Tensor<3>, delta: Option<&LoraDelta>) -> Tensor<3> {
    match delta {
        Some(delta) => linear.forward(x.clone()) + delta.forward(x),
        None => linear.forward(x),
    }
}
