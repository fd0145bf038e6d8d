//! The gradient of one update: shards on threads, means, clipping.

use burn::module::Module;
use burn::optim::GradientsParams;

use super::journal::PartRow;
use super::objective::{Emit, Metric, Names};
use super::parallel::{self, pooled};
use super::reduce::{self, Sum};
use super::{Objective, Part, Settings, Shard, gradients};

/// A value that ends a run, because no update after it would mean anything.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "update {update}: the {quantity} of `{part}` is {value}; the run has stopped, and the \
     weights before this update are kept in the last checkpoint; try a smaller learning rate, \
     or a tighter clip"
)]
pub struct NonFinite {
    /// The update, counted from 1.
    pub update: u64,
    /// The part of the loss, or `total` or `weights`.
    pub part: String,
    /// `loss`, `gradient norm` or `norm`.
    pub quantity: &'static str,
    /// What it is.
    pub value: f64,
}

impl NonFinite {
    /// The weights after update `update`, counted from 0, have the norm `value`.
    pub(crate) fn weights(update: u64, value: f64) -> Self {
        Self { update: update + 1, part: "weights".to_owned(), quantity: "norm", value }
    }
}

/// What one update's forward and backward passes give.
pub(crate) struct Gradient {
    pub(crate) parts: Vec<PartRow>,
    /// The global norm before clipping.
    pub(crate) norm: f64,
    pub(crate) gradients: GradientsParams,
    pub(crate) metrics: Vec<(String, f64)>,
}

/// One part of one shard after its backward pass, or the sum over shards.
struct Share {
    name: &'static str,
    weight: f64,
    loss: Sum,
    gradients: GradientsParams,
}

/// The clipped gradient of update `update`, counted from 0, on a prepared `batch`.
///
/// Shards are summed in the order of their indices, whichever thread is first.
pub(crate) fn gradient<O: Objective>(
    objective: &O,
    module: &O::Module,
    batch: &O::Batch,
    update: u64,
    settings: &Settings,
) -> Result<Gradient, NonFinite> {
    let names = objective.names();
    let count = settings.shards * settings.accumulate;
    let mut sum = Collector::new(module, &names);
    for micro in 0..settings.accumulate {
        let of_thread = |thread: usize, module: &O::Module| {
            let shard = Shard { index: micro * settings.shards + thread, count };
            let mut collector = Collector::new(module, &names);
            objective.losses(module, batch, update, shard, &mut collector);
            (collector.shares, collector.metrics)
        };
        for (shares, metrics) in on_threads(module, settings.shards, of_thread) {
            sum.take(shares);
            metrics.into_iter().for_each(|metric| sum.metric(metric));
        }
    }
    let Collector { shares, metrics, .. } = sum;
    combine(module, update, shares, 1.0 / count as f64, settings.clip, metrics)
}

/// `work` for each of `count` threads, with a fork of the module and a pool of its own.
fn on_threads<M: Module, T: Send>(
    module: &M,
    count: usize,
    work: impl Fn(usize, &M) -> T + Sync,
) -> Vec<T> {
    if count == 1 {
        return vec![work(0, module)];
    }
    let works = (0..count).map(|thread| {
        // A fork has leaves of its own: on shared leaves the backward passes of all threads would
        // be one graph, and run one after the other.
        let fork = match module.devices().first() {
            Some(device) => module.clone().fork(device),
            None => module.clone(),
        };
        let work = &work;
        pooled(count, move || work(thread, &fork))
    });
    parallel::all(works.collect())
}

/// What one shard emits: gradients are taken as parts come in.
struct Collector<'a, M> {
    module: &'a M,
    names: &'a Names,
    shares: Vec<Share>,
    metrics: Vec<Metric>,
}

impl<M: Module> Emit for Collector<'_, M> {
    fn part(&mut self, Part { name, weight, loss, clip }: Part) {
        assert!(self.names.parts.contains(&name), "`{name}` is no declared part of the loss");
        let gradients = GradientsParams::from_grads(loss.backward(), self.module);
        let gradients = match clip {
            Some(limit) => {
                let norm = Sum::of_gradients(self.module, &gradients).value().sqrt();
                gradients::clip(self.module, gradients, norm, limit)
            }
            None => gradients,
        };
        let mut value = Sum::default();
        value.add(loss);
        self.shares.push(Share { name, weight, loss: value, gradients });
    }

    fn metric(&mut self, metric: Metric) {
        let Metric { name, sum, count } = metric;
        assert!(self.names.metrics.contains(&name), "`{name}` is no declared metric");
        match self.metrics.iter_mut().find(|known| known.name == name) {
            Some(known) => (known.sum, known.count) = (known.sum + sum, known.count + count),
            None => self.metrics.push(metric),
        }
    }
}

impl<'a, M: Module> Collector<'a, M> {
    fn new(module: &'a M, names: &'a Names) -> Self {
        Self { module, names, shares: Vec::new(), metrics: Vec::new() }
    }

    /// Adds the shares of another shard.
    fn take(&mut self, shares: Vec<Share>) {
        if self.shares.is_empty() {
            self.shares = shares;
            return;
        }
        let key =
            |shares: &[Share]| -> Vec<_> { shares.iter().map(|s| (s.name, s.weight)).collect() };
        let (known, new) = (key(&self.shares), key(&shares));
        assert_eq!(known, new, "all shards must emit the same parts and weights");
        for (sum, share) in self.shares.iter_mut().zip(shares) {
            sum.loss.append(share.loss);
            gradients::add(self.module, &mut sum.gradients, share.gradients, 1.0);
        }
    }
}

/// The weighted sum over parts, checked and clipped.
fn combine<M: Module>(
    module: &M,
    update: u64,
    shares: Vec<Share>,
    scale: f64,
    limit: Option<f64>,
    metrics: Vec<Metric>,
) -> Result<Gradient, NonFinite> {
    let finite = |part: &str, quantity, value: f64| {
        if value.is_finite() {
            Ok(value)
        } else {
            Err(NonFinite { update: update + 1, part: part.to_owned(), quantity, value })
        }
    };
    let (mut terms, mut sums) = (Vec::new(), Vec::new());
    for Share { name, weight, loss, gradients } in shares {
        sums.extend([loss, Sum::of_gradients(module, &gradients)]);
        terms.push((name, weight, gradients));
    }
    let values = reduce::read(sums);
    let mut parts = Vec::new();
    let mut total = GradientsParams::new();
    for ((name, weight, gradients), values) in terms.into_iter().zip(values.chunks(2)) {
        let factor = weight * scale;
        let norm = values[1].sqrt() * factor.abs();
        parts.push(PartRow {
            name: name.to_owned(),
            loss: finite(name, "loss", values[0] * scale)?,
            weight,
            gradient_norm: finite(name, "gradient norm", norm)?,
        });
        gradients::add(module, &mut total, gradients, factor);
    }
    let norm = Sum::of_gradients(module, &total).value().sqrt();
    let norm = finite("total", "gradient norm", norm)?;
    let gradients = match limit {
        Some(limit) => gradients::clip(module, total, norm, limit),
        None => total,
    };
    let mean = |metric: Metric| (metric.name.to_owned(), metric.sum / metric.count as f64);
    let metrics = metrics.into_iter().filter(|metric| metric.count > 0).map(mean).collect();
    Ok(Gradient { parts, norm, gradients, metrics })
}
