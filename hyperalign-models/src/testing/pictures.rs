//! Pictures, one call away.

use burn::tensor::Tensor;
use hyperalign_core::{contract::AdapterSource, sampler::unobserved};

use crate::{
    base::{Base, BaseError},
    generate::{Generation, Sampling},
};

/// A picture for each of `prompts` from the seed beside it, `[prompts, 3, height, width]`, not
/// clipped.
///
/// # Errors
///
/// As [`Generation::new`].
pub fn pictures(
    base: &dyn Base,
    sampling: &Sampling,
    prompts: &[&str],
    seeds: &[u64],
    adapter: &dyn AdapterSource,
) -> Result<Tensor<4>, BaseError> {
    let prompts: Vec<String> = prompts.iter().map(|&text| text.to_owned()).collect();
    let generation = Generation::new(base, sampling, &prompts)?;
    Ok(base.decode(generation.run(adapter, seeds, &mut unobserved).sample))
}
