use clap::CommandFactory;

use super::*;
use crate::cli::Cli;

/// The command line `typed`, of `hyperalign sample`, with a file of `text`.
fn line(text: &str, typed: &[&str]) -> miette::Result<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.toml");
    std::fs::write(&path, text).unwrap();
    let config = format!("--config={}", path.display());
    let given = ["hyperalign", "sample", &config].into_iter().chain(typed.iter().copied());
    let given = given.map(OsString::from).collect();
    let line = with_file(&Cli::command(), "sample", given)?;
    Ok(line.into_iter().skip(3).map(|word| word.into_string().unwrap()).collect())
}

/// The message of the error, its help, and the words of the file that it points at.
fn problem(text: &str) -> (String, String, String) {
    let error = line(text, &[]).unwrap_err();
    let help = error.help().map(|help| help.to_string()).unwrap_or_default();
    let label = error.labels().unwrap().next().unwrap();
    let pointed = text[label.offset()..label.offset() + label.len()].to_owned();
    (error.to_string(), help, pointed)
}

#[test]
fn keys_become_options() {
    let text = "base = \"emoji-sd\"\nadapter_scale = -0.5\nsteps = 4\njson = true\n\
                no-kernel-cache = false\nprompt = [\"a dog\", \"-1\"]\nseed = 7\ndevice = \"cpu\"\n";
    let expected = [
        "--adapter-scale=-0.5",
        "--base=emoji-sd",
        "--device=cpu",
        "--json",
        "--prompt=a dog",
        "--prompt=-1",
        "--seed=7",
        "--steps=4",
    ];
    let mut found = line(text, &[]).unwrap();
    found.sort_by_key(|word| word.split('=').next().unwrap().to_owned());
    assert_eq!(found, expected);
}

#[test]
fn what_is_typed_beats_the_file() {
    let text = "steps = 4\nseed = [1, 2]\nguidance = 3.5\n";
    let found = line(text, &["--steps", "9", "--seed=5"]).unwrap();
    assert_eq!(found, ["--steps", "9", "--seed=5", "--guidance=3.5"]);
    // Options of the program stand before the command too.
    let given = ["hyperalign", "--device", "cpu", "sample"].map(OsString::from).to_vec();
    assert_eq!(with_file(&Cli::command(), "sample", given.clone()).unwrap(), given);
}

#[test]
fn what_is_no_option_is_pointed_at() {
    let (message, help, pointed) = problem("steps = 3\nguidence = 2\n");
    assert!(message.contains("unknown key `guidence`"), "{message}");
    assert_eq!((help.as_str(), pointed.as_str()), ("did you mean `guidance`?", "guidence"));
    for key in ["config", "help", "zzz"] {
        let (message, _, pointed) = problem(&format!("{key} = \"x\"\n"));
        assert!(message.contains("is no option of `hyperalign sample`"), "{message}");
        assert_eq!(pointed, key);
    }
    let (message, help, pointed) = problem("adapter_scale = 1\n\nadapter-scale = 2\n");
    assert!(message.contains("are the same option") && help.contains("keep one"), "{message}");
    assert!(pointed.starts_with("adapter"), "{pointed}");
}

#[test]
fn a_value_that_an_option_cannot_take_is_pointed_at() {
    for (text, pointed, words) in [
        ("steps = 0\n", "0", "a whole number of at least 1"),
        ("dtype = \"q4\"\n", "\"q4\"", "q8-f32"),
        ("seed = [1, -2]\n", "-2", "a seed is a whole number of at least 0"),
        ("variant = \"x\"\n", "\"x\"", "none, s, p, i"),
        ("json = 1\n", "1", "`json` is true or false"),
        ("steps = [1, 2]\n", "[1, 2]", "takes one value"),
        ("steps = true\n", "true", "takes a value, and not yes or no"),
        ("out = \"x.jpg\"\n", "\"x.jpg\"", "end the name in .png"),
        ("[steps]\nn = 1\n", "[steps]", "a text or a number"),
    ] {
        let (message, _, found) = problem(text);
        assert!(message.contains(words), "{text}: {message}");
        assert_eq!(found, pointed, "{text}");
    }
    assert!(problem("steps 3\n").0.contains("expected"));
    let missing = ["hyperalign", "sample", "--config", "no-such-file.toml"].map(OsString::from);
    let error = with_file(&Cli::command(), "sample", missing.to_vec()).unwrap_err();
    assert!(error.to_string().contains("cannot read the settings `no-such-file.toml`"), "{error}");
}

/// Every recipe for `sample` is a whole command line but for the prompt, and the schema takes it.
#[test]
fn recipes_are_command_lines() {
    let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let schema = schema(&Cli::command(), "sample");
    let written = std::fs::read_to_string(configs.join("sample.schema.json")).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert!(
        written == schema,
        "write it anew: hyperalign schema sample > configs/sample.schema.json"
    );
    let validator = jsonschema::validator_for(&schema).unwrap();
    let valid = |text: &str| {
        let table: toml::Table = toml::from_str(text).unwrap();
        validator.is_valid(&serde_json::to_value(table).unwrap())
    };
    let path = configs.join("flux-24gb-sample.toml");
    assert!(valid(&std::fs::read_to_string(&path).unwrap()));
    assert!(valid("seed = [1, 2]\nvariant = \"s\"\njson = true\nadapter_scale = 0.5\n"));
    for bad in ["steps = true\n", "variant = \"x\"\n", "config = \"x\"\n", "stepz = 1\n"] {
        assert!(!valid(bad), "{bad}");
    }
    let config = format!("--config={}", path.display());
    let given = ["hyperalign", "sample", &config, "--prompt", "a red heart"];
    let given = given.into_iter().map(OsString::from).collect();
    let line = with_file(&Cli::command(), "sample", given).unwrap();
    Cli::command().try_get_matches_from(line).unwrap();
}
