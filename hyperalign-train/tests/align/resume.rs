//! Runs that stop and go on.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::tensor::Tensor;
use hyperalign_core::testing;
use hyperalign_models::{
    base::Base,
    hypernet::Adapter,
    testing::{small_base, small_flux},
};
use hyperalign_rewards::{Prompt, Reward};
use hyperalign_train::{
    align::{AlignSettings, align},
    data::TrainingData,
    learner::{End, Resume, Run, Stop},
    method::{BaseNeed, Materials, MethodSettings},
};

use crate::toy::{Bright, Colour, full, materials, materials_of, methods, settings, static_lora};

/// A reward that asks for the end of the run when it has been computed so many times.
struct Interrupting {
    calls: AtomicUsize,
    at: usize,
    stop: Stop,
}

impl Reward for Interrupting {
    fn name(&self) -> &str {
        "colour"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.stop.request();
        }
        Colour.score(images, prompts)
    }
    fn differentiable(&self) -> bool {
        true
    }
}

#[test]
fn an_interrupted_run_ends_with_the_bytes_of_a_whole_one() {
    let materials = materials();
    for network in [settings().network, static_lora()] {
        let mut settings = AlignSettings { network, ..settings() };
        settings.training.updates = 6;
        settings.samples.every = 4;
        let whole = tempfile::tempdir().unwrap();
        let aligned = align(&materials, &settings, &[], &Run::new(whole.path(), "")).unwrap();
        assert_eq!((aligned.end, aligned.updates), (End::Finished, 6));

        let cut = tempfile::tempdir().unwrap();
        let run = Run::new(cut.path(), "");
        let reward = Interrupting { calls: Default::default(), at: 5, stop: run.stop.clone() };
        let interrupting = Materials { reward: Some(Arc::new(reward)), ..materials.clone() };
        let aligned = align(&interrupting, &settings, &[], &run).unwrap();
        // Its third update, the first of a span of two.
        assert_eq!((aligned.end, aligned.updates, aligned.path), (End::Interrupted, 4, None));
        assert!(cut.path().join("checkpoints/step-000004/objective.json").is_file());
        assert!(!cut.path().join("adapter.safetensors").exists());
        let run = Run { resume: Resume::Continue, ..Run::new(cut.path(), "") };
        align(&materials, &settings, &[], &run).unwrap();
        for name in ["adapter.safetensors", "samples/step-000000.png", "samples/step-000004.png"] {
            let file = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
            assert!(file(whole.path()) == file(cut.path()), "{name} differs");
        }
        let (_, meta) =
            Adapter::load(&cut.path().join("adapter.safetensors"), &materials.device).unwrap();
        meta.check_base("small", materials.base.hash()).unwrap();
    }
}

/// Each method stops after a span of updates, and a run that goes on draws what the whole one drew.
#[test]
fn every_method_that_is_resumed_ends_with_the_bytes_of_a_whole_run() {
    let methods = methods();
    let names: Vec<&str> = methods.iter().map(MethodSettings::name).collect();
    assert_eq!(names, MethodSettings::NAMES, "every method, in the order of the table");
    let networks = [settings().network, static_lora(), full()];
    let both =
        methods.into_iter().flat_map(|method| networks.clone().map(|of| (method.clone(), of)));
    for (method, network) in both {
        if network == full() && matches!(method, MethodSettings::Hyperalign(_)) {
            continue;
        }
        let base: Arc<dyn Base> = match method.needs().base {
            BaseNeed::Flow => Arc::new(small_flux(false, &testing::device())),
            BaseNeed::Any => Arc::new(small_base(1, &testing::device())),
        };
        let data = TrainingData::Pairs(Arc::new(Bright));
        let materials = Materials { data, ..materials_of(base) };
        let (name, span) = (method.name(), method.span());
        let mut settings = AlignSettings { method, network, ..settings() };
        let end = |dir: &Path| std::fs::read(dir.join("adapter.safetensors")).unwrap();
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        settings.training.updates = 3 * span;
        align(&materials, &settings, &[], &Run::new(whole.path(), "")).unwrap();
        for (updates, resume) in [(span, Resume::Fresh), (3 * span, Resume::Continue)] {
            settings.training.updates = updates;
            let run = Run { resume, ..Run::new(cut.path(), "") };
            align(&materials, &settings, &[], &run).unwrap();
        }
        assert!(end(whole.path()) == end(cut.path()), "{name}");
    }
}
