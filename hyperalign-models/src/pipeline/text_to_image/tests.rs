use burn::tensor::{Device, s};
use hyperalign_core::{
    adapter::NoAdapter,
    sampler::unobserved,
    schedule::{Solver, SolverChoice},
};

use super::*;
use crate::{
    base::Base,
    hypernet::{HyperSource, Hypernet, HypernetConfig, Variant},
    pipeline::StableDiffusion,
    testing::{shaken, small_base},
    tokenizer::Tokenizer,
    weights::{FileFloat, Folder},
};

fn pipeline() -> StableDiffusion {
    small_base(1, &Device::flex())
}

fn pictures(way: &TextToImage, prompts: &[&str], seeds: &[u64]) -> Tensor<4> {
    way.generate(prompts, seeds, &NoAdapter, &mut unobserved).unwrap()
}

fn distance(a: Tensor<4>, b: Tensor<4>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn a_picture_depends_on_its_own_seed_and_prompt_only() {
    let pipeline = pipeline();
    let solver = SolverChoice { solver: Some(Solver::EulerAncestral), eta: Some(0.5) };
    let way = TextToImage { solver, ..TextToImage::new(&pipeline, 3, 2.0) };
    let both = pictures(&way, &["a red dog", "a blue heart"], &[5, 6]);
    assert_eq!(both.dims(), [2, 3, 8, 8]);
    let second = pictures(&way, &["a blue heart"], &[6]);
    let distance_to = |other: Tensor<4>| distance(second.clone(), other);
    assert!(distance_to(both.slice(s![1..2])) < 1e-5);
    assert!(distance_to(pictures(&way, &["a blue heart"], &[7])) > 1e-3, "the seed is not used");
    assert!(distance_to(pictures(&way, &["a red dog"], &[6])) > 1e-4, "the prompt is not used");
    let unguided = TextToImage { guidance_scale: 1.0, ..way.clone() };
    assert!(distance_to(pictures(&unguided, &["a blue heart"], &[6])) > 1e-5, "no guidance");
    let negative = TextToImage { negative_prompt: "red dog".to_owned(), ..way.clone() };
    assert!(distance_to(pictures(&negative, &["a blue heart"], &[6])) > 1e-6, "no negative");
}

/// Every solver that fits makes pictures, and the others are refused before any work.
#[test]
fn solvers_by_name() {
    let pipeline = pipeline();
    let mut made: Vec<Tensor<4>> = Vec::new();
    for solver in Solver::ALL {
        let choice = SolverChoice { solver: Some(solver), eta: None };
        let way = TextToImage { solver: choice, ..TextToImage::new(&pipeline, 4, 2.0) };
        if solver.is_for_flows() {
            let error = way.scheduler().err().expect("no flow").to_string();
            assert!(error.contains(solver.name()), "{error}");
            continue;
        }
        let picture = pictures(&way, &["a red dog"], &[5]);
        assert!(picture.clone().is_finite().all().into_scalar::<bool>(), "{solver}");
        for other in &made {
            assert!(distance(picture.clone(), other.clone()) > 1e-5, "{solver}");
        }
        made.push(picture);
    }
}

#[test]
fn a_folder_holds_the_whole_pipeline() {
    let pipeline = pipeline();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    pipeline.save(&path, FileFloat::F32).unwrap();
    let again = StableDiffusion::from_folder(&Folder::disk(&path), &Device::flex()).unwrap();
    assert_eq!(again.hash(), pipeline.hash());
    assert_eq!(again.scheduler_config, pipeline.scheduler_config);
    let picture = |pipeline| pictures(&TextToImage::new(pipeline, 2, 3.0), &["a red dog"], &[1]);
    assert_eq!(distance(picture(&again), picture(&pipeline)), 0.0);
}

#[test]
fn what_is_wrong_with_a_folder_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    pipeline().save(&path, FileFloat::F32).unwrap();
    let read = || {
        StableDiffusion::from_folder(&Folder::disk(&path), &Device::flex()).unwrap_err().to_string()
    };
    let scheduler = path.join("scheduler/scheduler_config.json");
    let text = std::fs::read_to_string(&scheduler).unwrap();
    std::fs::remove_file(&scheduler).unwrap();
    assert!(read().contains("scheduler_config.json"), "{}", read());
    std::fs::write(&scheduler, text).unwrap();

    let more = ["a", "red", "blue", "dog", "heart", "star", "moon"];
    let tokenizer = Tokenizer::from_words(&more, 6).unwrap().to_json().unwrap();
    std::fs::write(path.join("tokenizer/tokenizer.json"), tokenizer).unwrap();
    assert!(read().contains("the tokenizer has 10 tokens, the text encoder 8"), "{}", read());

    std::fs::write(path.join("model_index.json"), r#"{"_class_name": "FluxPipeline"}"#).unwrap();
    assert!(read().contains("FluxPipeline"), "{}", read());
}

#[test]
fn bad_requests_are_errors() {
    let pipeline = pipeline();
    let fails = |steps, prompt: &str| {
        TextToImage::new(&pipeline, steps, 2.0)
            .generate(&[prompt], &[0], &NoAdapter, &mut unobserved)
            .unwrap_err()
            .to_string()
    };
    assert!(fails(0, "a red dog").contains("0 sampling steps"));
    let size = |size| {
        let way = TextToImage { size: Some(size), ..TextToImage::new(&pipeline, 2, 2.0) };
        way.generate(&["a red dog"], &[0], &NoAdapter, &mut unobserved)
    };
    let error = size([9, 12]).unwrap_err().to_string();
    assert!(error.contains("multiples of 2") && error.contains("take 10 x 12"), "{error}");
    assert!(size([0, 8]).is_err());
    assert_eq!(size([12, 8]).unwrap().dims(), [1, 3, 12, 8]);
    assert!(fails(3, "a purple dog").contains("unknown words: purple"));
}

fn hypernet(base: &dyn Base) -> Hypernet {
    let config = HypernetConfig {
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    config.init(3, &Device::flex()).unwrap()
}

fn adapted(pipeline: &StableDiffusion, hypernet: &Hypernet, variant: Variant) -> Tensor<4> {
    let source = HyperSource::new(hypernet, pipeline, variant, vec![2]);
    let way = TextToImage::new(pipeline, 4, 2.0);
    way.generate(&["a red dog", "a blue heart"], &[5, 6], &source, &mut unobserved).unwrap()
}

#[test]
fn an_untrained_adapter_leaves_the_base_as_it_is() {
    let pipeline = pipeline();
    let base =
        pictures(&TextToImage::new(&pipeline, 4, 2.0), &["a red dog", "a blue heart"], &[5, 6]);
    let hypernet = hypernet(&pipeline);
    for variant in [Variant::S, Variant::P, Variant::I] {
        assert_eq!(distance(adapted(&pipeline, &hypernet, variant), base.clone()), 0.0);
    }
}

#[test]
fn variants_of_one_trained_network_differ() {
    let pipeline = pipeline();
    let hypernet = shaken(hypernet(&pipeline), 0.3);
    let [s, p, i] =
        [Variant::S, Variant::P, Variant::I].map(|variant| adapted(&pipeline, &hypernet, variant));
    assert!(distance(s.clone(), p.clone()) > 1e-6 && distance(p, i.clone()) > 1e-6);
    assert!(distance(s, i) > 1e-6);
}
