//! Published rewards from files in their published layouts, with tiny networks in them.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc};

use burn::tensor::Tensor;
use hyperalign_core::{image::from_images, resize::Normalization, testing};
use hyperalign_models::weights::Folder;
use hyperalign_rewards::{
    ClipReward, Files, OpenError, Reward, ScoreError, entry, network_of, registry,
};
use image::{Rgb, RgbImage};

mod tiny;

use tiny::{
    add, blip_folder, clip_folder, head, open, picture, prompts, safetensors, step_aware_folder,
    write,
};

fn opened(name: &str, folder: &Path) -> Arc<dyn Reward> {
    open(name, &Files::all(Some(folder)), &testing::device()).unwrap()
}

fn all() -> Vec<(tempfile::TempDir, Arc<dyn Reward>)> {
    // GenEval's judges by rules, and has tests of its own.
    let each = registry().iter().filter(|entry| entry.name != "geneval").map(|entry| {
        let folder = match entry.name {
            "image_reward" => blip_folder(),
            "spm" => step_aware_folder(),
            _ => clip_folder(),
        };
        let reward = opened(entry.name, folder.path());
        (folder, reward)
    });
    each.collect()
}

fn values(scores: Tensor<1>) -> Vec<f32> {
    scores.into_data().iter().collect()
}

#[test]
fn both_ways_to_a_score_agree_up_to_rounding() {
    let device = testing::device();
    let images = [picture(40, 30, 0.0), picture(40, 30, 2.0)];
    let texts = prompts(&["a red heart", "a blue dog"]);
    for (_folder, reward) in all() {
        let tensors = values(reward.score(from_images(&images, &device), &texts));
        let pictures = reward.score_pictures(&images, &texts, &device);
        let name = reward.name();
        assert!((tensors[0] - tensors[1]).abs() > 1e-4, "{name} does not look: {tensors:?}");
        let scale = tensors.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        for (a, b) in tensors.iter().zip(&pictures) {
            assert!((a - b).abs() < 0.02 * scale, "{name}: {tensors:?} {pictures:?}");
        }
        // Pictures of one call may differ in size, and do not see each other.
        let mixed = [picture(20, 64, 1.0), images[1].clone()];
        let alone = reward.score_pictures(&mixed[1..], &texts[1..], &device);
        let together = reward.score_pictures(&mixed, &texts, &device);
        assert!((together[1] - alone[0]).abs() < 1e-5 * scale, "{name}");
        assert!(reward.score_pictures(&[], &[], &device).is_empty());
    }
}

/// The gradient to the pixels, through preprocessing, against central differences.
#[test]
fn gradients_reach_the_pixels() {
    let device = testing::device();
    let texts = prompts(&["a red heart"]);
    for (_folder, reward) in all() {
        assert!(reward.differentiable());
        let image = from_images(&[picture(20, 16, 0.5)], &device).mul_scalar(0.8);
        let (score, gradient) = reward.score_with_gradient(image.clone(), &texts);
        let off_tape = values(reward.score(image.clone(), &texts))[0];
        assert!((values(score)[0] - off_tape).abs() < 1e-5 * off_tape.abs().max(1.0));
        // Along the gradient itself, where f32 has digits left.
        let squared: f32 = gradient.clone().square().sum().into_scalar();
        let length = squared.sqrt();
        let step = 0.01;
        let along = gradient.div_scalar(length).mul_scalar(step);
        let up = values(reward.score(image.clone() + along.clone(), &texts))[0];
        let down = values(reward.score(image - along, &texts))[0];
        let numeric = (up - down) / (2.0 * step);
        let name = reward.name();
        assert!(
            length > 0.0 && (numeric - length).abs() < 0.03 * length,
            "{name}: {numeric} {length}"
        );
    }
}

#[test]
fn prompts_matter_where_they_should() {
    let device = testing::device();
    let images = [picture(16, 16, 0.0)];
    for (_folder, reward) in all() {
        let score = |text| reward.score_pictures(&images, &prompts(&[text]), &device)[0];
        let same = score("a red heart") == score("a blue dog");
        assert_eq!(same, reward.name() == "aesthetic", "{}", reward.name());
        assert_eq!(same, !reward.needs_prompt(), "{}", reward.name());
    }
}

#[test]
fn every_score_says_what_it_is() {
    let folder = clip_folder();
    let version = |name| opened(name, folder.path()).version();
    // A network of other sizes is never called by the published one's name.
    for name in ["hps_v2", "hps_v2.1", "pick_score", "clip_score"] {
        let version = version(name);
        assert!(version.starts_with("not of the published sizes, "), "{version}");
        assert!(!version.contains("ViT"), "{version}");
    }
    let head = "not of the published sizes, sac+logos+ava1-l14-linearMSE ";
    assert!(version("aesthetic").starts_with(head));
    // PickScore has CLIP's factor on the cosine, the others have none.
    let device = testing::device();
    let (images, texts) = ([picture(16, 16, 0.0)], prompts(&["a dog"]));
    let score = |name| opened(name, folder.path()).score_pictures(&images, &texts, &device)[0];
    let factor = 2.6592_f32.exp();
    assert!((score("pick_score") - factor * score("clip_score")).abs() < 1e-4 * factor);
}

/// Estimates of early steps are told from finished pictures by what is step-aware, and by nothing else.
#[test]
fn a_step_aware_reward_reads_the_timestep() {
    let device = testing::device();
    let images = from_images(&[picture(30, 20, 0.3), picture(30, 20, 1.0)], &device);
    let texts = prompts(&["a red heart", "a blue dog"]);
    let at = |reward: &dyn Reward, timesteps: [f64; 2]| {
        values(reward.score_at(images.clone(), &texts, Tensor::from_data(timesteps, &device)))
    };
    for (_folder, reward) in all() {
        let (clean, early) = (at(reward.as_ref(), [0.0; 2]), at(reward.as_ref(), [0.0, 800.0]));
        let name = reward.name();
        assert_eq!(clean, values(reward.score(images.clone(), &texts)), "{name}");
        assert_eq!(clean[0], early[0], "{name}");
        assert_eq!(clean[1] != early[1], name == "spm", "{name}: {clean:?} {early:?}");
    }
    // A mix passes the timesteps on, and tables read tensors as they are.
    let folder = step_aware_folder();
    let (alone, mix) = (opened("spm", folder.path()), opened("mix:2*spm(1,1)", folder.path()));
    let timesteps = Tensor::from_data([300.0, 800.0], &device);
    let measured = mix.measure_at(&images, &texts, timesteps);
    for (mixed, score) in measured.into_iter().zip(at(alone.as_ref(), [300.0, 800.0])) {
        assert!((mixed - 2.0 * (score - 1.0)).abs() < 1e-4, "{mixed} {score}");
    }
}

#[test]
fn a_network_that_reads_no_timestep_is_no_step_aware_one() {
    let folder = clip_folder();
    let error = open("spm", &Files::all(Some(folder.path())), &testing::device()).err().unwrap();
    assert!(error.to_string().contains("t_embedder.mlp.0.weight"), "{error}");
    // And the other way round: it is called what it is.
    let folder = step_aware_folder();
    let version = opened("pick_score", folder.path()).version();
    assert!(version.starts_with("not of the published sizes, "), "{version}");
}

/// HPSv2 as older versions of torchvision prepared its pictures.
#[test]
fn without_antialiasing_the_score_is_another() {
    let (folder, device) = (clip_folder(), testing::device());
    let texts = prompts(&["a dog"]);
    // Nine pixels to one of the network's: sampling meets the pattern, averaging sees grey.
    let fine = RgbImage::from_fn(108, 108, |x, y| Rgb([((x + y) % 2 * 255) as u8; 3]));
    for name in ["hps_v2", "hps_v2.1"] {
        let other = format!("{name}_no_antialias");
        assert_eq!(network_of(&other), name);
        let [a, b] = [name, &other].map(|name| opened(name, folder.path()));
        let both = |picture: &RgbImage| {
            let score = |reward: &dyn Reward| {
                reward.score_pictures(std::slice::from_ref(picture), &texts, &device)[0]
            };
            (score(a.as_ref()), score(b.as_ref()))
        };
        let (a, b) = both(&fine);
        assert!((a - b).abs() > 1e-4, "a fine pattern aliases: {a} {b}");
        // The network's own size is not resized.
        let (a, b) = both(&picture(12, 12, 0.3));
        assert_eq!(a, b);
    }
}

/// Weights of another CLIP are not the reward that is named, whatever the file is called.
#[test]
fn only_the_published_sizes_have_the_published_name() {
    let (clip, blip) = (clip_folder(), blip_folder());
    let device = testing::device();
    for entry in registry().iter().filter(|entry| entry.name != "geneval") {
        let is_blip = entry.name == "image_reward";
        let folder = if is_blip { blip.path() } else { clip.path() };
        let error = entry.open(folder, &device).err().unwrap();
        let message = error.to_string();
        assert!(matches!(error, OpenError::Sizes { .. }), "{message}");
        let wanted = match entry.name {
            "image_reward" => "vision.depth is 1 instead of 24",
            "clip_score" | "aesthetic" => "text_config.hidden_size is 8 instead of 768",
            _ => "text_config.hidden_size is 8 instead of 1024",
        };
        for words in [wanted, entry.name, "config.json", "more;"] {
            assert!(message.contains(words), "no `{words}` in {message}");
        }
    }
    // Without the file that states the sizes the weights themselves do not fit.
    std::fs::remove_file(clip.path().join("config.json")).unwrap();
    let error = entry("clip_score").unwrap().open(clip.path(), &device).err().unwrap();
    assert!(matches!(error, OpenError::Load(_)), "{error}");
}

/// BERT's older layout: a list of word pieces instead of the `tokenizer.json`.
#[test]
fn image_reward_reads_a_list_of_word_pieces() {
    let (folder, device) = (blip_folder(), testing::device());
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let files = Files::all(Some(folder.path()));
    let message = open("image_reward", &files, &device).err().unwrap().to_string();
    assert!(message.contains("vocab.txt"), "{message}");
    let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\nheart\n";
    write(folder.path(), "vocab.txt", vocab);
    let reward = opened("image_reward", folder.path());
    let images = [picture(16, 16, 0.0)];
    let score = |text| reward.score_pictures(&images, &prompts(&[text]), &device)[0];
    assert!((score("a red heart") - score("a heart")).abs() > 1e-5);
    assert_eq!(score("A red dog"), score("a red gryphon"), "both are unknown");
}

#[test]
fn a_mix_is_opened_like_one() {
    let (clip, blip) = (clip_folder(), blip_folder());
    let files = Files::new([
        clip.path().to_str().unwrap().to_owned(),
        format!("image_reward={}", blip.path().display()),
    ]);
    let device = testing::device();
    let text = "mix:2*clip_score(0.1,0.5)+image_reward";
    let mix = open(text, &files, &device).unwrap();
    assert!(mix.needs_prompt());
    assert!(open("mix:aesthetic+clip_score", &files, &device).unwrap().needs_prompt());
    assert!(!open("mix:2*aesthetic(5,1)", &files, &device).unwrap().needs_prompt());
    let (images, texts) = ([picture(16, 16, 0.0)], prompts(&["a dog"]));
    let score = |reward: &dyn Reward| reward.score_pictures(&images, &texts, &device)[0];
    let parts = [opened("clip_score", clip.path()), opened("image_reward", blip.path())];
    let [a, b] = parts.map(|reward| score(reward.as_ref()));
    assert!((score(mix.as_ref()) - (2.0 * (a - 0.1) / 0.5 + b)).abs() < 1e-5);
}

#[test]
fn known_extras_are_named_and_others_refused() {
    let positions = |name: &str| (name.to_owned(), vec![1, 9]);
    let clip = positions("text_model.embeddings.position_ids");
    let bert = positions("blip.text_encoder.embeddings.position_ids");
    let projection = ("blip.vision_proj.weight".to_owned(), vec![256, 12]);
    let cases = [
        ("pick_score", "model.safetensors", vec![clip], "other_model.embeddings.position_ids"),
        ("image_reward", "ImageReward.pt", vec![bert, projection], "blip.other.position_ids"),
        ("image_reward", "ImageReward.pt", vec![], "blip.vision_proj.other"),
    ];
    for (name, file, extras, other) in cases {
        let folder = if name == "image_reward" { blip_folder() } else { clip_folder() };
        let path = folder.path().join(file);
        add(&path, &extras);
        let reward = opened(name, folder.path());
        let names: Vec<String> = extras.into_iter().map(|(name, _)| name).collect();
        assert_eq!(reward.passed_over(), names);
        add(&path, &[positions(other)]);
        let error = open(name, &Files::all(Some(folder.path())), &testing::device()).err().unwrap();
        // In the names of the file, or of the network below `blip.`.
        let name = other.trim_start_matches("blip.");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Another CLIP than the published ones, from a folder as transformers writes it.
#[test]
fn a_folder_of_any_clip_is_a_reward() {
    let (folder, device) = (clip_folder(), testing::device());
    let extra = ("text_model.embeddings.position_ids".to_owned(), vec![1, 9]);
    add(&folder.path().join("model.safetensors"), std::slice::from_ref(&extra));
    let Normalization { mean, std } = Normalization::CLIP;
    let json = serde_json::json!({"do_resize": true, "image_mean": mean, "image_std": std});
    write(folder.path(), "preprocessor_config.json", json.to_string());
    let reward =
        ClipReward::from_folder("mine", &Folder::disk(folder.path()), "", &device).unwrap();
    assert_eq!(reward.passed_over(), [extra.0]);
    // The same numbers as PickScore's, which is such a folder too, for pictures of any size.
    let (images, texts) = ([picture(40, 30, 0.2)], prompts(&["a red heart"]));
    let score = |reward: &dyn Reward| reward.score_pictures(&images, &texts, &device)[0];
    let published = opened("pick_score", folder.path());
    assert!((score(&reward) - score(published.as_ref())).abs() < 1e-5);
}

#[test]
fn what_cannot_be_opened_is_said() {
    let device = testing::device();
    let folder = clip_folder();
    let fails = |name: &str, files: &Files| open(name, files, &device).err().unwrap();
    let here = Files::all(Some(folder.path()));
    assert!(matches!(fails("hps", &here), OpenError::Unknown { .. }));
    assert!(fails("mix:hps_v2+", &here).to_string().contains("no part of a mix"));
    let nothing = fails("image_reward", &Files::default()).to_string();
    assert!(nothing.contains("ImageReward.pt"), "{nothing}");
    let missing = Files::new(["/no/such/place"]);
    assert!(matches!(fails("hps_v2", &missing), OpenError::NoPath { .. }));

    // Weights of another model.
    let blip = blip_folder();
    std::fs::remove_file(blip.path().join("config.json")).unwrap();
    let other = Files::new([blip.path().join("ImageReward.pt").to_str().unwrap()]);
    assert!(matches!(fails("hps_v2", &other), OpenError::Load(_)));
    // A head for other features.
    let head_file = "sac+logos+ava1-l14-linearMSE.safetensors";
    write(folder.path(), head_file, safetensors(&head("", 7)));
    assert!(matches!(fails("aesthetic", &here), OpenError::Width { expected: 6, found: 7, .. }));
    // No tokenizer, no weights.
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(matches!(fails("clip_score", &here), OpenError::NoTokenizer { .. }));
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let message = fails("hps_v2", &here).to_string();
    assert!(message.contains("HPS_v2_compressed.pt"), "{message}");
}

#[test]
fn what_cannot_be_scored_is_said() {
    let folder = clip_folder();
    let reward = opened("clip_score", folder.path());
    let texts = prompts(&["a dog"]);
    assert!(reward.check([1, 1], &texts).is_ok());
    let thin = reward.check([1, 20_000], &texts);
    assert!(matches!(thin, Err(ScoreError::Elongated { .. })));
    let unknown = reward.check([8, 8], &prompts(&["a gryphon"]));
    assert!(unknown.unwrap_err().to_string().contains("gryphon"));
}
