//! The backward pass in two stages against one, in f64: f32 differs in the last digits, which a
//! network makes larger.
//!
//! The float type of a device is set once for a process, hence a test binary of its own.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use hyperalign_core::testing;
use std::sync::OnceLock;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, FloatDType, Gradients, Tensor},
};
use hyperalign_core::{
    contract::Conditioning,
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream, normal},
};
use hyperalign_models::{
    base::Base,
    hypernet::{Adapter, AdapterKind, AdapterMeta, HypernetConfig, StaticLoraConfig, Variant},
    testing::{shaken, small_base},
};
use hyperalign_train::method::{Boundary, SampleGradients};

const ROWS: usize = 4;

fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || {
        let mut device = testing::device();
        device.configure(FloatDType::F64).unwrap();
        device
    };
    DEVICE.get_or_init(open).clone()
}

struct Case {
    base: Box<dyn Base>,
    adapter: Adapter,
    sample: Tensor<4>,
    times: Tensor<1>,
    conditioning: Conditioning,
}

/// A hypernetwork and a static LoRA, both away from their start.
fn cases() -> Vec<Case> {
    let device = device();
    let kinds = |base: &dyn Base| {
        let hypernet = HypernetConfig {
            rank: 2,
            a: 4,
            b: 3,
            width: 8,
            layers: 1,
            heads: 2,
            ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
        };
        let lora = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base.lora_targets() };
        [AdapterKind::Hypernet(hypernet), AdapterKind::StaticLora(lora)]
    };
    (0..2)
        .map(|which| {
            let base = small_base(1, &device);
            let kind = kinds(&base)[which].clone();
            let meta = AdapterMeta::new("small", "", Variant::S, kind);
            let fresh = meta.init(1, &device.clone().autodiff()).unwrap();
            let streams = (0..ROWS as u32).map(|k| Stream::new(2, Purpose::Start, 0, k));
            let prompts = ["a red dog", "blue", "a heart", "red"].map(str::to_owned);
            Case {
                adapter: shaken(fresh, 0.3),
                sample: normal([1, 2, 4, 4], streams, &device),
                times: Tensor::from_data([900.0f64, 600.0, 300.0, 20.0], &device),
                conditioning: base.encode_prompts(&prompts).unwrap(),
                base: Box::new(base),
            }
        })
        .collect()
}

impl Case {
    fn emit(&self) -> LoraSet {
        let (sample, times) = (self.sample.clone(), self.times.clone());
        self.adapter.emit(self.base.as_ref(), sample, times, &self.conditioning).lora
    }

    /// Some loss of each sample; that of the last one is steep.
    fn losses(&self, lora: &LoraSet) -> Tensor<1> {
        let (sample, times) = (self.sample.clone(), self.times.clone());
        let output = self.base.predict(sample, times, &self.conditioning, Some(lora));
        let steep = Tensor::<1>::from_data([1.0f64, 1.0, 2.0, 50.0], &output.device());
        output.sin().flatten::<2>(1, 3).mean_dim(1).reshape([-1]) * steep
    }

    fn boundary(&self) -> (Boundary, SampleGradients) {
        let boundary = Boundary::new(&self.emit(), ROWS);
        let mut gradients = self.losses(&boundary.lora()).mean().backward();
        let gradients = boundary.gradients(&mut gradients);
        (boundary, gradients)
    }

    /// The gradient of a loss of the trained network, parameter by parameter.
    fn of(&self, loss: Tensor<1>) -> Vec<f64> {
        let gradients = loss.backward();
        let mut values = Values { gradients: &gradients, found: Vec::new() };
        self.adapter.visit(&mut values);
        values.found
    }
}

struct Values<'a> {
    gradients: &'a Gradients,
    found: Vec<f64>,
}

impl ModuleVisitor for Values<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            self.found.extend(gradient.into_data().iter::<f64>());
        }
    }
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    assert!(largest > 1e-4, "{largest}");
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error <= 1e-6 * largest.min(1.0), "{error} of {largest}");
}

#[test]
fn two_stages_are_one_where_nothing_is_limited() {
    for case in cases() {
        let one = case.of(case.losses(&case.emit()).mean());
        let (boundary, gradients) = case.boundary();
        let two = case.of(boundary.pull_back(gradients, &[1.0; ROWS]));
        assert_near(&two, &one);
    }
}

/// A factor of a sample is the weight of its loss.
#[test]
fn factors_limit_exactly_the_samples_that_they_are_of() {
    for case in cases() {
        let factors = [1.0f64, 1.0, 1.0, 0.03];
        let weights = Tensor::<1>::from_data(&factors[..], &device());
        let one = case.of((case.losses(&case.emit()) * weights).mean());
        let (boundary, gradients) = case.boundary();
        let two = case.of(boundary.pull_back(gradients, &factors));
        assert_near(&two, &one);
    }
}

/// Each sample by itself, through factors that nobody shares with it.
#[test]
fn norms_are_those_of_the_samples_by_themselves() {
    for case in cases() {
        let (boundary, gradients) = case.boundary();
        let norms = boundary.norms(&gradients);
        for (row, norm) in norms.iter().enumerate() {
            let lora = case.emit();
            let leaf = |factor: Tensor<3>, row: usize| {
                let row = if factor.dims()[0] == 1 { 0 } else { row };
                factor.narrow(0, row, 1).inner().autodiff().require_grad()
            };
            let aux = |factor: &Option<Tensor<2>>| {
                factor.clone().map(|factor| factor.inner().autodiff().require_grad())
            };
            let own = LoraSet::new(lora.iter().map(|(path, delta)| {
                let delta = LoraDelta {
                    down_aux: aux(&delta.down_aux),
                    down: leaf(delta.down.clone(), row),
                    up: delta.up.clone().map(|up| leaf(up, row)),
                    up_aux: aux(&delta.up_aux),
                    scale: delta.scale,
                };
                (path.to_owned(), delta)
            }));
            let one = Case {
                base: Box::new(small_base(1, &device())),
                adapter: case.adapter.clone(),
                sample: case.sample.clone().narrow(0, row, 1),
                times: case.times.clone().narrow(0, row, 1),
                conditioning: case.conditioning.slice(row..row + 1),
            };
            let steep = [1.0, 1.0, 2.0, 50.0][row];
            let output = one.base.predict(
                one.sample.clone(),
                one.times.clone(),
                &one.conditioning,
                Some(&own),
            );
            let gradients = (output.sin().mean() * steep).backward();
            let square = |x: Option<f64>| x.unwrap_or(0.0);
            let squares: f64 = own
                .iter()
                .map(|(_, delta)| {
                    let of3 = |x: &Tensor<3>| {
                        square(x.grad(&gradients).map(|g| g.square().sum().into_scalar::<f64>()))
                    };
                    let of2 = |x: &Option<Tensor<2>>| {
                        let gradient = x.as_ref().and_then(|x| x.grad(&gradients));
                        square(gradient.map(|g| g.square().sum().into_scalar::<f64>()))
                    };
                    of3(&delta.down) + of3(delta.last()) + of2(&delta.down_aux) + of2(&delta.up_aux)
                })
                .sum();
            let expected = squares.sqrt();
            assert!(expected > 1e-5, "{expected}");
            assert!((norm / expected - 1.0).abs() < 1e-9, "row {row}: {norm}, not {expected}");
        }
    }
}
