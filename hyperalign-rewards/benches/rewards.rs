//! What a reward costs around its network: scores and gradients at tiny sizes, and the resize at
//! the published one. `cargo bench -p hyperalign-rewards`.
//!
//! The networks are tiny, so that what is seen is the work of the reward itself: preparing
//! pictures, tokens, the tape. `cargo xtask bench rewards` times the published sizes.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

#[path = "../tests/tiny/mod.rs"]
mod tiny;

use std::sync::Arc;

use burn::tensor::Tensor;
use divan::Bencher;
use hyperalign_core::image::from_images;
use hyperalign_core::testing;
use hyperalign_models::clip::ClipPreprocess;
use hyperalign_rewards::{Files, Prompt, Reward};

/// A CLIP, one that reads the timestep, a head over a CLIP, a BLIP.
const REWARDS: [&str; 4] = ["pick_score", "spm", "aesthetic", "image_reward"];
const BATCH: usize = 4;
/// Sides of the pictures that are resized, in pixels.
const SIDES: [u32; 3] = [64, 512, 1024];

fn main() {
    divan::main();
}

fn opened(name: &str) -> Arc<dyn Reward> {
    let folder = match name {
        "image_reward" => tiny::blip_folder(),
        "spm" => tiny::step_aware_folder(),
        _ => tiny::clip_folder(),
    };
    tiny::open(name, &Files::all(Some(folder.path())), &testing::device()).unwrap()
}

fn batch() -> (Tensor<4>, Vec<Prompt>) {
    let pictures: Vec<_> = (0..BATCH).map(|k| tiny::picture(64, 64, k as f64)).collect();
    (from_images(&pictures, &testing::device()), tiny::prompts(&["a red heart"; BATCH]))
}

/// Four pictures of 64x64 as tensors.
#[divan::bench(args = REWARDS, max_time = 2)]
fn score(bencher: Bencher, name: &str) {
    let (reward, (images, prompts)) = (opened(name), batch());
    bencher.bench_local(|| reward.score(images.clone(), &prompts).into_data());
}

/// The same with the gradients to the pixels.
#[divan::bench(args = REWARDS, max_time = 2)]
fn score_with_gradient(bencher: Bencher, name: &str) {
    let (reward, (images, prompts)) = (opened(name), batch());
    bencher.bench_local(|| {
        let (scores, gradients) = reward.score_with_gradient(images.clone(), &prompts);
        (scores.into_data(), gradients.into_data())
    });
}

/// A square picture to the 224 pixels of the published networks, as PIL does it.
#[divan::bench(args = SIDES, max_time = 2)]
fn resize_8_bit(bencher: Bencher, side: u32) {
    let (preprocess, picture) = (ClipPreprocess::new(224), tiny::picture(side, side, 0.0));
    bencher.bench_local(|| preprocess.picture(&picture, &testing::device()).into_data());
}

/// The same as a tensor, as two matrix products.
#[divan::bench(args = SIDES, max_time = 2)]
fn resize_tensor(bencher: Bencher, side: u32) {
    let picture = tiny::picture(side, side, 0.0);
    let (preprocess, image) =
        (ClipPreprocess::new(224), from_images(&[picture], &testing::device()));
    bencher.bench_local(|| preprocess.forward(image.clone()).into_data());
}
