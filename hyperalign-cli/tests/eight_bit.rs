//! `hyperalign sample --dtype q8` on an embedded base, and with its options in a file.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

mod tiny;

use hyperalign_core::image;
use serde_json::Value;

use tiny::{World, message, write_adapter};

/// Runs `hyperalign sample` on the embedded FLUX in `format`, into the file `FORMAT.png`, and returns
/// what the picture says of how it was made.
fn sample(world: &World, format: &str, more: &[&str]) -> Value {
    let out = format!("{format}.png");
    let flags = ["sample", "--base", "emoji-flux", "--prompt", "a red heart", "--steps", "4"];
    let output = world.run(&[&flags[..], &["--dtype", format, "--out", &out], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (_, metadata) = image::read_png(&world.path(&out)).unwrap();
    metadata.hyperalign.unwrap()
}

/// Decibels between two pictures.
fn psnr(world: &World, first: &str, second: &str) -> f64 {
    let output = world.run(&["inspect", "pictures", first, second]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let difference: Value = serde_json::from_slice(&output.stdout).unwrap();
    difference["psnr"].as_f64().unwrap()
}

#[test]
fn eight_bits_make_nearly_the_same_picture() {
    let world = World::new();
    let exact = sample(&world, "f32", &[]);
    for (format, least) in [("q8-f32", 45.0), ("q8", 38.0)] {
        let everything = sample(&world, format, &[]);
        assert_eq!(everything["dtype"], format);
        assert_eq!(everything["base_hash"], exact["base_hash"]);
        let found = psnr(&world, "f32.png", &format!("{format}.png"));
        assert!(found > least, "{format}: {found} dB");
    }
    let output = world.run(&["inspect", "pictures", "f32.png", "no-such.png"]);
    assert_eq!(output.status.code(), Some(1));
}

/// The base is known by its files, whatever it is held in.
#[test]
fn an_adapter_of_the_base_in_f32_fits_the_one_in_8_bits() {
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    let flags = ["--base", "base", "--prompt", "a dog", "--steps", "2", "--dtype", "q8-f32"];
    let run = |more: &[&str]| world.run(&[&["sample"], &flags[..], more].concat());
    run(&["--out", "base.png"]);
    let adapter = ["--adapter", "adapter.safetensors", "--variant", "s", "--out", "adapted.png"];
    let output = run(&adapter);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    // It is not trained, and adds nothing.
    let read = |name: &str| image::read_png(&world.path(name)).unwrap().0;
    assert_eq!(read("adapted.png"), read("base.png"));
}

/// Without the text encoders the pictures are the same; a LoRA file may shift them before they go.
#[test]
fn text_encoders_can_be_let_go_of() {
    let world = World::new();
    let flags = ["--base", "base", "--prompt", "a dog", "--prompt", "a heart", "--steps", "2"];
    let run = |more: &[&str]| world.run(&[&["sample"], &flags[..], more].concat());
    for (name, more) in [("plain", ["--seed", "3"]), ("negative", ["--negative", "red"])] {
        let files = [format!("{name}.png"), format!("{name}-released.png")];
        run(&[&more[..], &["--out", &files[0]]].concat());
        let released = ["--release-text-encoders", "--out", &files[1]];
        let output = run(&[&more[..], &released].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        for k in 1..=2 {
            let read = |name: &str| image::read_png(&world.path(name)).unwrap().0.into_raw();
            let [expected, found] =
                [format!("{name}-{k}.png"), format!("{name}-released-{k}.png")].map(|f| read(&f));
            let far = expected.iter().zip(&found).any(|(a, b)| a.abs_diff(*b) > 1);
            assert!(!far, "{name}, picture {k}");
        }
    }
    let output = run(&["--out", "x.png", "--release-text-encoders", "--method", "best-of-n"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(message(&output).contains("cannot be used with"), "{}", message(&output));
}

/// A file of options says what a command line would; what is typed beats it.
#[test]
fn options_are_read_from_a_file() {
    let world = World::new();
    let file = "# a picture\nbase = \"base\"\nprompt = \"a red dog\"\nseed = [1, 2]\n\
                steps = 2\ndtype = \"unet=q8-f32\"\nout = \"file.png\"\n";
    std::fs::write(world.path("dog.toml"), file).unwrap();
    let run = |more: &[&str]| world.run(&[&["sample", "--config", "dog.toml"], more].concat());
    let output = run(&["--seed", "7", "--out", "typed.png"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (picture, metadata) = image::read_png(&world.path("typed.png")).unwrap();
    let everything = metadata.hyperalign.unwrap();
    assert_eq!((&everything["seed"], &everything["steps"]), (&7.into(), &2.into()));
    assert_eq!(everything["dtype"], "unet=q8-f32");
    let line = ["--base", "base", "--prompt", "a red dog", "--seed", "7", "--steps", "2"];
    let typed = ["--dtype", "unet=q8-f32", "--out", "line.png"];
    world.run(&[&["sample"], &line[..], &typed].concat());
    assert_eq!(picture, image::read_png(&world.path("line.png")).unwrap().0);
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    assert!(world.path("file-2.png").is_file(), "two seeds make two pictures");

    std::fs::write(world.path("dog.toml"), file.replace("steps", "step")).unwrap();
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let told = message(&output);
    assert!(
        told.contains("unknown key `step`") && told.contains("did you mean `steps`?"),
        "{told}"
    );
    assert!(told.contains("dog.toml:5"), "{told}");
    // What the file lacks is asked for as ever.
    std::fs::write(world.path("dog.toml"), "base = \"base\"\n").unwrap();
    let output = run(&["--prompt", "a red dog"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(message(&output).contains("--out"), "{}", message(&output));
}
