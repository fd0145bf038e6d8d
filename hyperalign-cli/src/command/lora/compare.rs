//! How near a baked file comes to the adapter that it was made of.

use burn::tensor::Tensor;
use hyperalign_core::contract::{AdapterSource, NoAdapter, StaticAdapter};
use hyperalign_core::sampler::unobserved;
use hyperalign_models::base::Base;
use hyperalign_models::generate::{AdapterFile, Generation};
use hyperalign_models::hypernet::Variant;
use hyperalign_models::lora::{Layers, LoraFile, Part};
use serde::Serialize;

/// Distances between pictures of one prompt from one noise: root mean squares over all pixels, in
/// steps of 8 bits.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Distances {
    /// From the base to HyperAlign-S.
    pub(super) base: f64,
    /// From the baked file to HyperAlign-S.
    pub(super) baked: f64,
}

/// Samples the prompt of `generation` by the base, by the adapter as S, and with `baked`.
pub(super) fn compare(
    base: &dyn Base,
    generation: &Generation<'_>,
    adapter: &AdapterFile,
    (baked, layers): (&LoraFile, &Layers),
    seed: u64,
) -> Distances {
    let device = generation.conditioning().context.device();
    let picture = |source: &dyn AdapterSource| {
        let end = generation.run(source, &[seed], &mut unobserved);
        base.decode(end.sample).clamp(-1.0, 1.0)
    };
    let steps = generation.scheduler().steps();
    let adapted = adapter.adapted(Some(Variant::S), steps);
    let of_s = picture(adapted.source(base).as_ref());
    let baked = StaticAdapter(baked.set(layers, Part::Denoiser, 1.0, &device));
    let distance = |picture: Tensor<4>| {
        let square: f32 = (picture - of_s.clone()).square().mean().into_scalar();
        f64::from(square).sqrt() * 127.5
    };
    Distances { base: distance(picture(&NoAdapter)), baked: distance(picture(&baked)) }
}
