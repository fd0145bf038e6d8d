//! One update against a reference in `f64`, written as PyTorch does it.

use super::*;
use hyperalign_core::testing;

/// Loss gradients of the whole batch by hand: of `fit` and of `shrink`.
fn gradients(weights: &[f64], update: u64) -> [Vec<f64>; 2] {
    let mut fit = vec![0.0; WIDTH + 1];
    for sample in 0..BATCH {
        let (x, y) = row(update, sample);
        let error = x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() + weights[WIDTH] - y;
        for (i, x) in x.iter().chain([&1.0]).enumerate() {
            fit[i] += 2.0 * error * x / BATCH as f64;
        }
    }
    let mut shrink: Vec<f64> = weights.iter().map(|w| 2.0 * w).collect();
    shrink[WIDTH] = 0.0;
    [fit, shrink]
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

struct Reference {
    weights: Vec<f64>,
    average: Vec<f64>,
    /// Of each update: the norms of the two parts as they enter the sum, and of the sum.
    norms: Vec<[f64; 3]>,
}

/// `torch.optim.AdamW` after `torch.nn.utils.clip_grad_norm_`, with our schedule and average.
fn reference(settings: &Settings) -> Reference {
    let AdamW { lr, beta1, beta2, epsilon, weight_decay, .. } = settings.optimizer;
    let mut weights = start();
    let mut average = weights.clone();
    let (mut mean, mut square) = (vec![0.0; WIDTH + 1], vec![0.0; WIDTH + 1]);
    let mut norms = Vec::new();
    for update in 0..settings.updates {
        let [fit, shrink] = gradients(&weights, update);
        let total: Vec<f64> = fit.iter().zip(&shrink).map(|(f, s)| f + SHRINK * s).collect();
        norms.push([norm(&fit), SHRINK * norm(&shrink), norm(&total)]);
        let clip = settings.clip.map_or(1.0, |limit| (limit / (norm(&total) + 1e-6)).min(1.0));
        let lr = lr * settings.schedule.factor(update, settings.updates);
        let t = (update + 1) as i32;
        for i in 0..=WIDTH {
            let gradient = clip * total[i];
            let decay = if i == WIDTH { 0.0 } else { weight_decay };
            weights[i] *= 1.0 - lr * decay;
            mean[i] = beta1 * mean[i] + (1.0 - beta1) * gradient;
            square[i] = beta2 * square[i] + (1.0 - beta2) * gradient * gradient;
            let (m, v) = (mean[i] / (1.0 - beta1.powi(t)), square[i] / (1.0 - beta2.powi(t)));
            weights[i] -= lr * m / (v.sqrt() + epsilon);
        }
        let done = (update + 1) as f64;
        let decay = settings.ema.unwrap_or(0.0).min((1.0 + done) / (10.0 + done));
        for (average, weight) in average.iter_mut().zip(&weights) {
            *average = decay * *average + (1.0 - decay) * weight;
        }
    }
    Reference { weights, average, norms }
}

/// The regression with each part in two pieces, the pieces of one between those of the other.
struct Pieces(Arc<Regression>);

impl Objective for Pieces {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        self.0.names()
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        for share in [0.25, 0.75] {
            let mut emitted = Emitted::default();
            self.0.losses(module, &(), update, shard, &mut emitted);
            for part in emitted.parts {
                emit.part(Part { loss: part.loss * share, ..part });
            }
        }
    }
}

#[test]
fn the_pieces_of_a_part_add_up() {
    let settings = Settings { shards: 2, ..settings() };
    let [whole, pieces] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let run = Run::new(whole.path(), "");
    let expected = train(&settings, &run).unwrap().module.values();
    let run = Run::new(pieces.path(), "");
    let found = fit(Arc::new(Pieces(Regression::plain())), Line::new(), &settings, &run).unwrap();
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    assert_near(&found.module.values(), &expected, 1e-5);
    for (row, expected) in journal(pieces.path()).iter().zip(journal(whole.path())) {
        for (group, part) in [("loss", "fit"), ("loss", "shrink"), ("gradient_norm", "shrink")] {
            let of = |row: &serde_json::Value| row[group][part].as_f64().unwrap();
            assert!((of(row) - of(&expected)).abs() < 1e-5, "{group} of {part}: {row}");
        }
    }
}

#[test]
fn updates_equal_those_of_the_reference() {
    let base = settings();
    let constant = Schedule::Constant { warmup: 0 };
    for settings in [
        base.clone(),
        Settings { clip: None, ..base.clone() },
        Settings { schedule: constant, ema: Some(0.3), ..base.clone() },
        Settings {
            optimizer: AdamW { weight_decay: 0.7, epsilon: 1e-2, beta2: 0.95, ..base.optimizer },
            ..base
        },
    ] {
        let outcome = train_once(&settings);
        let reference = reference(&settings);
        assert_near(&outcome.module.values(), &reference.weights, 1e-5);
        assert_near(&outcome.learned().values(), &reference.average, 1e-5);
    }
}

#[test]
fn parameters_that_are_named_do_not_decay() {
    let optimizer = AdamW { weight_decay: 1.0, ..settings().optimizer };
    let all = AdamW { no_decay: Vec::new(), ..optimizer.clone() };
    let spared = train_once(&Settings { optimizer, updates: 1, ..settings() });
    let decayed = train_once(&Settings { optimizer: all, updates: 1, ..settings() });
    let (spared, decayed) = (spared.module.values(), decayed.module.values());
    assert_eq!(spared[..WIDTH], decayed[..WIDTH]);
    // One update at a third of the learning rate, as the first of three of the warm-up.
    let lost = start()[WIDTH] * 0.05 / 3.0;
    assert_near(&[spared[WIDTH] - decayed[WIDTH]], &[lost], 1e-6);
}

#[test]
fn parameters_that_are_named_have_a_rate_of_their_own() {
    let once = |lr_factors: &[(&str, f64)]| {
        let lr_factors = lr_factors.iter().map(|(name, factor)| ((*name).to_owned(), *factor));
        let optimizer = AdamW { lr_factors: lr_factors.collect(), ..settings().optimizer };
        train_once(&Settings { optimizer, updates: 1, ..settings() }).module.values()
    };
    let (same, slower) = (once(&[]), once(&[("bias", 0.25)]));
    assert_eq!(same[..WIDTH], slower[..WIDTH]);
    let moved = |values: &[f32]| f64::from(values[WIDTH]) - start()[WIDTH];
    assert!(moved(&same).abs() > 1e-3, "the first update moves it");
    assert_near(&[moved(&slower) as f32], &[0.25 * moved(&same)], 1e-6);
}

#[test]
fn a_rate_of_a_parameter_that_does_not_exist_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lr_factors = [("bais".to_owned(), 0.25)].into();
    let optimizer = AdamW { lr_factors, ..settings().optimizer };
    let error = train(&Settings { optimizer, ..settings() }, &Run::new(dir.path(), ""));
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("bais") && error.contains("bias, weight"), "{error}");
}

#[test]
fn the_journal_holds_norms_before_clipping() {
    let dir = tempfile::tempdir().unwrap();
    train(&settings(), &Run::new(dir.path(), "")).unwrap();
    let reference = reference(&settings());
    let rows = journal(dir.path());
    assert_eq!(rows.len(), 12);
    assert!(reference.norms.iter().any(|norms| norms[2] > 1.0), "nothing was clipped");
    for (row, norms) in rows.iter().zip(&reference.norms) {
        for (name, norm) in ["fit", "shrink", "total"].iter().zip(norms) {
            let found = row["gradient_norm"][name].as_f64().unwrap();
            assert!((found - norm).abs() < 1e-5, "{name}: {found} is not {norm}");
        }
        let loss = &row["loss"];
        let total = loss["fit"].as_f64().unwrap() + SHRINK * loss["shrink"].as_f64().unwrap();
        assert!((loss["total"].as_f64().unwrap() - total).abs() < 1e-9);
        assert_eq!(row["metrics"]["first sample"], 0.0);
        assert!(row["seconds"].as_f64().unwrap() > 0.0);
    }
    let norm = norm(&reference.weights);
    assert!((rows[11]["weight_norm"].as_f64().unwrap() - norm).abs() < 1e-5);
}

#[test]
fn shards_and_micro_steps_are_one_batch() {
    let whole = train_once(&settings());
    let wanted: Vec<f64> = whole.module.values().iter().map(|&v| v.into()).collect();
    for (shards, accumulate) in [(2, 1), (1, 4), (2, 2), (4, 2)] {
        let settings = Settings { shards, accumulate, ..settings() };
        let first = train_once(&settings);
        assert_near(&first.module.values(), &wanted, 1e-6);
        assert_eq!(first.module.values(), train_once(&settings).module.values());
    }
}

#[test]
fn metrics_are_means_over_shards() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { shards: 2, accumulate: 2, updates: 1, ..settings() };
    train(&settings, &Run::new(dir.path(), "")).unwrap();
    assert_eq!(journal(dir.path())[0]["metrics"]["first sample"], 3.0);
}

#[test]
fn the_schedule_rises_and_falls() {
    let schedule = Schedule::Cosine { warmup: 4, floor: 0.2 };
    let factors: Vec<f64> = (0..=24).map(|update| schedule.factor(update, 24)).collect();
    assert_eq!(factors[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
    assert!((factors[14] - 0.6).abs() < 1e-12, "half way down is the mean of 1 and the floor");
    assert!(factors[4..].windows(2).all(|pair| pair[1] < pair[0]));
    assert!((factors[24] - 0.2).abs() < 1e-12);
    assert_eq!(Schedule::Constant { warmup: 2 }.factor(0, 9), 0.5);
    assert_eq!(Schedule::Constant { warmup: 2 }.factor(7, 9), 1.0);
}

#[test]
fn unusable_settings_are_named() {
    let fails = |settings: Settings| settings.validate().unwrap_err().name;
    let lr = AdamW { lr: f64::NAN, ..AdamW::default() };
    assert_eq!(fails(Settings { optimizer: lr, ..Settings::default() }), "optimizer.lr");
    assert_eq!(fails(Settings { shards: 0, ..Settings::default() }), "shards");
    assert_eq!(fails(Settings { ema: Some(1.0), ..Settings::default() }), "ema");
    assert_eq!(fails(Settings { clip: Some(0.0), ..Settings::default() }), "clip");
    Settings::default().validate().unwrap();
}

#[test]
fn settings_are_read_strictly() {
    let text = r#"{ "updates": 7, "optimizer": { "lr": 0.5 }, "time_limit": 1.5,
        "schedule": { "kind": "cosine", "warmup": 2 } }"#;
    let settings: Settings = serde_json::from_str(text).unwrap();
    assert_eq!((settings.updates, settings.optimizer.lr), (7, 0.5));
    assert_eq!(settings.optimizer.beta1, 0.9);
    assert_eq!(settings.schedule, Schedule::Cosine { warmup: 2, floor: 0.0 });
    assert_eq!(settings.time_limit.unwrap().as_secs_f64(), 1.5);
    let again = serde_json::to_string(&settings).unwrap();
    assert_eq!(settings, serde_json::from_str(&again).unwrap());
    let error = serde_json::from_str::<Settings>(r#"{ "update": 7 }"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `update`"), "{error}");
}

/// Layers that are large enough for the backend to use threads of its own.
#[derive(Module, Debug)]
struct Layers {
    layers: Vec<Param<Tensor<2>>>,
}

struct Wide;

impl Objective for Wide {
    type Module = Layers;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec!["wide"], metrics: Vec::new() }
    }

    fn prepare(&self, _: &Layers, _: u64) {}

    fn losses(&self, module: &Layers, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        let phase = (update * 7 + shard.index as u64) as f32;
        let x: Vec<f32> = (0..64 * 256).map(|i| (phase + i as f32).sin()).collect();
        let mut x = Tensor::<2>::from_data(TensorData::new(x, [64, 256]), &testing::device());
        for layer in &module.layers {
            x = x.matmul(layer.val()).tanh();
        }
        emit.part(Part::new("wide", 1.0, x.powi_scalar(2).mean()));
    }
}

#[test]
fn threads_inside_operations_do_not_change_the_bytes() {
    let device = testing::device().autodiff();
    let weights: Vec<f32> = (0..256 * 256).map(|i| (i as f32 * 0.61).sin() * 0.1).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [256, 256]), &device);
    let layers = Layers { layers: (0..3).map(|_| Param::from_tensor(weights.clone())).collect() };
    let end = || {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { shards: 2, updates: 4, ..Settings::default() };
        let run = Run::new(dir.path(), "");
        let outcome = fit(Arc::new(Wide), layers.clone(), &settings, &run).unwrap();
        outcome.module.layers[1].val().into_data().try_to_vec::<f32>().unwrap()
    };
    let first = end();
    assert!((0..3).all(|_| end() == first));
}

/// Two shards with gradients of a given angle to each other.
struct Halves(f64);

impl Objective for Halves {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec!["turn"], metrics: Vec::new() }
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), _: u64, shard: Shard, emit: &mut dyn Emit) {
        let weight = module.weight.val();
        let along = |k: usize| weight.clone().narrow(0, k, 1).sum();
        let loss = match shard.index {
            0 => along(0) * 3.0,
            _ => along(0) * (2.0 * self.0.cos()) + along(1) * (2.0 * self.0.sin()),
        };
        emit.part(Part::new("turn", 1.0, loss));
    }
}

#[test]
fn the_agreement_of_halves_is_the_cosine_between_their_gradients() {
    let settings = Settings { shards: 2, agreement_every: Some(2), ..settings() };
    for angle in [0.0, 0.7, 2.0, std::f64::consts::PI] {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path(), "");
        fit(Arc::new(Halves(angle)), Line::new(), &settings, &run).unwrap();
        for (update, row) in journal(dir.path()).iter().enumerate() {
            let found = row["metrics"]["turn_agreement"].as_f64();
            assert_eq!(found.is_some(), update % 2 == 0, "update {update}");
            let error = found.map_or(0.0, |found| (found - angle.cos()).abs());
            assert!(error < 1e-5, "{found:?} is not {}", angle.cos());
        }
    }
}

/// A gradient that is a hundred times as long in update 8.
struct Spike;

impl Objective for Spike {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec!["pull"], metrics: Vec::new() }
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), update: u64, _: Shard, emit: &mut dyn Emit) {
        let pull = if update == 8 { 100.0 } else { 1.0 };
        emit.part(Part::new("pull", 1.0, module.bias.val() * pull));
    }
}

#[test]
fn a_clip_to_the_running_mean_limits_what_is_far_above_it() {
    let module = Line::new();
    let settings = Settings { clip: None, clip_to_mean: Some(4.0), ..settings() };
    let norm = |update, mean| {
        let gradient =
            crate::learner::update::gradient(&Spike, &module, &(), update, &settings, mean);
        let gradient = gradient.unwrap();
        (gradient.norm, gradient.clipped)
    };
    assert_eq!(norm(7, None), (1.0, 1.0));
    assert_eq!(norm(8, None), (100.0, 100.0), "there is no mean yet");
    assert_eq!(norm(7, Some(1.0)), (1.0, 1.0));
    assert_eq!(norm(8, Some(1.0)), (100.0, 4.0));
    // The mean is part of the checkpoint: a run that is cut ends with the same bytes.
    let end = |cut: Option<u64>| {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Run::new(dir.path(), "");
        let schedule = Schedule::Constant { warmup: 0 };
        let whole = Settings { schedule, ..settings.clone() };
        if let Some(updates) = cut {
            let short = Settings { updates, ..whole.clone() };
            fit(Arc::new(Spike), Line::new(), &short, &run).unwrap();
            run.resume = Resume::Continue;
        }
        fit(Arc::new(Spike), Line::new(), &whole, &run).unwrap().module.values()
    };
    assert_eq!(end(Some(6)), end(None));
}
