//! The updates of a network.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::LoraDelta;
use crate::rows::select_rows;

/// The updates of all adapted layers of a network, by the layer's path.
#[derive(Debug, Clone, Default)]
pub struct LoraSet {
    deltas: BTreeMap<String, Vec<LoraDelta>>,
}

impl LoraSet {
    /// Collects updates under the paths of their layers, such as
    /// `mid_block.attentions.0.transformer_blocks.0.attn1.to_q`. Those of one path add up.
    pub fn new(deltas: impl IntoIterator<Item = (String, LoraDelta)>) -> Self {
        let mut set = Self::default();
        for (path, delta) in deltas {
            set.deltas.entry(path).or_default().push(delta);
        }
        set
    }

    /// The updates of the layer at `path`, which add up; none where it is not adapted.
    pub fn at(&self, path: &str) -> &[LoraDelta] {
        self.deltas.get(path).map_or(&[], Vec::as_slice)
    }

    /// Updates in the order of their paths; a path comes once for each of its updates.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LoraDelta)> {
        self.deltas
            .iter()
            .flat_map(|(path, deltas)| deltas.iter().map(|delta| (path.as_str(), delta)))
    }

    /// These updates and those of `other`, which add up where a layer has both. The order makes no
    /// difference but for the rounding of sums of more than two.
    #[must_use]
    pub fn stacked(&self, other: &Self) -> Self {
        let all = self.iter().chain(other.iter());
        Self::new(all.map(|(path, delta)| (path.to_owned(), delta.clone())))
    }

    /// These updates, `factor` times.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self::new(self.iter().map(|(path, delta)| {
            let scale = delta.scale * factor;
            (path.to_owned(), LoraDelta { scale, ..delta.clone() })
        }))
    }

    /// The updates of the layers whose paths begin with `prefix`, by what comes after it.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Self {
        Self::new(self.iter().filter_map(|(path, delta)| {
            path.strip_prefix(prefix).map(|path| (path.to_owned(), delta.clone()))
        }))
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
    ///
    /// # Panics
    ///
    /// Panics if one of them has no update of a layer that the first has one of.
    pub fn join(parts: &[(&Self, usize)]) -> Self {
        let Some((first, _)) = parts.first() else { return Self::default() };
        let joined = |path: &str, k: usize, of: fn(&LoraDelta) -> &Tensor<3>| {
            let rows = parts.iter().map(|(set, rows)| {
                let factor = of(&set.at(path)[k]).clone();
                if factor.dims()[0] == 1 { factor.repeat_dim(0, *rows) } else { factor }
            });
            Tensor::cat(rows.collect(), 0)
        };
        let deltas = first.deltas.iter().map(|(path, deltas)| {
            let of_path = deltas.iter().enumerate().map(|(k, delta)| {
                let down = joined(path, k, |delta| &delta.down);
                let up = delta.up.is_some().then(|| joined(path, k, LoraDelta::last));
                LoraDelta { down, up, ..delta.clone() }
            });
            (path.clone(), of_path.collect())
        });
        Self { deltas: deltas.collect() }
    }

    /// The same values, cut off from any autodiff graph.
    pub fn detach(&self) -> Self {
        self.map(LoraDelta::detach)
    }

    fn map(&self, f: impl Fn(&LoraDelta) -> LoraDelta) -> Self {
        let of_path = |deltas: &Vec<LoraDelta>| deltas.iter().map(&f).collect();
        let deltas = self.deltas.iter().map(|(path, deltas)| (path.clone(), of_path(deltas)));
        Self { deltas: deltas.collect() }
    }

    /// `f` of every factor but those of a row that the batch shares.
    fn map_rows(&self, f: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        let f = |factor: Tensor<3>| if factor.dims()[0] == 1 { factor } else { f(factor) };
        self.map(|delta| delta.map_rows(f))
    }
}

/// A linear layer that a trained update adapts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct LoraTarget {
    /// The path of the layer in its network.
    pub path: String,
    /// Features of the layer's input.
    pub d_input: usize,
    /// Features of the layer's output.
    pub d_output: usize,
}
