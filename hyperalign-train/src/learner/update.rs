//! The gradient of one update: shards on threads, means, clipping.

use burn::module::Module;
use burn::optim::GradientsParams;

use super::journal::PartRow;
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

/// One part of one shard after its backward pass.
struct Share {
    name: &'static str,
    weight: f64,
    loss: f64,
    gradients: GradientsParams,
}

/// The parts and the metrics of one shard.
type ShardResult = (Vec<Share>, Vec<(String, f64)>);

/// The clipped gradient of update `update`, counted from 0.
///
/// Shards are summed in the order of their indices, whichever thread is first.
pub(crate) fn gradient<O: Objective>(
    objective: &O,
    module: &O::Module,
    update: u64,
    settings: &Settings,
) -> Result<Gradient, NonFinite> {
    let count = settings.shards * settings.accumulate;
    let mut sum: Vec<Share> = Vec::new();
    let mut metrics: Vec<(String, f64)> = Vec::new();
    for micro in 0..settings.accumulate {
        let first = micro * settings.shards;
        let shards = (first..first + settings.shards).map(|index| Shard { index, count });
        for (shares, values) in run(objective, module, update, shards.collect()) {
            add_shares(module, &mut sum, shares);
            add_metrics(&mut metrics, values);
        }
    }
    let scale = 1.0 / count as f64;
    metrics.iter_mut().for_each(|(_, value)| *value *= scale);
    combine(module, update, sum, scale, settings.clip, metrics)
}

/// Losses and backward passes of some shards, each on a thread of its own.
fn run<O: Objective>(
    objective: &O,
    module: &O::Module,
    update: u64,
    shards: Vec<Shard>,
) -> Vec<ShardResult> {
    if let [shard] = shards[..] {
        return vec![one(objective, module, update, shard)];
    }
    let count = shards.len();
    std::thread::scope(|scope| {
        let threads: Vec<_> = shards
            .into_iter()
            .map(|shard| {
                // A fork has leaves of its own: on shared leaves the backward passes of all
                // threads would be one graph, and run one after the other.
                let fork = match module.devices().first() {
                    Some(device) => module.clone().fork(device),
                    None => module.clone(),
                };
                scope.spawn(move || {
                    let work = move || one(objective, &fork, update, shard);
                    match pool(count) {
                        Some(pool) => pool.install(work),
                        None => work(),
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(share) => share,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// A pool of its own for one of `count` threads: its share of the processors. In the pool that
/// the whole process shares, every small matrix product would wait for threads that are busy
/// with another shard; half of the time went there. `None` where the system gives no threads.
fn pool(count: usize) -> Option<rayon::ThreadPool> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads((processors / count).max(1)).build().ok()
}

fn one<O: Objective>(objective: &O, module: &O::Module, update: u64, shard: Shard) -> ShardResult {
    let losses = objective.losses(module, update, shard);
    let shares = losses.parts.into_iter().map(|Part { name, weight, loss, clip }| {
        let gradients = GradientsParams::from_grads(loss.backward(), module);
        let gradients = match clip {
            Some(limit) => {
                let norm = gradients::norm(module, &gradients);
                gradients::clip(module, gradients, norm, limit)
            }
            None => gradients,
        };
        Share { name, weight, loss: loss.into_scalar::<f64>(), gradients }
    });
    (shares.collect(), losses.metrics)
}

fn add_shares<M: Module>(module: &M, sum: &mut Vec<Share>, shares: Vec<Share>) {
    if sum.is_empty() {
        *sum = shares;
        return;
    }
    let key = |shares: &[Share]| -> Vec<_> { shares.iter().map(|s| (s.name, s.weight)).collect() };
    assert_eq!(key(sum), key(&shares), "all shards must return the same parts and weights");
    for (sum, share) in sum.iter_mut().zip(shares) {
        sum.loss += share.loss;
        gradients::add(module, &mut sum.gradients, share.gradients, 1.0);
    }
}

fn add_metrics(sum: &mut Vec<(String, f64)>, values: Vec<(String, f64)>) {
    if sum.is_empty() {
        *sum = values;
        return;
    }
    let key = |v: &[(String, f64)]| -> Vec<_> { v.iter().map(|(name, _)| name.clone()).collect() };
    assert_eq!(key(sum), key(&values), "all shards must return the same metrics");
    sum.iter_mut().zip(values).for_each(|((_, sum), (_, value))| *sum += value);
}

/// The weighted sum over parts, checked and clipped.
fn combine<M: Module>(
    module: &M,
    update: u64,
    sum: Vec<Share>,
    scale: f64,
    limit: Option<f64>,
    metrics: Vec<(String, f64)>,
) -> Result<Gradient, NonFinite> {
    let finite = |part: &str, quantity, value: f64| {
        if value.is_finite() {
            Ok(value)
        } else {
            Err(NonFinite { update: update + 1, part: part.to_owned(), quantity, value })
        }
    };
    let mut parts = Vec::new();
    let mut total = GradientsParams::new();
    for Share { name, weight, loss, gradients } in sum {
        let factor = weight * scale;
        let norm = gradients::norm(module, &gradients) * factor.abs();
        parts.push(PartRow {
            name: name.to_owned(),
            loss: finite(name, "loss", loss * scale)?,
            weight,
            gradient_norm: finite(name, "gradient norm", norm)?,
        });
        gradients::add(module, &mut total, gradients, factor);
    }
    let norm = finite("total", "gradient norm", gradients::norm(module, &total))?;
    let gradients = match limit {
        Some(limit) => gradients::clip(module, total, norm, limit),
        None => total,
    };
    Ok(Gradient { parts, norm, gradients, metrics })
}
