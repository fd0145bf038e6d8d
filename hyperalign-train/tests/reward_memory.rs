//! The memory of a reward's gradient does not grow with the steps that it leads through. A test binary
//! of its own, because it counts what is allocated.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::sync::Arc;

use burn::module::Module;
use hyperalign_core::{
    fuzz::{Counting, peak_of},
    noise::{Purpose, Stream},
    sampler::unobserved,
    testing::{self, Brightness},
};
use hyperalign_models::{
    base::Adaptable,
    generate::{Generation, Sampling},
    hypernet::{Adapter, AdapterKind, AdapterMeta, StaticLoraConfig, Variant},
    testing::{shaken, small_base},
};
use hyperalign_rewards::Prompt;
use hyperalign_train::{
    data::TrainingData,
    learner::{Emitted, Objective, Shard},
    method::{DraftSettings, Materials, Method, Setup, TrajectorySettings},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STEPS: usize = 12;

fn setup() -> Setup {
    let device = testing::cpu();
    let materials = Materials {
        base: Arc::new(small_base(1, &device)),
        reward: Some(Arc::new(Brightness)),
        reward_decoder: None,
        prompts: Prompt::of(&["a red dog"]),
        data: TrainingData::None,
        sample_prompts: Vec::new(),
        held_out: None,
        attribution: None,
        device,
    };
    let trajectory =
        TrajectorySettings { steps: STEPS, guidance_scale: 2.0, ..TrajectorySettings::default() };
    Setup { seed: 1, materials, trajectory, threads: 1, micro_steps: 1 }
}

fn lora(setup: &Setup) -> Adapter {
    let device = setup.materials.device.clone();
    let targets = small_base(1, &device).lora_targets();
    let config = StaticLoraConfig { rank: 2, alpha: 2.0, targets };
    let meta = AdapterMeta::new("small", "", Variant::S, AdapterKind::StaticLora(config));
    shaken(meta.init(1, &device.autodiff()).unwrap(), 0.1)
}

/// The most memory that the gradient through the last steps takes.
fn through(last_steps: usize) -> usize {
    let setup = setup();
    let adapter = lora(&setup);
    let objective = DraftSettings { trajectories: 2, last_steps }.objective(setup);
    let batch = objective.prepare(&adapter.valid(), 0);
    let ((), bytes) = peak_of(|| {
        let mut emitted = Emitted::default();
        objective.losses(&adapter, &batch, 0, Shard { index: 0, count: 1 }, &mut emitted);
        let [part] = emitted.parts.try_into().unwrap();
        drop(part.loss.backward());
    });
    bytes
}

/// The same through the whole plan with everything kept.
fn kept() -> usize {
    let setup = setup();
    let adapter = lora(&setup);
    let base = setup.base();
    let prompts = vec!["a red dog".to_owned(); 2];
    let generation = Generation::new(base, &Sampling::new(STEPS, 2.0), &prompts).unwrap();
    let source = adapter.source(base, Variant::S, Vec::new());
    let ((), bytes) = peak_of(|| {
        let sampler = generation.sampler().with_adapter(source.as_ref());
        let streams = (0..2).map(|k| Stream::new(1, Purpose::Start, 0, k));
        let start = sampler.start(generation.noise(streams));
        let end = sampler.run(start, STEPS, None, &mut unobserved);
        drop(base.decode(end.sample).mean().backward());
    });
    bytes
}

#[test]
fn memory_does_not_grow_with_the_steps() {
    let [one, few, all] = [1, 3, STEPS].map(through);
    // Nodes of the tape and samples are added with each step, which a larger network dwarfs.
    let a_step = (all - few) / (STEPS - 3);
    assert!(a_step < one / 50, "{one} bytes through one step, {a_step} with each more");
    assert!(few < one + one / 10, "{one} bytes through one step, {few} through 3");
    let kept = kept();
    assert!(kept > 3 * all, "{kept} bytes where all is kept, {all} where steps are taken again");
}
