//! Properties of the engine on a minute objective: a line fitted to data that are a pure function
//! of (update, sample).

mod kill;
mod resume;
mod stop;
mod update;

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use hyperalign_core::testing;

use super::*;

/// Weights of a line, `y = x w + b`.
#[derive(Module, Debug)]
struct Line {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

const WIDTH: usize = 5;
const BATCH: usize = 8;
/// Factor of the sum of squared weights in the loss.
const SHRINK: f64 = 0.3;

impl Line {
    fn new() -> Self {
        let device = testing::device().autodiff();
        let values: Vec<f32> = start()[..WIDTH].iter().map(|&v| v as f32).collect();
        Self {
            weight: Param::from_data(TensorData::new(values, [WIDTH, 1]), &device),
            bias: Param::from_data(TensorData::new(vec![start()[WIDTH] as f32], [1]), &device),
        }
    }

    /// The weights, then the bias.
    fn values(&self) -> Vec<f32> {
        let mut values = self.weight.val().into_data().try_to_vec::<f32>().unwrap();
        values.extend(self.bias.val().into_data().try_to_vec::<f32>().unwrap());
        values
    }
}

/// Initial weights and bias.
fn start() -> Vec<f64> {
    let mut values: Vec<f64> = (0..WIDTH).map(|i| 0.3 * i as f64 - 0.5).collect();
    values.push(0.2);
    values
}

/// Row `sample` of the data of update `update`: inputs and target.
fn row(update: u64, sample: usize) -> (Vec<f64>, f64) {
    let phase = (update as usize * BATCH + sample) as f64;
    let x: Vec<f64> = (0..WIDTH).map(|i| (phase * (i + 1) as f64 * 0.7).sin()).collect();
    let y = x.iter().sum::<f64>() - 0.4;
    (x, y)
}

/// A hook that is called with the update before its losses; it may return a factor of the loss.
type Hook = Box<dyn Fn(u64) -> f64 + Send + Sync>;

/// The regression, in two parts.
struct Regression(Hook);

impl Regression {
    fn plain() -> Arc<Self> {
        Arc::new(Self(Box::new(|_| 1.0)))
    }

    fn hooked(hook: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(hook)))
    }
}

impl Objective for Regression {
    type Module = Line;

    fn losses(&self, module: &Line, update: u64, shard: Shard) -> Losses {
        let factor = (self.0)(update);
        let device = testing::device();
        let samples = shard.samples(BATCH);
        let rows = samples.len();
        let (x, y): (Vec<_>, Vec<_>) = samples.map(|sample| row(update, sample)).unzip();
        let x: Vec<f32> = x.into_iter().flatten().map(|v| v as f32).collect();
        let y: Vec<f32> = y.into_iter().map(|v| v as f32).collect();
        let x = Tensor::<2>::from_data(TensorData::new(x, [rows, WIDTH]), &device);
        let y = Tensor::<2>::from_data(TensorData::new(y, [rows, 1]), &device);
        let error = x.matmul(module.weight.val()) + module.bias.val().unsqueeze() - y;
        let fit = error.powi_scalar(2).mean() * factor;
        let shrink = module.weight.val().powi_scalar(2).sum();
        Losses {
            parts: vec![Part::new("fit", 1.0, fit), Part::new("shrink", SHRINK, shrink)],
            metrics: vec![("first sample".to_owned(), shard.samples(BATCH).start as f64)],
        }
    }
}

/// Settings that exercise everything.
fn settings() -> Settings {
    Settings {
        updates: 12,
        optimizer: AdamW { lr: 0.05, ..AdamW::default() },
        schedule: Schedule::Cosine { warmup: 3, floor: 0.1 },
        clip: Some(0.5),
        ema: Some(0.9),
        checkpoint_every: 5,
        log_every: 4,
        ..Settings::default()
    }
}

fn train(settings: &Settings, run: &Run) -> Result<Outcome<Line>, FitError> {
    fit(Regression::plain(), Line::new(), settings, run)
}

/// A run in a folder that is gone afterwards.
fn train_once(settings: &Settings) -> Outcome<Line> {
    let dir = tempfile::tempdir().unwrap();
    train(settings, &Run::new(dir.path(), "")).unwrap()
}

fn journal(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn updates(dir: &Path) -> Vec<u64> {
    journal(dir).iter().map(|row| row["update"].as_u64().unwrap()).collect()
}

#[track_caller]
fn assert_near(left: &[f32], right: &[f64], tolerance: f64) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        let error = (f64::from(*left) - right).abs();
        assert!(error <= tolerance, "{left} is not {right} to {tolerance}");
    }
}
