//! The gradient of one update: shards on threads, means, clipping.

use burn::module::Module;
use burn::optim::GradientsParams;

use super::journal::PartRow;
use super::objective::{Emit, Metric, Names};
use super::parallel::{self, pooled};
use super::reduce::{self, Sum};
use super::{Objective, Part, Settings, Shard, WeighedPart, gradients};

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
    /// The global norm after it.
    pub(crate) clipped: f64,
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
/// Shards are summed in the order of their indices, whichever thread is first. `mean_norm` is the
/// running mean of the norms of earlier updates.
pub(crate) fn gradient<O: Objective>(
    objective: &O,
    module: &O::Module,
    batch: &O::Batch,
    update: u64,
    settings: &Settings,
    mean_norm: Option<f64>,
) -> Result<Gradient, NonFinite> {
    let names = objective.names();
    let count = settings.shards * settings.accumulate;
    let is_halved = settings.agreement_every.is_some_and(|every| update.is_multiple_of(every));
    let mut half = None;
    let mut sum = Collector::new(module, &names);
    for micro in 0..settings.accumulate {
        let of_thread = |thread: usize, module: &O::Module| {
            let shard = Shard { index: micro * settings.shards + thread, count };
            let mut collector = Collector::new(module, &names);
            objective.losses(module, batch, update, shard, &mut collector);
            (collector.shares, collector.metrics)
        };
        for (thread, (shares, metrics)) in
            on_threads(module, settings.shards, of_thread).into_iter().enumerate()
        {
            sum.take(shares);
            metrics.into_iter().for_each(|metric| sum.metric(metric));
            if is_halved && 2 * (micro * settings.shards + thread + 1) == count {
                half = Some(sum.gradients());
            }
        }
    }
    let Collector { shares, metrics, .. } = sum;
    let mean = |metric: Metric| (metric.name.to_owned(), metric.sum / metric.count as f64);
    let mut metrics: Vec<(String, f64)> =
        metrics.into_iter().filter(|metric| metric.count > 0).map(mean).collect();
    for (share, half) in shares.iter().zip(half.into_iter().flatten()) {
        let cosine = gradients::cosine_of_halves(module, half, &share.gradients);
        metrics.push((agreement(share.name), cosine));
    }
    let weigh = |parts: &mut [WeighedPart]| objective.weigh(update, parts);
    let (parts, total) = combine(module, update, shares, 1.0 / count as f64, weigh)?;
    let norm = Sum::of_gradients(module, &total).value().sqrt();
    let norm = finite(update, "total", "gradient norm", norm)?;
    let relative = settings.clip_to_mean.zip(mean_norm).map(|(factor, mean)| factor * mean);
    let limit = [settings.clip, relative].into_iter().flatten().reduce(f64::min);
    let gradients = match limit {
        Some(limit) => gradients::clip(module, total, norm, limit),
        None => total,
    };
    let clipped = limit.map_or(norm, |limit| norm.min(limit));
    Ok(Gradient { parts, norm, clipped, gradients, metrics })
}

/// What the log calls the cosine between the gradients of a part by the two halves of a batch.
pub(crate) fn agreement(part: &str) -> String {
    format!("{part}_agreement")
}

fn finite(update: u64, part: &str, quantity: &'static str, value: f64) -> Result<f64, NonFinite> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(NonFinite { update: update + 1, part: part.to_owned(), quantity, value })
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
    fn part(&mut self, Part { name, weight, loss, value }: Part) {
        assert!(self.names.parts.contains(&name), "`{name}` is no declared part of the loss");
        let gradients = GradientsParams::from_grads(loss.backward(), self.module);
        let mut shown = Sum::default();
        shown.add(value.unwrap_or(loss));
        match self.shares.iter_mut().find(|share| share.name == name) {
            Some(share) => {
                assert_eq!(share.weight, weight, "the pieces of `{name}` have one weight");
                share.loss.append(shown);
                gradients::add(self.module, &mut share.gradients, gradients, 1.0);
            }
            None => self.shares.push(Share { name, weight, loss: shown, gradients }),
        }
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

    /// The gradients as they are, which later shards do not change.
    fn gradients(&self) -> Vec<GradientsParams> {
        let copy = |share: &Share| gradients::copy(self.module, &share.gradients);
        self.shares.iter().map(copy).collect()
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

/// The parts, checked, and their weighted sum.
fn combine<M: Module>(
    module: &M,
    update: u64,
    shares: Vec<Share>,
    scale: f64,
    weigh: impl Fn(&mut [WeighedPart]),
) -> Result<(Vec<PartRow>, GradientsParams), NonFinite> {
    let (mut weighed, mut gradients, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    for share in shares {
        sums.extend([share.loss, Sum::of_gradients(module, &share.gradients)]);
        let Share { name, weight, .. } = share;
        weighed.push(WeighedPart { name, gradient_norm: 0.0, weight });
        gradients.push(share.gradients);
    }
    let values = reduce::read(sums);
    let mut losses = Vec::new();
    for (part, values) in weighed.iter_mut().zip(values.chunks(2)) {
        losses.push(finite(update, part.name, "loss", values[0] * scale)?);
        let norm = values[1].sqrt() * scale;
        part.gradient_norm = finite(update, part.name, "gradient norm", norm)?;
    }
    weigh(&mut weighed);
    let mut total = GradientsParams::new();
    let mut parts = Vec::new();
    for ((part, loss), gradients) in weighed.into_iter().zip(losses).zip(gradients) {
        let WeighedPart { name, gradient_norm, weight } = part;
        let gradient_norm = gradient_norm * weight.abs();
        parts.push(PartRow { name: name.to_owned(), loss, weight, gradient_norm });
        gradients::add(module, &mut total, gradients, weight * scale);
    }
    Ok((parts, total))
}
