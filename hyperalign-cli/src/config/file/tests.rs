use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    steps: usize,
    optimizer: Optimizer,
    network: Network,
}

/// Its defaults are not those of [`Run`]'s.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Optimizer {
    learning_rate: f64,
    weight_decay: f64,
    time_limit: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Network {
    Hypernet { rank: usize, width: usize },
    StaticLora { rank: usize },
}

fn defaults() -> Run {
    Run {
        steps: 600,
        optimizer: Optimizer { learning_rate: 0.1, weight_decay: 0.2, time_limit: None },
        network: Network::Hypernet { rank: 4, width: 96 },
    }
}

const REMOVED: &[(&str, &str)] = &[
    ("epochs", "write `steps`"),
    ("rounds", "write `steps`"),
    ("network.depth", "write `network.width`"),
];

/// The words that the error points at, its message and its help.
fn problem(text: &str) -> (String, String, String) {
    let Problem { message, span, help, .. } = parse(&defaults(), REMOVED, text).unwrap_err();
    (text[span].to_owned(), message, help.unwrap_or_default())
}

#[test]
fn what_is_left_out_keeps_its_default() {
    assert_eq!(parse(&defaults(), &[], ""), Ok(defaults()));
    let text = "[optimizer]\nlearning_rate = 1\ntime_limit = 5\n[network]\nwidth = 64\n";
    let expected = Run {
        optimizer: Optimizer { learning_rate: 1.0, weight_decay: 0.2, time_limit: Some(5) },
        network: Network::Hypernet { rank: 4, width: 64 },
        ..defaults()
    };
    assert_eq!(parse(&defaults(), REMOVED, text), Ok(expected));
}

#[test]
fn another_kind_stands_for_itself() {
    let text = "[network]\nkind = \"static-lora\"\nrank = 8\n";
    let expected = Run { network: Network::StaticLora { rank: 8 }, ..defaults() };
    assert_eq!(parse(&defaults(), REMOVED, text), Ok(expected));
    let (pointed, message, _) = problem("[network]\nkind = \"static-lora\"\n");
    assert_eq!(pointed, "network");
    assert!(message.contains("missing field `rank`"), "{message}");
    let (pointed, _, help) = problem("[network]\nkind = \"static-lora\"\nrank = 1\nwidth = 2\n");
    assert_eq!((pointed.as_str(), help.as_str()), ("width", "known keys here: rank"));
}

#[test]
fn a_misspelt_key_is_pointed_at_and_the_nearest_named() {
    let (pointed, message, help) = problem("steps = 3\n[optimizer]\nlearning_rat = 1e-3\n");
    assert_eq!(pointed, "learning_rat");
    assert!(message.contains("unknown field"), "{message}");
    assert_eq!(help, "did you mean `learning_rate`?");
    assert_eq!(problem("[optimiser]\nlearning_rate = 1\n").0, "optimiser");
}

#[test]
fn a_misspelt_kind_is_pointed_at_where_it_stands() {
    let (pointed, message, help) = problem("[network]\nrank = 8\nkind = \"hypernett\"\n");
    assert_eq!(pointed, "\"hypernett\"");
    assert!(message.contains("unknown variant"), "{message}");
    assert_eq!(help, "did you mean `hypernet`?");
    let (pointed, _, help) = problem("[network]\nkind = \"zzz\"\n");
    assert_eq!(
        (pointed.as_str(), help.as_str()),
        ("\"zzz\"", "known values here: hypernet, static-lora")
    );
}

#[test]
fn a_key_of_earlier_settings_says_what_to_write_instead() {
    // Where it has another name and no more, the value is read under that.
    let read = |text: &str| parse(&defaults(), REMOVED, text).unwrap();
    assert_eq!(read("epochs = 3\n").steps, 3);
    let (pointed, _, _) = problem("epochs = \"many\"\n");
    assert_eq!(pointed, "\"many\"");
    // In a table of another kind nobody knows what it means.
    let text = "[network]\nkind = \"static-lora\"\nrank = 1\ndepth = 3\n";
    assert_eq!(problem(text).0, "depth");
}

/// Which of them is meant is not ours to say.
#[test]
fn two_names_of_one_setting_are_both_pointed_at() {
    for (text, first, second) in [
        ("steps = 5\n\nepochs = 3\n", "epochs", "steps"),
        ("epochs = 3\nsteps = 5\n", "epochs", "steps"),
        ("rounds = 3\nepochs = 5\n", "rounds", "epochs"),
        ("epochs = 3\nrounds = 5\n", "rounds", "epochs"),
        ("[network]\nwidth = 5\ndepth = 3\n", "depth", "width"),
        ("network = { depth = 5, width = 3 }\n", "depth", "width"),
    ] {
        let Problem { message, span, other, help } = parse(&defaults(), REMOVED, text).unwrap_err();
        let (span, other) = (&text[span], &text[other.unwrap()]);
        assert_eq!((span, other), (first, second), "{text}");
        let line =
            |word: &str| 1 + text.lines().position(|line| line.contains(word)).unwrap_or_default();
        for (word, line) in [(first, line(first)), (second, line(second))] {
            assert!(message.contains(&format!("{word}` (line {line})")), "{message}");
        }
        assert!(help.unwrap().starts_with("keep one of them"));
    }
    // None is lost in a table that stands for itself.
    let moved: &[(&str, &str)] = &[("hidden", "write `network.width`")];
    let text = "hidden = 7\n[network]\nkind = \"static-lora\"\nrank = 2\n";
    let problem = parse(&defaults(), moved, text).unwrap_err();
    assert!(problem.message.contains("unknown field `width`"), "{}", problem.message);
    let text = "hidden = 7\n[network]\nkind = \"hypernet\"\nrank = 2\n";
    let network = parse(&defaults(), moved, text).unwrap().network;
    assert_eq!(network, Network::Hypernet { rank: 2, width: 7 });
}

#[test]
fn a_key_like_no_other_lists_the_known() {
    let (pointed, _, help) = problem("zzz = 1\n");
    assert_eq!(pointed, "zzz");
    assert_eq!(help, "known keys here: steps, optimizer, network");
}

#[test]
fn a_value_of_a_wrong_type_is_pointed_at() {
    let (pointed, message, _) = problem("[optimizer]\nweight_decay = \"much\"\n");
    assert_eq!(pointed, "\"much\"");
    assert!(message.contains("invalid type"), "{message}");
    assert_eq!(problem("optimizer = 3\n").0, "3");
    assert_eq!(problem("steps = -1\n").0, "-1");
}

#[test]
fn what_is_not_toml_is_pointed_at() {
    let (pointed, _, help) = problem("steps 3\n");
    assert!(!pointed.contains('\n'), "{pointed:?}");
    assert_eq!(help, "");
    assert!(problem("steps = 1\nsteps = 2\n").1.contains("duplicate"));
}
