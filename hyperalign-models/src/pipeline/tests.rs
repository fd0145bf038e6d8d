use burn::tensor::{Device, Tensor};
use hyperalign_core::{contract::NoAdapter, sampler::unobserved};

use super::*;
use crate::{
    generate::{Generation, Sampling},
    testing::small_base,
    tokenizer::Tokenizer,
    weights::{FileFloat, Folder},
};

fn pipeline() -> StableDiffusion {
    small_base(1, &Device::flex())
}

fn latents(pipeline: &StableDiffusion) -> Tensor<4> {
    let prompts = ["a red dog".to_owned()];
    let generation = Generation::new(pipeline, &Sampling::new(2, 3.0), &prompts).unwrap();
    generation.run(&NoAdapter, &[1], &mut unobserved).sample
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
    latents(&again).into_data().assert_eq(&latents(&pipeline).into_data(), true);
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
