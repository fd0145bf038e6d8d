//! What the encoder computed is taken up by the base's own pass, where no update changes it.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Denoiser as _},
    testing::{self, distance},
};
use hyperalign_models::{
    base::Base,
    hypernet::{Adapter, AdapterKind, AdapterMeta, Emission, HypernetConfig, Perception, Variant},
    testing::{shaken, small_base, small_flux},
    weights,
};

use super::{config, inputs, random, trajectory};

/// An adapter whose encoder has `depth` blocks, and which leaves `frozen` of them alone.
fn meta(base: &dyn Base, depth: usize, frozen: usize) -> AdapterMeta {
    let mut config = HypernetConfig {
        encoder_depth: Some(depth),
        feature_dim: base.feature_dim(Some(depth)),
        ..config(base)
    };
    config.targets.retain(|target| base.comes_behind(Some(frozen), &target.path));
    assert!(!config.targets.is_empty());
    AdapterMeta::new("small", base.hash(), Variant::S, AdapterKind::Hypernet(config))
}

fn adapter(base: &dyn Base, depth: usize, frozen: usize) -> Adapter {
    shaken(meta(base, depth, frozen).init(1, &testing::device()).unwrap(), 0.3)
}

/// The answers from the start are the whole answers, guided or not; and a start of another sample
/// gives others, so that it is not merely passed over.
fn is_taken_up(base: &dyn Base, sample: &Tensor<4>, times: &Tensor<1>, prompts: &Conditioning) {
    for depth in 1..=base.depths() {
        let adapter = adapter(base, depth, depth);
        let emit = |sample: Tensor<4>| adapter.emit(base, sample, times.clone(), prompts);
        let Emission { lora, start, .. } = emit(sample.clone());
        let other = emit(random([1, 2, 4, 4], sample.dims()[0], 77)).start;
        assert!(start.is_some() && other.is_some());
        for scale in [1.0, 3.5] {
            let guided = base.guided(base.unconditional(), scale);
            let answer = |start: Option<&_>| {
                let (sample, times) = (sample.clone(), times.clone());
                guided.answer_from(start, sample, times, prompts, Some(&lora), None).output
            };
            let whole = answer(None);
            let found = distance(answer(start.as_ref()), whole.clone());
            assert!(found < 1e-5, "depth {depth}, guidance {scale}: {found}");
            // A distilled network that is told another weight than its encoder was begins anew.
            let is_read = base.reads_unconditional() || scale == 3.5;
            let strayed = distance(answer(other.as_ref()), whole);
            assert_eq!(strayed > 1e-3, is_read, "depth {depth}, guidance {scale}: {strayed}");
        }
    }
}

#[test]
fn a_start_is_taken_up() {
    let base = small_base(1, &testing::device());
    let (sample, times, prompts) = inputs(&base);
    is_taken_up(&base, &sample, &times, &prompts);
    for distilled in [false, true] {
        let base = small_flux(distilled, &testing::device());
        let texts = ["a red dog", "a blue heart", "dog", ""].map(str::to_owned);
        let base: &dyn Base = &base;
        let prompts = base.encode_prompts(&texts).unwrap();
        is_taken_up(base, &sample, &(times.clone() / 1000.0), &prompts);
    }
}

/// An update that changes what the encoder sees leaves no start.
#[test]
fn there_is_no_start_for_an_update_of_the_encoder() {
    let base = small_base(1, &testing::device());
    let (sample, times, prompts) = inputs(&base);
    for (depth, frozen) in [(2, 0), (3, 2)] {
        let emission =
            adapter(&base, depth, frozen).emit(&base, sample.clone(), times.clone(), &prompts);
        assert!(emission.start.is_none(), "{depth} blocks, {frozen} of them frozen");
    }
}

/// An encoder that keeps nothing.
struct Forgetful<'a>(&'a dyn Base);

impl Perception for Forgetful<'_> {
    fn features_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        times: Tensor<1>,
        prompts: &Conditioning,
    ) -> Tensor<4> {
        self.0.features_at(depth, sample, times, prompts)
    }
}

/// Trajectories are the same with and without it: each start is of the sample that is stepped from.
#[test]
fn a_trajectory_is_the_same_with_a_start_at_every_refresh() {
    let base = small_base(1, &testing::device());
    let adapter = adapter(&base, 2, 2);
    for variant in [Variant::S, Variant::P, Variant::I] {
        let shared = trajectory(&base, adapter.source(&base, variant, vec![2, 3]).as_ref());
        let forgetful = Forgetful(&base);
        let whole = trajectory(&base, adapter.source(&forgetful, variant, vec![2, 3]).as_ref());
        for (i, (a, b)) in shared.into_iter().zip(whole).enumerate() {
            let found = distance(a, b);
            assert!(found < 1e-4, "{variant:?}, step {i}: {found}");
        }
    }
}

#[test]
fn gradients_are_the_same_from_a_start() {
    let base = small_base(1, &testing::device());
    let (sample, times, prompts) = inputs(&base);
    let base: &dyn Base = &base;
    let meta = meta(base, 2, 2);
    let adapter = shaken(meta.init(1, &testing::device().autodiff()).unwrap(), 0.3);
    let gradients = |is_shared: bool| {
        let emission = adapter.emit(base, sample.clone(), times.clone(), &prompts);
        let start = emission.start.filter(|_| is_shared);
        let guided = base.guided(base.unconditional(), 3.0);
        let (sample, times, lora) = (sample.clone(), times.clone(), Some(&emission.lora));
        let answer = guided.answer_from(start.as_ref(), sample, times, &prompts, lora, None);
        let loss = (answer.output * random([1, 2, 4, 4], 4, 4)).sum();
        weights::gradients(&adapter, &loss.backward())
    };
    let (shared, whole) = (gradients(true), gradients(false));
    assert!(!shared.is_empty());
    for ((key, shared), (same, whole)) in shared.into_iter().zip(whole) {
        assert_eq!(key, same);
        let (shared, whole) = (shared.values, whole.values);
        let size = whole.iter().map(|x| x.abs()).fold(1e-3, f32::max);
        let apart = shared.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4 * size, "{key}: {apart} of {size}");
    }
}
