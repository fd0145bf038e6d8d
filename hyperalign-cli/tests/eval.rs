//! `hyperalign eval` on the smallest base that has every part.

mod clip;
mod tiny;

use hyperalign_core::testing;
use hyperalign_models::hypernet::{Adapter, TrainingReward};

use clip::write_clip;
use tiny::{World, message, write_adapter, write_static_lora};

const ROWS: &str = r#"{"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a dog"}
{"tag": "colors", "include": [{"class": "heart", "count": 1, "color": "red"}], "prompt": "a red heart"}
"#;

const FLAGS: [&str; 8] =
    ["eval", "--base", "base", "--steps", "2", "--prompts", "rows.jsonl", "--seeds"];

fn world() -> World {
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    std::fs::write(world.path("rows.jsonl"), ROWS).expect("the rows are written");
    world
}

#[test]
fn methods_are_compared_and_results_kept() {
    let world = world();
    let flags =
        ["2", "--adapter", "adapter.safetensors", "--method", "none,s,i", "--cache", "kept"];
    let run = |more: &[&str]| {
        let output = world.run(&[&FLAGS[..], &flags, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let summary: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let names: Vec<&String> = summary["methods"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["base", "hyperalign-s", "hyperalign-i"]);
    let s = &summary["methods"]["hyperalign-s"];
    assert_eq!(s["pictures"], 4);
    assert_eq!(s["diversity"], summary["methods"]["base"]["diversity"], "it is untrained");
    // Pictures of 8 x 8 are not of the world that the exact scorer knows.
    assert_eq!(s.get("gold"), None);
    assert_eq!(summary["diversity_space"], "pixels");
    assert_eq!(std::fs::read_dir(world.path("kept")).unwrap().count(), 3);

    let again: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(again, summary, "the times too: everything was kept");
    let table = run(&[]);
    assert!(table.contains("hyperalign-i") && table.contains("var/steps"), "{table}");
    assert!(run(&["--markdown"]).starts_with("| method"));
}

#[test]
fn the_adapter_is_measured_as_it_was_trained() {
    let world = world();
    let output = world.run(&[&FLAGS[..], &["1", "--adapter", "adapter.safetensors"]].concat());
    let table = String::from_utf8(output.stdout).unwrap();
    let names = table.lines().skip(1).take(2).map(|line| line.split(' ').next().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["base", "hyperalign-s"]);
}

/// Prompt sets as they are published, none of which says what is right: rewards measure them.
#[test]
fn prompts_of_every_format_are_measured_by_rewards() {
    let world = world();
    write_clip(&world.path("clip"));
    let parti = "Prompt\tCategory\tChallenge\tNote\na dog\tAnimals\tBasic\t\n\
                 a red heart\tArtifacts\tBasic\t\na blue dog\tAnimals\tBasic\t\n";
    let hpd = r#"[{"prompt": "a dog", "image_path": ["1.jpg"]}, {"prompt": "a red heart"}]"#;
    for (name, text) in [
        ("parti.tsv", parti),
        ("hpd.json", hpd),
        ("plain.txt", "a dog\na red heart\n"),
        ("rows.jsonl", ROWS),
        ("lines.jsonl", "{\"prompt\": \"a dog\"}\n{\"prompt\": \"a red heart\"}\n"),
    ] {
        std::fs::write(world.path(name), text).expect("prompts are written");
    }
    let measured = |file: &str, more: &[&str]| {
        let reward = ["--reward", "clip"];
        let flags = ["eval", "--base", "base", "--steps", "2", "--prompts", file];
        let output = world.run(&[&flags[..], &reward, more].concat());
        assert_eq!(output.status.code(), Some(0), "{file}: {}", message(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = |file: &str, more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&measured(file, &[more, &["--json"]].concat())).unwrap()
    };
    let found = json("parti.tsv", &[]);
    let of = |found: &serde_json::Value| found["methods"]["base"].clone();
    assert_eq!((&found["prompts"], of(&found).get("gold")), (&3.into(), None));
    let groups = of(&found)["groups"].clone();
    let mean = |group: &str| groups[group]["clip"].as_f64().unwrap();
    let all = of(&found)["clip"].as_f64().unwrap();
    assert!((all - (2.0 * mean("Animals") + mean("Artifacts")) / 3.0).abs() < 1e-9, "{found}");
    let table = measured("parti.tsv", &[]);
    assert!(table.contains("Artifacts") && table.contains("clip"), "{table}");

    let first_two = of(&json("parti.tsv", &["--limit", "2"]))["clip"].clone();
    for file in ["hpd.json", "plain.txt", "rows.jsonl", "lines.jsonl"] {
        assert_eq!(of(&json(file, &[]))["clip"], first_two, "{file}");
    }

    // What the table says is what is said of the pictures' files.
    let flags = ["sample", "--base", "base", "--steps", "2", "--prompts", "plain.txt"];
    for (seed, file) in [("0", "0.png"), ("1", "1.png")] {
        let limit: &[&str] = &["--limit", "1"];
        let prompts = if seed == "0" { limit } else { &[] };
        let output = world.run(&[&flags[..], prompts, &["--seed", seed, "--out", file]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    }
    let flags = ["score", "--reward", "clip", "--json"];
    let output = world.run(&[&flags[..], &["0.png", "1-2.png"]].concat());
    let scored: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mean = scored["all"]["clip"]["mean"].as_f64().unwrap();
    assert!((mean - first_two.as_f64().unwrap()).abs() < 1e-5, "{mean} for {first_two}");
}

/// The adapter says what it was trained against, and the table believes it.
#[test]
fn the_reward_that_was_trained_against_is_called_so() {
    let world = world();
    write_clip(&world.path("clip"));
    write_clip(&world.path("other"));
    let run = |more: &[&str]| {
        let flags = ["1", "--json", "--adapter", "adapter.safetensors"];
        let output = world.run(&[&FLAGS[..], &flags, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rewards = found["rewards"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let reward = |reward: &serde_json::Value| {
            assert_eq!(reward["version"].as_str().unwrap().len(), 64, "{reward}");
            ["column", "name", "role"].map(|key| text(&reward[key])).join(" ")
        };
        rewards.iter().map(reward).collect::<Vec<_>>()
    };
    let both = ["--proxy", "clip", "--heldout", "other"];
    let silent = ["proxy clip trained-against", "heldout other held-out"];
    assert_eq!(run(&both), silent, "of a file that does not say");

    let file = world.path("adapter.safetensors");
    let trained_against = |name: &str| {
        let (adapter, mut meta) = Adapter::load(&file, &testing::device()).unwrap();
        let (name, version) = (name.to_owned(), "1".to_owned());
        meta.reward = Some(TrainingReward { name, version, weight: None });
        adapter.save(&file, &meta).unwrap();
    };
    trained_against("other");
    assert_eq!(run(&both), ["proxy clip other", "other other trained-against"]);
    assert_eq!(run(&["--reward", "other"]), ["other other trained-against"]);
    trained_against("mix:1*clip(0,1)+2*aesthetic(5,1)");
    assert_eq!(run(&both), silent);
    let mixed = ["--reward", "other", "--reward", "clip"];
    assert_eq!(run(&mixed), ["other other other", "clip clip trained-against"]);
}

/// `--proxy` and `--heldout` take what `--reward` takes.
#[test]
fn published_rewards_and_mixes_may_be_proxy_and_held_out() {
    let world = world();
    write_clip(&world.path("clip"));
    let flags = ["1", "--proxy", "mix:1*clip", "--heldout", "mix:2*clip"];
    let output = world.run(&[&FLAGS[..], &flags].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    for words in ["proxy: mix:1*clip(0,1), version clip ", "held-out: mix:2*clip(0,1), version "] {
        assert!(table.contains(words), "no `{words}` in\n{table}");
    }
    // The published weights of CLIP are not here, and others are refused.
    let flags = ["1", "--proxy", "clip_score", "--reward-weights", "clip"];
    let output = world.run(&[&FLAGS[..], &flags].concat());
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    assert!(message(&output).contains("is not of the network"), "{}", message(&output));
}

/// On pictures of the embedded world plain texts are judged by what they say.
#[test]
fn words_of_the_embedded_world_are_rules() {
    let world = World::new();
    std::fs::write(world.path("plain.txt"), "a dog\n").expect("prompts are written");
    let flags = ["eval", "--base", "emoji-sd", "--steps", "1", "--prompts", "plain.txt", "--json"];
    let output = world.run(&flags);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["methods"]["base"]["gold"]["per_task"]["single_object"].is_f64(), "{found}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = world();
    let fails = |arguments: &[&str], words: &str| {
        let output = world.run(&[&FLAGS[..], &["1"], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    let adapter = ["--adapter", "adapter.safetensors"];
    fails(&["--method", "s"], "`--method s` needs an adapter");
    fails(&[&adapter[..], &["--method", "p"]].concat(), "hyperalign key-steps");
    fails(&[&adapter[..], &["--method", "s,s"]].concat(), "`hyperalign-s` comes twice");
    fails(&["--proxy", "nothing"], "unknown reward `nothing`");
    fails(&["--heldout", "nothing"], "unknown reward `nothing`");
    fails(&["--proxy", "nothing"], "emoji-heldout");
    let unasked = ["--reward", "emoji-proxy", "--reward-weights", "pick_score=x"];
    fails(&unasked, "there is no `--reward pick_score`");
    for wrong in [["--reward-weights", "x"], ["--guidance", "nan"], ["--guidance", "inf"]] {
        let output = world.run(&[&FLAGS[..], &["1"], &wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", message(&output));
    }
    fails(&["--cache", "rows.jsonl"], "cannot write");
    std::fs::write(world.path("none.txt"), "\n").unwrap();
    let fails = |file: &str, words: &str| {
        let output = world.run(&["eval", "--base", "base", "--prompts", file]);
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    fails("none.txt", "has no prompts");
    fails("missing.tsv", "missing.tsv");
    fails("adapter.safetensors", "expected .txt, .jsonl");
}

#[test]
fn adapters_with_names_are_compared() {
    let world = world();
    write_static_lora(&world.path("static.safetensors"), &world.path("base"));
    let all = ["ours=adapter.safetensors", "as-i:i=adapter.safetensors", "lora=static.safetensors"];
    let flags: Vec<&str> = all.into_iter().flat_map(|one| ["--adapter", one]).collect();
    let output = world.run(&[&FLAGS[..], &["1", "--json"], &flags].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&String> = found["methods"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["base", "ours", "as-i", "lora"]);
    let fails = |more: &[&str], words: &str| {
        let output = world.run(&[&FLAGS[..], &["1"], &flags, more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    fails(&["--method", "none,s"], "`--method` says how one adapter is used");
    fails(&["--adapter", "static.safetensors"], "--adapter NAME=static.safetensors");
    fails(&["--adapter", "lora=static.safetensors"], "`lora` comes twice");
    fails(&["--adapter", "p:p=adapter.safetensors"], "hyperalign key-steps");
}

/// A static LoRA has no variants: one of them stands for it, and several are one.
#[test]
fn a_static_adapter_is_measured_once() {
    let world = world();
    write_static_lora(&world.path("static.safetensors"), &world.path("base"));
    let run = |method: &[&str]| {
        let flags = [&FLAGS[..], &["1", "--adapter", "static.safetensors"], method].concat();
        world.run(&flags)
    };
    for method in [&[][..], &["--method", "none,s"], &["--method", "none,p"]] {
        let output = run(&[method, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let names: Vec<&String> = found["methods"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["base", "static-lora"], "{method:?}");
    }
    let output = run(&["--method", "none,s,p"]);
    assert_eq!(output.status.code(), Some(1));
    let said = message(&output);
    assert!(said.contains("`--method none,s,p` asks for several variants"), "{said}");
    assert!(said.contains("`--method none,s`"), "{said}");
}

#[test]
fn what_a_prompt_loses_is_told_before_it_is_measured() {
    let world = world();
    std::fs::write(
        world.path("rows.jsonl"),
        ROWS.replace("\"a dog\"", "\"a red dog a blue heart\""),
    )
    .unwrap();
    let output = world.run(&[&FLAGS[..], &["1"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    assert_eq!(
        message(&output).matches("cut off: `blue heart`").count(),
        1,
        "{}",
        message(&output)
    );
}
