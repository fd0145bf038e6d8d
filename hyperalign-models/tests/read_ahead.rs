//! Bases that encode their prompts first, and let go of their text encoders.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use hyperalign_core::{contract::NoAdapter, lora::LoraSet, testing};
use hyperalign_models::{
    base::{Adaptable, Base},
    generate::Sampling,
    testing::{pictures, small_base, small_flux},
};

/// Whether a weight of `module` is in memory.
fn has_weights<M: Module>(module: &M) -> bool {
    struct Seen(bool);
    impl ModuleVisitor for Seen {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.is_initialized();
        }
    }
    let mut seen = Seen(false);
    module.visit(&mut seen);
    seen.0
}

const PROMPTS: [&str; 2] = ["a red dog", "a blue heart"];

fn read_ahead(base: &mut dyn Base) {
    let prompts = PROMPTS.map(str::to_owned);
    let hash = base.hash().to_owned();
    let sampling = Sampling::new(2, 2.0);
    let draw = |base: &dyn Base| pictures(base, &sampling, &PROMPTS, &[3, 4], &NoAdapter).unwrap();
    let expected = draw(base);
    base.read_ahead(&prompts, &LoraSet::default()).unwrap();
    // Guided, too: the empty prompt is always among them.
    assert!(testing::distance(draw(base), expected) < 1e-5);
    assert_eq!(base.hash(), hash, "an adapter still belongs to it");
    assert!(!base.lora_targets().is_empty());
    let error = base.encode_prompts(&["a dog".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("`a dog` was not encoded before"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base");
    let error = base.save_changed(&LoraSet::default(), &path).unwrap_err().to_string();
    assert!(error.contains("were let go of") && !path.exists(), "{error}");
}

#[test]
fn stable_diffusion_draws_the_same_without_its_encoder() {
    let mut base = small_base(1, &testing::device());
    assert!(has_weights(&base.text_encoder));
    read_ahead(&mut base);
    assert!(!has_weights(&base.text_encoder));
    assert!(has_weights(&base.unet) && has_weights(&base.vae));
}

#[test]
fn flux_draws_the_same_without_its_encoders() {
    for distilled in [true, false] {
        let mut base = small_flux(distilled, &testing::device());
        read_ahead(&mut base);
        assert!(!has_weights(&base.text_encoder) && !has_weights(&base.text_encoder_2));
        assert!(has_weights(&base.transformer));
        assert!(base.lora_layers().is_some());
    }
}
