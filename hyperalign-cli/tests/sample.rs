//! `hyperalign sample` on the smallest base that has every part.

mod tiny;

use std::path::Path;
use std::process::Output;

use hyperalign_core::image;
use hyperalign_core::testing;
use hyperalign_models::{testing::small_flux, weights::FileFloat};
use sha2::{Digest, Sha256};

use tiny::{World, message, write_adapter, write_base};

/// Runs `hyperalign sample --base base --steps 2 ARGUMENTS`, or with the steps among them.
fn sample(world: &World, arguments: &[&str]) -> Output {
    sample_from(world, "base", arguments)
}

fn sample_from(world: &World, base: &str, arguments: &[&str]) -> Output {
    let steps = if arguments.contains(&"--steps") { vec![] } else { vec!["--steps", "2"] };
    world.run(&[&["sample", "--base", base], arguments, &steps].concat())
}

#[test]
fn a_picture_says_how_it_was_made() {
    let world = World::new();
    let output = sample(&world, &["--prompt", "a red dog", "--seed", "7", "--out", "new/dog.png"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (picture, metadata) = image::read_png(&world.path("new/dog.png")).unwrap();
    assert_eq!(picture.dimensions(), (8, 8));
    let parameters = metadata.parameters.unwrap();
    assert_eq!((parameters.prompt.as_str(), parameters.seed), ("a red dog", 7));
    let everything = metadata.hyperalign.unwrap();
    assert_eq!(everything["variant"], "none");
    assert_eq!(everything["steps"], 2);
    assert_eq!(everything["size"], serde_json::json!([8, 8]));
    assert_eq!((&everything["dtype"], &everything["device"]), (&"f32".into(), &"cpu".into()));
    assert!(everything["adapter_sha256"].is_null() && everything["preview_codec"].is_null());
}

#[test]
fn an_untrained_adapter_changes_nothing_and_is_named_in_the_picture() {
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    let prompt = ["--prompt", "a blue heart"];
    sample(&world, &[&prompt[..], &["--out", "base.png"]].concat());
    let adapter = ["--adapter", "adapter.safetensors", "--variant", "i", "--out", "adapted.png"];
    let output = sample(&world, &[&prompt[..], &adapter].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (base, _) = image::read_png(&world.path("base.png")).unwrap();
    let (adapted, metadata) = image::read_png(&world.path("adapted.png")).unwrap();
    assert_eq!(base, adapted);
    let everything = metadata.hyperalign.unwrap();
    assert_eq!(everything["variant"], "i");
    assert!(everything["key_steps"].is_null(), "{everything}");
    let digest = Sha256::digest(std::fs::read(world.path("adapter.safetensors")).unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(everything["adapter_sha256"], digest);
}

/// What a picture is led away from changes it, stands in its file, and is nothing where it is empty.
#[test]
fn a_negative_prompt_is_read_and_kept() {
    let world = World::new();
    let make = |file: &str, flags: &[&str]| {
        let flags = [&["--prompt", "a red dog", "--out", file], flags].concat();
        let output = sample(&world, &flags);
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        let (picture, metadata) = image::read_png(&world.path(file)).unwrap();
        let everything = metadata.hyperalign.unwrap();
        let kept = everything["negative_prompt"].as_str().unwrap().to_owned();
        assert_eq!(kept, metadata.parameters.unwrap().negative_prompt);
        (picture, kept)
    };
    let plain = make("plain.png", &[]);
    assert_eq!(plain.1, "");
    assert_eq!(make("empty.png", &["--negative", ""]), plain);
    let led = make("led.png", &["--negative", "a blue dog"]);
    assert_eq!(led.1, "a blue dog");
    assert!(led.0 != plain.0);
    let flags = ["--prompt", "a dog", "--negative", "a blue dog", "--guidance", "1"];
    let output = sample(&world, &[&flags[..], &["--out", "no.png"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    assert!(message(&output).contains("`--negative` has no meaning here: the weight of guidance"));
    assert!(!world.path("no.png").exists());
}

#[test]
fn prompts_come_from_files_too() {
    let world = World::new();
    std::fs::write(world.path("parti.tsv"), "Prompt\tCategory\na dog\tA\na heart\tB\na red\tB\n")
        .expect("prompts are written");
    let flags = ["--prompt", "a blue dog", "--prompts", "parti.tsv", "--limit", "2"];
    let output = sample(&world, &[&flags[..], &["--out", "p.png", "--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let pictures = answer["pictures"].as_array().unwrap().iter();
    let prompts: Vec<&str> = pictures.map(|picture| picture["prompt"].as_str().unwrap()).collect();
    assert_eq!(prompts, ["a blue dog", "a dog", "a heart"]);
    let (_, metadata) = image::read_png(&world.path("p-3.png")).unwrap();
    assert_eq!(metadata.parameters.unwrap().prompt, "a heart");
    let output = sample(&world, &["--out", "p.png"]);
    assert_eq!(output.status.code(), Some(2), "neither --prompt nor --prompts");
    let output = sample(&world, &["--prompts", "missing.txt", "--out", "p.png"]);
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
}

#[test]
fn several_pictures_do_not_depend_on_each_other() {
    let world = World::new();
    let many = ["--prompt", "a dog", "--prompt", "a heart", "--seed", "1", "--seed", "2"];
    let output = sample(&world, &[&many[..], &["--out", "p.png", "--json"]].concat());
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["pictures"][2]["file"], "p-3.png");
    assert_eq!(answer["pictures"].as_array().unwrap().len(), 4);
    sample(&world, &["--prompt", "a heart", "--seed", "1", "--out", "alone.png"]);
    let (together, _) = image::read_png(&world.path("p-3.png")).unwrap();
    let (alone, _) = image::read_png(&world.path("alone.png")).unwrap();
    let differs = together.as_raw().iter().zip(alone.as_raw()).any(|(a, b)| a.abs_diff(*b) > 1);
    assert!(!differs);
}

#[test]
fn an_adapter_comes_with_the_program() {
    let world = World::new();
    let picture = |out: &str, arguments: &[&str]| {
        let flags = ["--prompt", "a dog", "--seed", "7", "--steps", "2", "--out", out];
        let output = sample_from(&world, "emoji-sd", &[&flags, arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        image::read_png(&world.path(out)).unwrap()
    };
    let (own, metadata) = picture("own.png", &["--variant", "s"]);
    assert_eq!(own, picture("named.png", &["--adapter", "emoji-sd-s"]).0);
    assert_ne!(own, picture("base.png", &[]).0);
    let about = metadata.hyperalign.unwrap();
    assert_eq!(about["adapter"], "emoji-sd-s");
    assert_eq!(about["adapter_sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let world = World::new();
    write_base(&world.path("other"), 2);
    write_adapter(&world.path("other.safetensors"), &world.path("other"));
    std::fs::write(world.path("broken.safetensors"), "not tensors").unwrap();
    std::fs::write(world.path("file"), "").unwrap();
    let fails = |base: &str, arguments: &[&str], words: &[&str]| {
        let prompt =
            if arguments.contains(&"--prompt") { vec![] } else { vec!["--prompt", "a dog"] };
        let out = if arguments.contains(&"--out") { vec![] } else { vec!["--out", "x.png"] };
        let output = sample_from(&world, base, &[&prompt[..], &out, arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        for word in words {
            assert!(message(&output).contains(word), "no `{word}` in {}", message(&output));
        }
    };
    fails("emojis", &[], &["unknown base `emojis`", "embedded"]);
    fails("base", &["--prompt", "a purple dog"], &["purple"]);
    fails("base", &["--variant", "s"], &["`--variant s` needs an adapter", "--adapter FILE"]);
    fails("base", &["--adapter", "other.safetensors"], &["trained on the base `tiny`"]);
    fails("base", &["--adapter", "broken.safetensors"], &["broken.safetensors"]);
    fails("base", &["--adapter", "none.safetensors"], &["none.safetensors"]);
    fails("base", &["--adapter", "emoji-sd-p"], &["no adapter `emoji-sd-p`", "`emoji-sd-s`?"]);
    fails("base", &["--adapter", "emoji-sd-s"], &["trained on the base `emoji-sd`"]);
    fails("base", &["--out", "file/x.png"], &["file/x.png"]);
    fails("base", &["--steps", "2000"], &["2000"]);
    fails("base", &["--size", "9x8"], &["multiples of 2", "take 10 x 8"]);
    fails("base", &["--steps", "1000"], &["at most"]);
    fails("base", &["--scheduler", "flow-euler"], &["flow-euler is one for", "ddim, ddpm, pndm"]);
    fails("base", &["--scheduler", "pndm", "--eta", "0.5"], &["pndm has no eta"]);
    fails("base", &["--eta", "1.5"], &["eta 1.5 is not a number from 0 to 1"]);
    fails("base", &["--eta", "-1"], &["eta -1"]);
    assert!(!world.path("x.png").exists());
}

#[test]
fn a_flow_is_a_base_like_any_other() {
    let world = World::new();
    let flux = small_flux(true, &testing::device());
    flux.save(&world.path("flux"), FileFloat::F32).unwrap();
    let of_size = |size: &str| {
        let picture = ["--prompt", "a red dog", "--out", "dog.png", "--size", size];
        sample_from(&world, "flux", &picture)
    };
    let output = of_size("8x12");
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (picture, metadata) = image::read_png(&world.path("dog.png")).unwrap();
    assert_eq!(picture.dimensions(), (12, 8));
    assert_eq!(metadata.parameters.unwrap().sampler, "Euler");
    let everything = metadata.hyperalign.unwrap();
    assert_eq!(
        (&everything["base_hash"], &everything["guidance_scale"]),
        (&flux.hash().into(), &3.5.into())
    );
    let output = of_size("8x10");
    assert_eq!(output.status.code(), Some(1));
    assert!(message(&output).contains("multiples of 4"), "{}", message(&output));
}

/// Changes the bytes of a file.
fn damage(path: &Path, how: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("a file");
    how(&mut bytes);
    std::fs::write(path, bytes).expect("a writable folder");
}

#[test]
fn damaged_files_are_named() {
    let world = World::new();
    let nan = |bytes: &mut Vec<u8>| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().expect("bytes") ^= 1;
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let empty = |bytes: &mut Vec<u8>| bytes.clear();
    let fails = |file: &str, how: &dyn Fn(&mut Vec<u8>), words: &str| {
        write_base(&world.path("base"), 1);
        write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
        damage(&world.path(file), how);
        let adapter = ["--adapter", "adapter.safetensors", "--variant", "s"];
        let output =
            sample(&world, &[&["--prompt", "a dog", "--out", "x.png"][..], &adapter].concat());
        assert_eq!(output.status.code(), Some(1), "{file}: {}", message(&output));
        // The tokenizer is named by its folder. Long paths may be broken at a slash.
        let name = file.strip_suffix("/tokenizer.json").unwrap_or(file);
        let name = name.rsplit('/').next().expect("a name");
        for word in [words, name] {
            assert!(message(&output).contains(word), "no `{word}` in {}", message(&output));
        }
        assert!(!world.path("x.png").exists());
    };
    fails("adapter.safetensors", &cut, "not a whole safetensors file");
    fails("adapter.safetensors", &empty, "holds no weights: it is empty");
    fails("adapter.safetensors", &nan, "not finite");
    fails("adapter.safetensors", &flip, "not those that were written");
    for part in ["unet", "vae"] {
        let file = format!("base/{part}/diffusion_pytorch_model.safetensors");
        fails(&file, &cut, "not a whole safetensors file");
        fails(&file, &nan, "not finite");
    }
    fails("base/unet/config.json", &cut, "not the configuration that was expected");
    fails("base/tokenizer/tokenizer.json", &cut, "cannot be read");
    // A flipped weight makes another base, and the adapter does not belong to it.
    write_base(&world.path("base"), 1);
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    damage(&world.path("base/unet/diffusion_pytorch_model.safetensors"), flip);
    let adapter = ["--adapter", "adapter.safetensors", "--prompt", "a dog", "--out", "x.png"];
    let output = sample(&world, &adapter);
    assert!(message(&output).contains("was trained on the base"), "{}", message(&output));
}

/// A limit on the size of files stands for a full disk: the first byte that is written fails.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let world = World::new();
    let limited = |arguments: &[&str]| {
        let limit = ["-c", "ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hyperalign")];
        std::process::Command::new("sh")
            .args(limit)
            .args(arguments)
            .current_dir(world.path("."))
            .output()
            .unwrap()
    };
    let before = std::fs::read_dir(world.path(".")).unwrap().count();
    let flags = ["--base", "base", "--steps", "1", "--prompt", "a dog", "--out", "dog.png"];
    let output = limited(&[&["sample"], &flags[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    let told = message(&output);
    assert!(told.contains("cannot write `dog.png`") && told.contains("ulimit -f"), "{told}");
    assert_eq!(told.matches("os error").count(), 1, "the cause is told once: {told}");
    assert_eq!(std::fs::read_dir(world.path(".")).unwrap().count(), before);
    let output = limited(&["train", "--out", "run"]);
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    assert!(message(&output).contains("config.toml"), "{}", message(&output));
    assert_eq!(std::fs::read_dir(world.path("run")).map_or(0, Iterator::count), 0);
}

#[test]
fn wrong_usage_ends_with_2() {
    let world = World::new();
    let fails = |arguments: &[&str], words: &str| {
        let output = sample(&world, &[&["--prompt", "a dog"][..], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    fails(&["--out", "x.jpg"], "end the name in .png");
    fails(&["--out", "x.png", "--steps", "0"], "a whole number of at least 1");
    fails(&["--out", "x.png", "--steps", "-3"], "a whole number of at least 1");
    fails(&["--out", "x.png", "--seed", "-1"], "a seed is a whole number of at least 0");
    fails(&["--out", "x.png", "--size", "-8x8"], "each at least 1");
    fails(&["--out", "x.png", "--size", "0x8"], "each at least 1");
    fails(&["--out", "x.png", "--scheduler", "lcm"], "dpm++2m-karras");
    fails(&["--out", "x.png", "--variant", "x"], "none, s, p, i");
    fails(&[], "--out");
}

#[test]
fn half_precision_makes_nearly_the_same_picture() {
    let world = World::new();
    let prompt = ["--prompt", "a red dog"];
    sample(&world, &[&prompt[..], &["--out", "f32.png"]].concat());
    let half = ["--dtype", "unet=bf16,vae=f32", "--out", "half.png"];
    let output = sample(&world, &[&prompt[..], &half].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (exact, _) = image::read_png(&world.path("f32.png")).unwrap();
    let (half, _) = image::read_png(&world.path("half.png")).unwrap();
    let far = exact.as_raw().iter().zip(half.as_raw()).any(|(a, b)| a.abs_diff(*b) > 24);
    assert!(!far);
    let output = sample(&world, &[&prompt[..], &["--out", "x.png", "--dtype", "f8"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let told = message(&output);
    assert!(told.contains("write f32, f16, bf16, q8, q8-f16, q8-f32"), "{told}");
}

#[test]
fn what_a_prompt_loses_is_shown() {
    let world = World::new();
    let long = ["--prompt", "a red dog a blue heart", "--out", "x.png"];
    let output = sample(&world, &long);
    assert_eq!(output.status.code(), Some(0));
    assert!(message(&output).contains("warning: a prompt is longer than what the base reads"));
    assert!(message(&output).contains("cut off: `blue heart`"), "{}", message(&output));
    let output = sample(&world, &["--prompt", "a red dog", "--out", "x.png"]);
    assert!(message(&output).is_empty(), "{}", message(&output));
}

/// Of FLUX.1 the first encoder reads less than the second: 4 words and 6 here.
#[test]
fn each_encoder_says_what_it_loses() {
    let world = World::new();
    small_flux(true, &testing::device()).save(&world.path("flux"), FileFloat::F32).unwrap();
    let of = |prompt: &str| {
        let output = sample_from(&world, "flux", &["--prompt", prompt, "--out", "x.png"]);
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        message(&output)
    };
    let told = of("a red dog a blue");
    assert!(told.contains("(CLIP, the first text encoder: 6 tokens); cut off: `blue`"), "{told}");
    assert!(!told.contains("T5"), "{told}");
    let told = of("a red dog a blue heart red");
    assert!(told.contains("cut off: `blue heart red`"), "{told}");
    assert!(told.contains("(T5, the second text encoder: 7 tokens); cut off: `"), "{told}");
}

#[test]
fn files_that_are_no_base_are_told() {
    let world = World::new();
    let unet = world.path("base/unet/diffusion_pytorch_model.safetensors");
    std::fs::copy(&unet, world.path("unet.safetensors")).unwrap();
    std::fs::write(world.path("model.ckpt"), b"PK\x03\x04and so on").unwrap();
    std::fs::write(world.path("cut.safetensors"), &std::fs::read(&unet).unwrap()[..99]).unwrap();
    let fails = |base: &str, arguments: &[&str], words: &str| {
        let rest = [&["--prompt", "a dog", "--out", "x.png"][..], arguments].concat();
        let output = sample_from(&world, base, &rest);
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
        assert!(!message(&output).contains("panicked"), "{}", message(&output));
    };
    fails("unet.safetensors", &[], "a U-Net, in the layout of diffusers");
    fails("model.ckpt", &[], "is a pickle");
    fails("cut.safetensors", &[], "not a whole safetensors file");
    fails("base", &["--preview-codec", "."], "`--preview-codec` out");
    // A part that does not fit its configuration.
    let config = world.path("base/unet/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"layers_per_block\": 1", "\"layers_per_block\": 2"))
        .unwrap();
    fails("base", &[], "missing from the file");
    std::fs::remove_file(&unet).unwrap();
    fails("base", &[], "no weights in");
    assert!(!world.path("x.png").exists());
}
