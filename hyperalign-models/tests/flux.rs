//! FLUX.1 as a pipeline and as a base, on the smallest one that has every part.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use burn::tensor::{Tensor, s};
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, Denoiser, NoAdapter},
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream, normal},
    schedule::{Solver, SolverChoice},
    testing::{self, distance},
};
use hyperalign_models::{
    base::{Adaptable, Base, Guided, PromptEncoder},
    generate::Sampling,
    hypernet::{
        Adapter, AdapterKind, AdapterMeta, HypernetConfig, Perception, StaticLoraConfig, Variant,
    },
    pipeline::{self, Flux},
    testing::{pictures, shaken, small_flux, small_parts},
    weights::{FileFloat, Folder},
};

const PROMPTS: [&str; 4] = ["a red dog", "a blue heart", "dog", ""];

fn random(rows: usize, seed: u64) -> Tensor<4> {
    let streams = (0..rows as u32).map(|row| Stream::new(seed, Purpose::Start, 0, row));
    normal([1, 2, 4, 4], streams, &testing::device())
}

/// Latents, times and prompts, different in every row.
fn inputs(base: &Flux) -> (Tensor<4>, Tensor<1>, Conditioning) {
    let times = Tensor::from_data([0.9, 0.02, 0.4, 0.401], &testing::device());
    (random(4, 3), times, base.encode_prompts(&PROMPTS).unwrap())
}

fn meta(base: &dyn Base, depth: Option<usize>) -> AdapterMeta {
    let mut targets = base.lora_targets();
    targets.extend(base.text_targets());
    let config = HypernetConfig {
        rank: 2,
        a: 4,
        b: 4,
        width: 8,
        layers: 1,
        heads: 2,
        encoder_depth: depth,
        ..HypernetConfig::new(targets, base.feature_dim(None), base.context_dim())
    };
    AdapterMeta::new("small", base.hash(), Variant::S, AdapterKind::Hypernet(config))
}

fn made(base: &dyn Base, source: &dyn AdapterSource) -> Tensor<4> {
    pictures(base, &Sampling::new(4, 2.0), &PROMPTS[..2], &[5, 6], source).unwrap()
}

#[test]
fn a_batch_is_its_rows() {
    for distilled in [false, true] {
        let base = small_flux(distilled, &testing::device());
        let (sample, times, conditioning) = inputs(&base);
        let adapter: Adapter = shaken(meta(&base, None).init(1, &testing::device()).unwrap(), 0.3);
        let update = |sample, times, c: &Conditioning| adapter.emit(&base, sample, times, c).lora;
        let lora = update(sample.clone(), times.clone(), &conditioning);
        let whole = base.predict(sample.clone(), times.clone(), &conditioning, Some(&lora));
        for k in 0..4 {
            let row = conditioning.slice(k..k + 1);
            let (x, t) = (sample.clone().slice(s![k..k + 1]), times.clone().slice(s![k..k + 1]));
            let lora = update(x.clone(), t.clone(), &row);
            let single = base.predict(x.clone(), t.clone(), &row, Some(&lora));
            assert!(distance(single.clone(), whole.clone().slice(s![k..k + 1])) < 1e-5);
            let bare = base.predict(x, t, &row, None);
            assert!(distance(single, bare) > 1e-4, "the update does nothing");
        }
    }
}

#[test]
fn an_untrained_adapter_leaves_the_base_as_it_is() {
    for distilled in [false, true] {
        let base = small_flux(distilled, &testing::device());
        let bare = made(&base, &NoAdapter);
        let lora = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base.lora_targets() };
        let lora = AdapterMeta::new("", "", Variant::S, AdapterKind::StaticLora(lora));
        for meta in [meta(&base, None), meta(&base, Some(1)), lora] {
            let fresh = meta.init(3, &testing::device()).unwrap();
            for variant in [Variant::S, Variant::P, Variant::I] {
                let source = fresh.source(&base, variant, vec![2]);
                assert_eq!(distance(made(&base, source.as_ref()), bare.clone()), 0.0);
            }
        }
    }
}

#[test]
fn variants_of_one_trained_network_differ() {
    let base = small_flux(false, &testing::device());
    let adapter = shaken(meta(&base, None).init(3, &testing::device()).unwrap(), 0.3);
    let made = [Variant::S, Variant::P, Variant::I]
        .map(|variant| made(&base, adapter.source(&base, variant, vec![2]).as_ref()));
    assert!(distance(made[0].clone(), made[1].clone()) > 1e-6);
    assert!(distance(made[1].clone(), made[2].clone()) > 1e-6);
}

/// Every target is a layer that exists: an update of it alone changes the prediction.
#[test]
fn every_target_is_adapted() {
    let base = small_flux(false, &testing::device());
    let (sample, times, conditioning) = inputs(&base);
    let bare = base.predict(sample.clone(), times.clone(), &conditioning, None);
    let targets = base.lora_targets().into_iter().chain(base.text_targets());
    for target in targets {
        let factor = |shape: [usize; 3]| Tensor::ones(shape, &testing::device());
        let delta = LoraDelta {
            down_aux: None,
            down: factor([1, target.d_input, 1]),
            up: Some(factor([1, 1, target.d_output]) * 0.3),
            up_aux: None,
            scale: 1.0,
        };
        let lora = LoraSet::new([(target.path.clone(), delta)]);
        let adapted = base.predict(sample.clone(), times.clone(), &conditioning, Some(&lora));
        // The keys and values of the last text token states matter to no later block.
        assert!(distance(adapted, bare.clone()) > 1e-6, "{} does nothing", target.path);
    }
}

#[test]
fn the_encoder_can_be_cut_off_after_each_double_block() {
    let base = small_flux(false, &testing::device());
    let (sample, times, conditioning) = inputs(&base);
    let at = |depth| base.features_at(depth, sample.clone(), times.clone(), &conditioning);
    assert_eq!((base.depths(), at(Some(1)).dims()), (2, [4, 16, 2, 2]));
    assert_eq!(distance(at(None), at(Some(2))), 0.0);
    assert!(distance(at(Some(1)), at(Some(2))) > 1e-4);
    assert_eq!(
        distance(at(None), base.features(sample.clone(), times.clone(), &conditioning)),
        0.0
    );
}

/// A distilled network is told the weight and asked once; another one is guided by its answer to
/// the empty prompt.
#[test]
fn guidance_is_the_network_s_own() {
    for distilled in [false, true] {
        let base = small_flux(distilled, &testing::device());
        let (sample, times, conditioning) = inputs(&base);
        let guided = |scale| {
            let guided = base.guided(base.unconditional(), scale);
            guided.predict(sample.clone(), times.clone(), &conditioning, None)
        };
        let (weak, strong) = (guided(1.0), guided(4.0));
        assert!(distance(weak.clone(), strong.clone()) > 1e-4);
        let empty = base.unconditional().repeat(4);
        let bare = |conditioning: &Conditioning| {
            base.predict(sample.clone(), times.clone(), conditioning, None)
        };
        let extrapolated = bare(&empty) + (bare(&conditioning) - bare(&empty)) * 4.0;
        assert_eq!(distance(strong, extrapolated) < 1e-4, !distilled);
        assert_eq!(distance(weak, bare(&conditioning)) < 1e-6, !distilled);
    }
}

#[test]
fn a_folder_holds_the_whole_pipeline() {
    let device = testing::device();
    let base = small_flux(true, &device);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    base.save(&path, FileFloat::F32).unwrap();
    let again = pipeline::open(&Folder::disk(&path), Some("again"), &device).unwrap();
    assert_eq!((again.name(), again.hash()), ("again", base.hash()));
    assert_eq!(distance(made(again.as_ref(), &NoAdapter), made(&base, &NoAdapter)), 0.0);
}

#[test]
fn sizes_are_multiples_of_a_patch() {
    let base = small_flux(false, &testing::device());
    let made = |sampling: &Sampling| pictures(&base, sampling, &["a red dog"], &[0], &NoAdapter);
    let plain = Sampling::new(2, 2.0);
    let of_size = |size| made(&Sampling { size: Some(size), ..plain.clone() });
    assert_eq!(of_size([8, 16]).unwrap().dims(), [1, 3, 8, 16]);
    let error = of_size([8, 18]).unwrap_err().to_string();
    assert!(error.contains("multiples of 4") && error.contains("take 8 x 20"), "{error}");
    let refused = |solver, eta| {
        let solver = SolverChoice { solver, eta };
        made(&Sampling { solver, ..plain.clone() }).err().map(|e| e.to_string())
    };
    let error = refused(None, Some(0.5)).unwrap();
    assert!(error.contains("flow-euler has no eta"), "{error}");
    let error = refused(Some(Solver::Ddim), None).unwrap();
    assert!(error.contains("the base is a rectified flow"), "{error}");
    assert_eq!(refused(Some(Solver::FlowSdeGrpo), Some(0.5)), None);
}

#[test]
fn what_does_not_fit_is_said() {
    let device = testing::device();
    let misfit = |change: &dyn Fn(&mut hyperalign_models::pipeline::FluxParts)| {
        let mut parts = small_parts(false, &device);
        change(&mut parts);
        Flux::new("x", parts, &device).unwrap_err().to_string()
    };
    let other = || hyperalign_models::flux::FluxConfig {
        in_channels: 16,
        num_layers: 1,
        num_single_layers: 1,
        attention_head_dim: 8,
        num_attention_heads: 2,
        joint_attention_dim: 10,
        pooled_projection_dim: 6,
        axes_dims_rope: [2, 2, 4],
        ..hyperalign_models::flux::FluxConfig::default()
    };
    let error = misfit(&|parts| parts.transformer = other().init(&device));
    assert!(error.contains("tokens of 16 numbers") && error.contains("have 8"), "{error}");
    let error = misfit(&|parts| parts.scheduler_config.shift_terminal = Some(0.1));
    assert!(error.contains("shift_terminal"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    small_flux(false, &device).save(&path, FileFloat::F32).unwrap();
    let read = || Flux::from_folder(&Folder::disk(&path), &device).unwrap_err().to_string();
    // A config that contradicts the weights.
    let config = path.join("transformer/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"num_layers\": 2", "\"num_layers\": 3")).unwrap();
    assert!(read().contains("transformer_blocks.2."), "{}", read());
    std::fs::write(
        &config,
        text.replace("\"guidance_embeds\": false", "\"guidance_embeds\": true"),
    )
    .unwrap();
    assert!(read().contains("guidance_embedder"), "{}", read());
    std::fs::write(path.join("model_index.json"), r#"{"_class_name": "Other"}"#).unwrap();
    assert!(read().contains("FluxPipeline"), "{}", read());
    let error = pipeline::open(&Folder::disk(&path), None, &device).err().unwrap().to_string();
    assert!(error.contains("StableDiffusionPipeline or FluxPipeline"), "{error}");
}
