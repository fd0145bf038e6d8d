//! What the tests of all crates share: the device that they compute on, and a reward. No part of
//! the program.

use burn::tensor::{Device, Tensor};

use crate::{
    contract::{Prompt, Reads, Reward},
    device,
};

/// Names the device that tests compute on, as `--device` does; `cargo xtask test --device` sets it.
pub const DEVICE: &str = "HYPERALIGN_TEST_DEVICE";

/// The device that tests compute on: the one that [`DEVICE`] names, or the CPU.
///
/// # Panics
///
/// Panics if there is no such device: tests that ran on another would have tested nothing.
pub fn device() -> Device {
    match std::env::var(DEVICE) {
        Ok(name) => device::open(&name).unwrap_or_else(|error| panic!("{DEVICE}: {error}")),
        Err(_) => cpu(),
    }
}

/// The CPU, for what is about it, and for properties that are checked in f64, which most GPUs do
/// not compute in.
pub fn cpu() -> Device {
    Device::flex()
}

/// The largest difference of two values of the same place.
pub fn distance<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

/// How bright a picture is, the mean of its values: the smallest reward that has a gradient. It
/// looks at no prompt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Brightness;

impl Reward for Brightness {
    fn name(&self) -> &str {
        "brightness"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
        images.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1)
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn needs_prompt(&self) -> bool {
        false
    }

    fn reads(&self) -> Reads {
        Reads::Tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_the_one_that_is_named() {
        let expected = match std::env::var(DEVICE) {
            Ok(name) => device::open(&name).unwrap(),
            Err(_) => cpu(),
        };
        assert_eq!(format!("{:?}", device()), format!("{expected:?}"));
    }
}
