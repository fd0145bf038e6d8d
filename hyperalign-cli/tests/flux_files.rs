//! FLUX.1 as people have it: a file of Black Forest Labs, and the other parts beside it.

#[allow(dead_code, reason = "only the runner is needed")]
mod tiny;

use std::{fs, path::Path};

use hyperalign_core::{image::read_png, schedule::FlowSchedulerConfig, testing};
use hyperalign_models::{
    flux::FluxConfig,
    pipeline::{Flux, FluxParts},
    testing::{File, published_file, shaken, small_parts, write_file},
    vae::AutoencoderKlConfig,
    weights::{FileFloat, Folder, Key, keys, published, reinit},
};
use tiny::{World, message};

/// A flow with heads of the published width, whose other sizes are tiny, in the layout of diffusers
/// in `diffusers` and in that of its authors in `bfl`.
fn write_flux(world: &World, distilled: bool) {
    let device = testing::device();
    let transformer = FluxConfig {
        in_channels: 8,
        num_layers: 1,
        num_single_layers: 1,
        num_attention_heads: 1,
        joint_attention_dim: 10,
        pooled_projection_dim: 6,
        guidance_embeds: distilled,
        ..FluxConfig::default()
    };
    let vae = AutoencoderKlConfig {
        block_out_channels: vec![32, 32],
        layers_per_block: 1,
        latent_channels: 2,
        ..AutoencoderKlConfig::flux1()
    };
    let scheduler_config = match distilled {
        true => FlowSchedulerConfig::flux_dev(),
        false => FlowSchedulerConfig::flux_schnell(),
    };
    let parts = FluxParts {
        transformer: shaken(reinit(transformer.init(&device), 1), 0.02),
        vae: shaken(reinit(vae.init(&device), 1), 0.02),
        scheduler_config,
        ..small_parts(distilled, &device)
    };
    let flux = Flux::new("tiny", parts, &device).expect("parts that fit");
    flux.save(&world.path("diffusers"), FileFloat::F32).expect("the folder is written");
    let bfl = world.path("bfl");
    fs::create_dir(&bfl).expect("a new folder");
    for part in ["text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"] {
        copy(&world.path("diffusers").join(part), &bfl.join(part));
    }
    let transformer = published_file(&flux.transformer, published::flux, "");
    write_file(&bfl.join("flux1.safetensors"), &transformer);
    let vae = published_file(&flux.vae, published::vae(&keys(&flux.vae)), "");
    write_file(&bfl.join("ae.safetensors"), &vae);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// What `sample` with these flags exits with and says.
fn sample(world: &World, base: &str, out: &str, more: &[&str]) -> (Option<i32>, String) {
    let flags =
        ["sample", "--base", base, "--steps", "2", "--size", "16x8", "--prompt", "a red dog"];
    let output = world.run(&[&flags[..], &["--out", out], more].concat());
    (output.status.code(), message(&output))
}

#[test]
fn the_authors_files_make_the_picture_of_the_diffusers_folder() {
    for distilled in [true, false] {
        let world = World::new();
        write_flux(&world, distilled);
        // The rest from another place than the file's.
        fs::create_dir(world.path("alone")).unwrap();
        let alone = "alone/flux1.safetensors";
        fs::copy(world.path("bfl/flux1.safetensors"), world.path(alone)).unwrap();
        let picture = |base: &str, more: &[&str]| {
            let done = sample(&world, base, "x.png", more);
            assert_eq!(done.0, Some(0), "{base}: {}", done.1);
            let (pixels, metadata) = read_png(&world.path("x.png")).unwrap();
            let settings = metadata.hyperalign.unwrap();
            (pixels, settings["base_hash"].clone(), settings["guidance_scale"].clone())
        };
        let expected = picture("diffusers", &[]);
        assert_eq!(expected.2, if distilled { 3.5 } else { 1.0 });
        assert!(picture("bfl", &[]) == expected, "as a folder");
        assert!(picture("bfl/flux1.safetensors", &[]) == expected, "as a file");
        assert!(picture(alone, &["--components", "bfl"]) == expected, "from two places");
        let half = picture("bfl", &["--dtype", "transformer=bf16"]);
        assert!(half.0 != expected.0 && half.1 == expected.1, "in half precision");
        // Where nobody has ae.safetensors, the autoencoder of diffusers does.
        fs::remove_file(world.path("bfl/ae.safetensors")).unwrap();
        copy(&world.path("diffusers/vae"), &world.path("bfl/vae"));
        assert!(picture("bfl", &[]) == expected, "with the autoencoder of diffusers");
    }
}

#[test]
fn what_is_missing_is_named_with_the_places() {
    let world = World::new();
    write_flux(&world, true);
    let fails = |base: &str, more: &[&str], parts: &[&str]| {
        let (code, message) = sample(&world, base, "x.png", more);
        assert_eq!(code, Some(1), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!world.path("x.png").exists());
    };
    fails("bfl", &["--dtype", "unet=bf16"], &["FluxPipeline has no part `unet`", "transformer"]);
    fs::copy(world.path("bfl/flux1.safetensors"), world.path("bfl/other.safetensors")).unwrap();
    fails("bfl", &[], &["several models", "flux1.safetensors", "other.safetensors"]);
    fs::remove_file(world.path("bfl/other.safetensors")).unwrap();
    fs::remove_file(world.path("bfl/ae.safetensors")).unwrap();
    fs::remove_dir_all(world.path("bfl/text_encoder_2")).unwrap();
    fails("bfl", &[], &["text_encoder_2", "ae.safetensors", "--components"]);
    fs::create_dir(world.path("empty")).unwrap();
    let file = "bfl/flux1.safetensors";
    fails(file, &["--components", "empty"], &["text_encoder_2", "looked for in empty and bfl"]);
    fails("bfl", &["--tokenizer", "bfl/tokenizer"], &["whose other parts are among"]);
    fails("bfl/text_encoder/model.safetensors", &[], &["CLIP's text encoder", "Black Forest Labs"]);
}

/// Noise along the way is for the solvers that know how much of it there must be.
#[test]
fn noise_in_a_flow_needs_a_solver_for_it() {
    let world = World::new();
    write_flux(&world, true);
    let (code, message) = sample(&world, "bfl", "x.png", &["--eta", "0.5"]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("eta") && message.contains("flow-sde"), "{message}");
    for flags in [
        &["--scheduler", "flow-sde-dance", "--eta", "0.5"][..],
        &["--scheduler", "flow-sde-grpo", "--eta", "0.5"],
        &["--scheduler", "flow-heun"],
        &["--scheduler", "flow-unipc"],
    ] {
        let (code, message) = sample(&world, "bfl", "x.png", flags);
        assert_eq!(code, Some(0), "{message}");
    }
}

/// A network that is told its guidance has no second prompt to be led away from; any other has.
#[test]
fn a_negative_prompt_needs_an_unconditional_answer() {
    let flags = ["--negative", "a blue dog", "--guidance", "2"];
    let of = |distilled| {
        let world = World::new();
        write_flux(&world, distilled);
        sample(&world, "bfl", "x.png", &flags)
    };
    let (code, message) = of(true);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("`--negative`") && message.contains("distilled"), "{message}");
    let (code, message) = of(false);
    assert_eq!(code, Some(0), "{message}");
}

/// What published text encoders hold beside their weights: the positions of CLIP, and T5's table
/// of tokens under both of its names.
#[test]
fn known_extras_of_a_folder_are_named_and_nothing_else_is_passed_over() {
    let world = World::new();
    write_flux(&world, true);
    let folder = world.path("diffusers");
    let flux = Flux::from_folder(&Folder::disk(&folder), &testing::device()).unwrap();
    let same = |key: &Key| published::Source::named(&key.name);
    let clip = published_file(&flux.text_encoder, same, "");
    let t5 = published_file(&flux.text_encoder_2, same, "");
    let positions = clip["text_model.embeddings.position_embedding.weight"].0[0];
    let table = t5["shared.weight"].clone();
    let ids = |count: usize| (vec![1, count], (0..count).map(|id| id as f32).collect());

    let write = |part: &str, file: &File, key: &str, tensor: (Vec<usize>, Vec<f32>)| {
        let mut file = file.clone();
        file.insert(key.to_owned(), tensor);
        write_file(&folder.join(part).join("model.safetensors"), &file);
    };
    let inspect = || {
        let output = world.run(&["inspect", "checkpoint", "diffusers"]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer)
    };
    let (ids_key, table_key) =
        ("text_model.embeddings.position_ids", "encoder.embed_tokens.weight");
    write("text_encoder", &clip, ids_key, ids(positions));
    write("text_encoder_2", &t5, table_key, table.clone());
    let (status, said) = sample(&world, "diffusers", "out.png", &[]);
    assert_eq!(status, Some(0), "{said}");
    let expected = "passed over in diffusers: 1 list position_ids, 1 second table of T5's tokens";
    assert!(said.contains(expected), "{said}");
    let (status, answer) = inspect();
    assert_eq!(status, Some(0), "{answer}");
    let parts = answer["parts"].as_array().unwrap();
    let passed_over: Vec<_> = parts
        .iter()
        .flat_map(|part| part["passed_over"].as_array().unwrap())
        .map(|key| key.as_str().unwrap())
        .collect();
    assert_eq!(passed_over, [ids_key, table_key]);
    assert_eq!(parts.iter().map(|part| part["extra"].as_array().unwrap().len()).sum::<usize>(), 0);

    // Another shape, another name, another network: an extra that is not known.
    let (two, small) = ((vec![2], vec![0.0; 2]), (vec![1, 1], vec![0.0]));
    for (part, file, key, tensor) in [
        ("text_encoder", &clip, ids_key, ids(positions + 1)),
        ("text_encoder", &clip, "other.embeddings.position_ids", ids(positions)),
        ("text_encoder", &clip, "model_ema.decay", two.clone()),
        ("text_encoder_2", &t5, table_key, small),
        ("text_encoder_2", &t5, "betas", two),
        ("text_encoder_2", &t5, "decoder.embed_tokens.weight", table),
    ] {
        write("text_encoder", &clip, ids_key, ids(positions));
        write_file(&folder.join("text_encoder_2/model.safetensors"), &t5);
        write(part, file, key, tensor);
        let (status, said) = sample(&world, "diffusers", "other.png", &[]);
        assert!(status == Some(1) && said.contains(key), "{key}: {said}");
        let (status, answer) = inspect();
        assert_eq!(status, Some(1), "{key}: {answer}");
        assert!(answer["problems"].to_string().contains(key), "{answer}");
    }
}
