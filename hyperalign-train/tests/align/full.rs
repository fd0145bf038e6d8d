//! Runs that train the weights themselves.

use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use hyperalign_core::{
    contract::{AdapterSource, NoAdapter},
    noise::{Purpose, Stream, normal},
    sampler::{Sampler, unobserved},
    testing,
};
use hyperalign_models::{
    base::Base,
    hypernet::{Adapter, Variant},
    pipeline,
    testing::{small_base, small_flux},
    weights::Folder,
};
use hyperalign_rewards::Prompt;
use hyperalign_train::{
    align::{AlignSettings, align, check},
    data::TrainingData,
    learner::{Progress, Run},
    method::{DiffusionDpoSettings, DraftSettings, Materials, MethodSettings},
};

use crate::toy::{Bright, STEPS, full, gain, materials_of, method, scores, settings};

fn of(method: MethodSettings, updates: u64) -> AlignSettings {
    let mut settings = AlignSettings { method, network: full(), ..settings() };
    settings.training.updates = updates;
    settings.training.optimizer.lr = 3e-3;
    settings
}

fn pictures(base: &dyn Base, source: &dyn AdapterSource, prompts: &[Prompt]) -> Tensor<4> {
    let scheduler = base.scheduler(STEPS).unwrap();
    let denoiser = base.guided(base.unconditional(), 2.0);
    let conditioning = base.encode_prompts(&Prompt::texts(prompts)).unwrap();
    let sampler = Sampler::new(&denoiser, scheduler.as_ref(), &conditioning).with_adapter(source);
    let [channels, height, width] = base.latent_shape();
    let streams = (0..prompts.len() as u32).map(|row| Stream::new(7, Purpose::Start, 0, row));
    let noise = normal([1, channels, height, width], streams, &testing::device());
    sampler.run(sampler.start(noise), STEPS, None, &mut unobserved).sample
}

/// The folder that a run writes is the base with what was learned in its weights: its pictures are
/// those of the base with the adapter beside it.
#[test]
fn the_model_folder_draws_what_the_adapter_draws() {
    let device = testing::device();
    let bases: [Arc<dyn Base>; 2] =
        [Arc::new(small_base(1, &device)), Arc::new(small_flux(false, &device))];
    for base in bases {
        let materials = materials_of(base);
        let dir = tempfile::tempdir().unwrap();
        let draft = DraftSettings { trajectories: 4, last_steps: 2 };
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let lines = told.clone();
        let write = move |line: &str| lines.lock().unwrap().push(line.to_owned());
        let run = Run { progress: Progress::Lines(Arc::new(write)), ..Run::new(dir.path(), "") };
        let aligned = align(&materials, &of(draft.into(), 12), &[], &run).unwrap();
        let first = told.lock().unwrap()[0].clone();
        assert!(first.contains("million weights") && first.contains("GiB"), "{first}");

        let base = materials.base.as_ref();
        let source = aligned.adapter.source(base, Variant::S, Vec::new());
        let expected = pictures(base, source.as_ref(), &materials.prompts);
        let bare = pictures(base, &NoAdapter, &materials.prompts);
        let folder = Folder::disk(dir.path().join("model"));
        let model = pipeline::open(&folder, None, &device).unwrap();
        let found = pictures(model.as_ref(), &NoAdapter, &materials.prompts);
        let largest = |x: Tensor<4>| x.abs().max().into_scalar::<f64>();
        let (error, change) = (largest(found - expected.clone()), largest(expected.clone() - bare));
        assert!(change > 1e-3 && error < 1e-4 * largest(expected), "{error} beside {change}");
        assert_ne!(model.hash(), base.hash());

        let file = dir.path().join("adapter.safetensors");
        let (read, meta) = Adapter::load(&file, &device).unwrap();
        meta.check(base).unwrap();
        assert_eq!(read.num_params(), aligned.adapter.num_params());
    }
}

/// By the gradient of a reward, and by preferences whose reference is the base without what is trained.
#[test]
fn weights_learn_what_a_lora_learns() {
    let materials = materials_of(Arc::new(small_base(1, &testing::device())));
    let materials = Materials { data: TrainingData::None, ..materials };
    let before = scores(&materials, &NoAdapter);
    let draft = DraftSettings { trajectories: 4, last_steps: 2 };
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(dir.path(), "");
    let adapter = align(&materials, &of(draft.into(), 60), &[], &run).unwrap().adapter;
    let source = adapter.source(materials.base.as_ref(), Variant::S, Vec::new());
    let (mean, error) = gain(&scores(&materials, source.as_ref()), &before);
    assert!(mean > 3.0 * error && mean > 0.005, "the reward gains {mean} +- {error}");
    let dpo = DiffusionDpoSettings { batch: 8, beta: 50.0, ..DiffusionDpoSettings::default() };
    let judged = TrainingData::Pairs(Arc::new(Bright));
    let materials = Materials { data: judged, reward: None, ..materials.clone() };
    let dir = tempfile::tempdir().unwrap();
    align(&materials, &of(dpo.into(), 60), &[], &Run::new(dir.path(), "")).unwrap();
    let log = std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    let losses: Vec<f64> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|row| row["loss"]["preference"].as_f64().unwrap())
        .collect();
    assert!((losses[0] - std::f64::consts::LN_2).abs() < 1e-6, "{}", losses[0]);
    let last = losses[50..].iter().sum::<f64>() / 10.0;
    assert!(last < 0.6, "the loss ends at {last}");
}

#[test]
fn hyperalign_trains_no_whole_weights() {
    let materials = materials_of(Arc::new(small_base(1, &testing::device())));
    let told = check(&materials, &of(method().into(), 4)).unwrap_err().to_string();
    assert!(told.contains("`hyperalign`") && told.contains("whole weights"), "{told}");
}
