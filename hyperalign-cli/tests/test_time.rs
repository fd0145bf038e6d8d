//! Methods that work while a picture is sampled, as `hyperalign sample` makes pictures by them.

mod clip;
mod tiny;

use std::process::Output;

use hyperalign_core::image;
use serde_json::Value;

use clip::write_clip;
use tiny::{World, message, write_adapter};

fn world() -> World {
    let world = World::new();
    write_clip(&world.path("clip"));
    world
}

fn sample(world: &World, arguments: &[&str]) -> Output {
    let flags = ["sample", "--base", "base", "--steps", "3", "--prompt", "a red dog"];
    world.run(&[&flags[..], arguments].concat())
}

fn answer(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", message(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The answer and the file say what was sought, what was found and what it cost.
#[test]
fn a_picture_says_how_it_was_sought() {
    let world = world();
    std::fs::write(world.path("methods.toml"), "[best-of-n]\nn = 9\n").unwrap();
    let by = |more: &[&str]| {
        let flags = ["--method", "best-of-n", "--reward", "clip", "--json", "--out", "dog.png"];
        answer(&sample(&world, &[&flags[..], more].concat()))
    };
    let found = by(&["--method-config", "methods.toml", "--option", "n=4", "--seed", "7"]);
    assert_eq!(found["settings"]["method"], serde_json::json!({"name": "best-of-n", "n": 4}));
    assert_eq!(found["settings"]["reward"], "clip");
    let cost = &found["cost"];
    assert_eq!((&cost["denoiser_evaluations"], &cost["decodes"]), (&12.into(), &4.into()));
    assert_eq!(cost["reward_calls"], 4);
    let note = &found["notes"][0];
    assert!(note["score"].is_number() && note["candidates"] == 4, "{note}");
    let (_, metadata) = image::read_png(&world.path("dog.png")).unwrap();
    assert_eq!(metadata.hyperalign.unwrap()["found"], *note);

    assert_eq!(by(&["--method-config", "methods.toml"])["notes"][0]["candidates"], 9);
    assert_eq!(by(&["--budget-nfe", "7"])["notes"][0]["candidates"], 2);
    // Far less than a step takes: the first picture is made all the same.
    assert_eq!(by(&["--budget", "0.000001"])["notes"][0]["candidates"], 1);
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    let adapted = by(&["--adapter", "adapter.safetensors", "--option", "n=2"]);
    assert_eq!(adapted["settings"]["variant"], "s");
}

#[test]
fn what_cannot_be_sought_is_an_error() {
    let world = world();
    let error = |arguments: &[&str]| {
        let output = sample(&world, &[arguments, &["--out", "x.png"]].concat());
        assert_ne!(output.status.code(), Some(0));
        message(&output)
    };
    let method = ["--method", "best-of-n"];
    let with = |more: &[&str]| error(&[&method[..], &["--reward", "clip"], more].concat());
    assert!(error(&method).contains("needs a reward"));
    assert!(error(&["--method", "worst-of-n"]).contains("best-of-n"));
    assert!(error(&["--reward", "clip"]).contains("--method"));
    assert!(with(&["--option", "n=0"]).contains("`n` is 0"));
    assert!(with(&["--option", "m=1"]).contains("unknown field `m`"));
    assert!(with(&["--budget-nfe", "2"]).contains("less than the 3 that one picture takes"));
    assert!(with(&["--budget", "0"]).contains("a number above 0"));
}

/// The same names in the table, beside the base and under an adapter, with what they cost.
#[test]
fn methods_are_compared() {
    let world = world();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    std::fs::write(world.path("prompts.txt"), "a red dog\na blue heart\n").unwrap();
    let eval = |more: &[&str]| {
        let flags = ["eval", "--base", "base", "--steps", "3", "--prompts", "prompts.txt"];
        world.run(&[&flags[..], more].concat())
    };
    let methods = ["--method", "none,best-of-n,freedom,s+best-of-n", "--proxy", "clip"];
    let adapter = ["--adapter", "adapter.safetensors", "--option", "best-of-n.n=3"];
    let output = eval(&[&methods[..], &adapter, &["--json"]].concat());
    let summary = answer(&output);
    let method = |name: &str| &summary["methods"][name];
    let evaluations = |name: &str| method(name)["cost"]["denoiser_evaluations"].as_f64().unwrap();
    assert_eq!((evaluations("base"), evaluations("best-of-n")), (3.0, 9.0));
    assert_eq!(method("best-of-n of hyperalign-s")["cost"]["reward_calls"], 3.0);
    assert!(method("freedom")["cost"]["gradient_passes"].as_f64().unwrap() > 0.0);
    let proxy = |name: &str| method(name)["proxy"].as_f64().unwrap();
    assert!(proxy("best-of-n") >= proxy("base"), "{summary}");
    // An untrained adapter changes nothing.
    assert_eq!(proxy("best-of-n"), proxy("best-of-n of hyperalign-s"));

    let table = eval(&["--method", "none,best-of-n", "--reward", "clip", "--option", "n=2"]);
    let text = String::from_utf8(table.stdout.clone()).unwrap();
    assert_eq!(table.status.code(), Some(0), "{}", message(&table));
    assert!(text.contains("scorings") && text.contains("clip (trained against)"), "{text}");
    // Which rows are not of one plan is told.
    let freedom = ["--method", "freedom", "--reward", "clip"];
    let told = |more: &[&str]| message(&eval(&[&freedom[..], more].concat()));
    assert!(told(&[]).contains("freedom is sampled with ddim"));
    assert!(!told(&["--scheduler", "ddim", "--eta", "1"]).contains("is sampled with"));
    let fails = |more: &[&str], expected: &str| {
        let output = eval(more);
        assert_ne!(output.status.code(), Some(0));
        assert!(message(&output).contains(expected), "{}", message(&output));
    };
    fails(&["--method", "none,best-of-n"], "`--method best-of-n` needs a reward");
    fails(&["--method", "s+best-of-n", "--reward", "clip"], "needs an adapter");
    fails(&["--method", "worst-of-n"], "there is no such method");
    let two = ["--method", "best-of-n,das", "--reward", "clip"];
    fails(&[&two[..], &["--option", "n=2"]].concat(), "does not say which method");
    fails(&two, "`--option alpha=X`");
    let deterministic = ["--option", "das.alpha=1", "--scheduler", "ddim", "--eta", "0"];
    fails(&[&two[..], &deterministic].concat(), "draw none");
}
