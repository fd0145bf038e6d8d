//! LoRA files, on the smallest bases that have every part.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

mod bad_files;
mod conventions;
mod hooks;
mod overlaid;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use hyperalign_core::{
    noise::{Purpose, Stream, normal},
    testing,
};
use hyperalign_models::lora::{Factor, Float, Layers, LoraFile, Part, Update};

/// Standard normal numbers.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, Purpose::Init, 0, 0);
    normal([1, count], [stream], &testing::device()).into_data().try_to_vec().unwrap()
}

/// The same as a tensor.
pub fn tensor<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let stream = Stream::new(seed, Purpose::Init, 1, 0);
    normal([1, shape.iter().product()], [stream], &testing::device()).reshape(shape)
}

/// A LoRA of rank 2, or less where a layer has not that, on every layer of `parts`.
pub fn random(layers: &Layers, parts: &[Part], size: f32, seed: u64) -> LoraFile {
    let own = layers.all().iter().enumerate().filter(|(_, layer)| parts.contains(&layer.part));
    let updates = own.map(|(i, layer)| {
        let rank = layer.most_rank().min(2);
        let factor = |rows: usize, columns: usize, seed: u64| {
            let values = numbers(rows * columns, seed).into_iter().map(|x| x * size).collect();
            Factor { rows, columns, values, float: Float::F32 }
        };
        let seed = seed + 2 * i as u64;
        let update = Update {
            down: factor(rank, layer.d_input(), seed),
            up: factor(layer.d_output(), rank, seed + 1),
            alpha: 3.0,
        };
        (i, update)
    });
    LoraFile {
        name: "random".to_owned(),
        conventions: Default::default(),
        updates: updates.collect(),
        metadata: BTreeMap::new(),
    }
}
