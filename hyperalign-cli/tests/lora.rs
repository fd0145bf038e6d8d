//! `hyperalign lora` and `--lora`, from the outside.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod tiny;

use std::collections::BTreeMap;

use hyperalign_core::testing;
use hyperalign_models::{
    base::Adaptable,
    lora::{Convention, Factor, Float, LoraFile, Part, Update},
    testing::small_base,
};
use serde_json::Value;
use tiny::{World, message, write_adapter};

/// The base, with LoRAs of its network in kohya's convention and of its text encoder in PEFT's.
fn world() -> World {
    let world = World::new();
    let layers = small_base(1, &testing::device()).lora_layers().unwrap();
    for (part, name, convention) in [
        (Part::Denoiser, "net.safetensors", Convention::Kohya),
        (Part::TextEncoder, "text.safetensors", Convention::Peft),
    ] {
        let own = layers.all().iter().enumerate().filter(|(_, layer)| layer.part == part);
        let updates = own.map(|(i, layer)| {
            let factor = |rows: usize, columns: usize| {
                let value = |k: usize| 0.3 * ((7 * i + 3 * k + k * k) as f32).sin();
                let values = (0..rows * columns).map(value).collect();
                Factor { rows, columns, values, float: Float::F32 }
            };
            let (down, up) = (factor(1, layer.d_input()), factor(layer.d_output(), 1));
            (i, Update { down, up, alpha: 0.5 })
        });
        let file = LoraFile {
            name: name.to_owned(),
            conventions: Default::default(),
            updates: updates.collect(),
            metadata: BTreeMap::from([("ss_note".to_owned(), "made by a test".to_owned())]),
        };
        file.write(&world.path(name), &layers, convention).unwrap();
    }
    world
}

const SAMPLE: [&str; 9] =
    ["sample", "--base", "base", "--prompt", "a red dog", "--steps", "2", "--out", "a.png"];

fn picture(world: &World, more: &[&str]) -> Vec<u8> {
    let output = world.run(&[&SAMPLE[..], more].concat());
    assert!(output.status.success(), "{}", message(&output));
    std::fs::read(world.path("a.png")).unwrap()
}

#[test]
fn files_are_laid_over_the_base_in_any_order_and_told_in_the_picture() {
    let world = world();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    let (net, text) = ("net.safetensors", "text.safetensors=0.5");
    let bare = picture(&world, &[]);
    let both = picture(&world, &["--lora", net, "--lora", text]);
    assert!(both == picture(&world, &["--lora", text, "--lora", net]));
    assert!(both != picture(&world, &["--lora", net]) && both != bare);
    let text_of = String::from_utf8_lossy(&both).into_owned();
    for part in ["net.safetensors: 1", "text.safetensors: 0.5", "\"loras\""] {
        assert!(text_of.contains(part), "{part}");
    }
    // An adapter of the bare base goes with them.
    let adapted = picture(&world, &["--adapter", "adapter.safetensors", "--lora", net]);
    assert!(adapted != both);
}

#[test]
fn conversions_come_back_as_they_were() {
    let world = world();
    let convert = |from: &str, into: &str, to: &str| {
        let arguments = ["lora", "convert", from, into, "--to", to, "--base", "base"];
        let output = world.run(&arguments);
        assert!(output.status.success(), "{}", message(&output));
        assert!(message(&output).is_empty(), "{}", message(&output));
    };
    convert("net.safetensors", "peft.safetensors", "peft");
    convert("peft.safetensors", "bfl.safetensors", "bfl");
    convert("bfl.safetensors", "again.safetensors", "kohya");
    let read = |name: &str| std::fs::read(world.path(name)).unwrap();
    assert!(read("net.safetensors") == read("again.safetensors"));

    let inspect = |more: &[&str]| {
        let output = world.run(&[&["lora", "inspect", "peft.safetensors"], more].concat());
        assert!(output.status.success(), "{}", message(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = inspect(&["--base", "base"]);
    for part in [
        "PEFT and diffusers",
        "attn1.to_out.0 (",
        "0.5",
        "F32",
        "made by a test",
        "nothing is left over",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value = serde_json::from_str(&inspect(&["--base", "base", "--json"])).unwrap();
    assert_eq!(json["lora"]["family"], "stable-diffusion1");
    assert_eq!(json["lora"]["modules"], json["layers_of_base"]);
    assert_eq!(json["metadata"]["ss_note"], "made by a test");

    // By the published sizes, it fits nothing, and nothing is written.
    let output =
        world.run(&["lora", "convert", "net.safetensors", "x.safetensors", "--to", "peft"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(message(&output).contains("`--base`"), "{}", message(&output));
    assert!(!world.path("x.safetensors").exists());
}

#[test]
fn an_adapter_is_baked() {
    let world = world();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    let bake = |more: &[&str]| {
        let command = ["lora", "bake", "--base", "base", "--adapter", "adapter.safetensors"];
        let rest = ["--prompt", "a red dog", "--steps", "3", "--out", "baked.safetensors"];
        world.run(&[&command[..], &rest, more].concat())
    };
    let output = bake(&["--mean-over-steps", "--compare", "--json"]);
    assert!(output.status.success(), "{}", message(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["updates"], &json["rank"].as_u64().map(|rank| rank <= 4)),
        (&3.into(), &Some(true))
    );
    assert!(json["distance_to_s"]["base"].is_number() && json["relative_error"].is_number());
    let output = bake(&["--step", "3"]);
    assert!(message(&output).contains("whose last is 2"), "{}", message(&output));
    assert!(bake(&["--step", "2", "--to", "kohya"]).status.success());
    picture(&world, &["--lora", "baked.safetensors"]);
    // The adapter itself is no LoRA.
    let output = world.run(&[&SAMPLE[..], &["--lora", "adapter.safetensors"]].concat());
    assert!(message(&output).contains("`--adapter`"), "{}", message(&output));
}

#[test]
fn what_cannot_be_applied_is_refused_before_any_picture() {
    let world = world();
    std::fs::write(
        world.path("cut.safetensors"),
        &std::fs::read(world.path("net.safetensors")).unwrap()[..900],
    )
    .unwrap();
    for (lora, part) in [
        ("no.safetensors", "no.safetensors"),
        ("cut.safetensors", "cut off"),
        ("net.safetensors=strong", "`strong`"),
        ("base/unet/diffusion_pytorch_model.safetensors", "no LoRA"),
    ] {
        let output = world.run(&[&SAMPLE[..], &["--lora", lora]].concat());
        assert!(!output.status.success());
        assert!(message(&output).contains(part), "{}", message(&output));
        assert!(!world.path("a.png").exists());
    }
}
