//! Properties of the engine on minute objectives.

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::*;

/// Weights of a line, `y = x w + b`.
#[derive(Module, Debug)]
struct Line {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

const WIDTH: usize = 5;

impl Line {
    fn new() -> Self {
        let device = Device::flex().autodiff();
        let values: Vec<f32> = (0..WIDTH).map(|i| 0.3 * i as f32 - 0.5).collect();
        Self {
            weight: Param::from_data(TensorData::new(values, [WIDTH, 1]), &device),
            bias: Param::from_data(TensorData::new(vec![0.2_f32], [1]), &device),
        }
    }

    fn values(&self) -> Vec<f32> {
        let mut values = self.weight.val().into_data().try_to_vec::<f32>().unwrap();
        values.extend(self.bias.val().into_data().try_to_vec::<f32>().unwrap());
        values
    }
}

/// Regression on data that is a pure function of (update, sample).
struct Regression {
    batch: usize,
    /// The update whose loss is not a number.
    breaks: Option<u64>,
}

impl Objective for Regression {
    type Module = Line;

    fn losses(&self, module: &Line, update: u64, shard: Shard) -> Losses {
        let device = Device::flex();
        let samples = shard.samples(self.batch);
        let rows = samples.len();
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for sample in samples {
            let phase = (update as usize * self.batch + sample) as f32;
            let row: Vec<f32> = (0..WIDTH).map(|i| (phase * (i + 1) as f32 * 0.7).sin()).collect();
            y.push(row.iter().sum::<f32>() - 0.4);
            x.extend(row);
        }
        if self.breaks == Some(update) {
            y[0] = f32::NAN;
        }
        let x = Tensor::<2>::from_data(TensorData::new(x, [rows, WIDTH]), &device);
        let y = Tensor::<2>::from_data(TensorData::new(y, [rows, 1]), &device);
        let error = x.matmul(module.weight.val()) + module.bias.val().unsqueeze() - y;
        let fit = error.powi_scalar(2).mean();
        let shrink = module.weight.val().powi_scalar(2).sum();
        Losses {
            parts: vec![
                Part { name: "fit", weight: 1.0, loss: fit },
                Part { name: "shrink", weight: 0.01, loss: shrink },
            ],
            metrics: vec![("rows".to_owned(), rows as f64)],
        }
    }
}

fn settings() -> Settings {
    Settings {
        updates: 12,
        optimizer: AdamW { lr: 0.05, ..AdamW::default() },
        schedule: Schedule::Cosine { warmup: 3, floor: 0.1 },
        clip: Some(0.5),
        ema: Some(0.9),
        checkpoint_every: 5,
        ..Settings::default()
    }
}

fn train(settings: &Settings, run: &Run) -> Result<Outcome<Line>, FitError> {
    fit(Arc::new(Regression { batch: 8, breaks: None }), Line::new(), settings, run)
}

fn rows(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_resumed_run_ends_with_the_bytes_of_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = train(&settings(), &Run::new(dir.path().join("whole"), "a")).unwrap();

    let run = Run::new(dir.path().join("cut"), "a");
    struct Cut(Regression, Stop);
    impl Objective for Cut {
        type Module = Line;
        fn losses(&self, module: &Line, update: u64, shard: Shard) -> Losses {
            if update == 6 {
                self.1.request();
            }
            self.0.losses(module, update, shard)
        }
    }
    let cut = Cut(Regression { batch: 8, breaks: None }, run.stop.clone());
    let first = fit(Arc::new(cut), Line::new(), &settings(), &run).unwrap();
    assert_eq!((first.end, first.update), (End::Interrupted, 7));
    let run = Run { resume: Resume::Continue, stop: Stop::default(), ..run };
    let second = train(&settings(), &run).unwrap();
    assert_eq!((second.end, second.update), (End::Finished, 12));
    assert_eq!(second.module.values(), whole.module.values());
    assert_eq!(second.learned().values(), whole.learned().values());
    let updates: Vec<_> =
        rows(&run.dir).iter().map(|row| row["update"].as_u64().unwrap()).collect();
    assert_eq!(updates, (1..=12).collect::<Vec<_>>());
}
