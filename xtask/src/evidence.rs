//! `cargo xtask evidence`: what the measurements of the embedded world rest on.

use std::path::{Path, PathBuf};

use crate::process::{self, Failure, Result};
use crate::program;
use crate::task::Task;
use crate::workspace;

/// Trains the method, its controls and its ablations.
pub const TASK: Task = Task {
    name: "evidence",
    about: "Train the method and what it is compared with, and measure all of it (hours).",
    help: "\
Usage: cargo xtask evidence [--device DEVICE] [--lines NAME,...] [--out DIR]

Trains one line after the other, each for the same number of states, and measures those that are
finished on the test prompts of the embedded world. Ctrl-C finishes the step, saves and ends with
status 130; called again, it goes on where it was. The settings are in configs/evidence.

  --device DEVICE   Where to compute: cpu, or cuda, vulkan, metal, wgpu, rocm with an index.
  --lines NAME,...  Only these, in this order, of s, lora, s-2, lora-2, winners, reward, flux-s,
                    flux-lora, ranked, lora-16, i, hasty, s-3. Default: all.
  --out DIR         Folder of the runs; runs/evidence if nothing is said.",
    run,
};

/// Updates of every line: 120,000 states, 16 in each. It stands here once, so that all have as many.
const UPDATES: &str = "7500";

/// One training run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    /// What it is called, and its folder.
    name: &'static str,
    base: &'static str,
    /// The settings, in configs/evidence.
    settings: &'static str,
    seed: &'static str,
    /// The preferred pictures.
    data: &'static str,
}

const fn line(name: &'static str, settings: &'static str) -> Line {
    Line { name, base: "emoji-sd", settings, seed: "0", data: "winners" }
}

/// In the order of their worth: whoever stops early has what matters most.
const LINES: &[Line] = &[
    line("s", "s"),
    line("lora", "lora"),
    Line { seed: "1", ..line("s-2", "s") },
    Line { seed: "1", ..line("lora-2", "lora") },
    line("winners", "winners"),
    line("reward", "reward"),
    Line { base: "emoji-flux", ..line("flux-s", "s") },
    Line { base: "emoji-flux", ..line("flux-lora", "lora") },
    Line { data: "ranked", ..line("ranked", "s") },
    line("lora-16", "lora-16"),
    line("i", "i"),
    Line { data: "winners-hasty", ..line("hasty", "s") },
    Line { seed: "2", ..line("s-3", "s") },
];

fn run(arguments: &[String]) -> Result<()> {
    let Plan { device, lines, out } = parse(arguments)?;
    let device = ["--device", &device];
    let features = process::feature_of(device[1]);
    process::run(&mut program::cargo("build", features))?;
    let start = |arguments: Vec<String>| {
        let mut program = program::started(features);
        process::run(program.args(arguments).args(device))
    };
    for (k, line) in lines.iter().enumerate() {
        let is_drawn = lines[..k].iter().any(|other| drawn(other) == drawn(line));
        if !is_drawn {
            start(drawn(line))?;
        }
        start(training(line, &out))?;
    }
    for base in ["emoji-sd", "emoji-flux"] {
        let of_base: Vec<Line> = lines.iter().copied().filter(|line| line.base == base).collect();
        if !of_base.is_empty() {
            start(measuring(base, &of_base, &out))?;
        }
    }
    Ok(())
}

/// Draws the pictures that `line` learns from, or finds them drawn.
fn drawn(line: &Line) -> Vec<String> {
    words(&["pairs", "--base", line.base, "--data", line.data])
}

/// Trains `line`, or goes on with it.
fn training(line: &Line, out: &Path) -> Vec<String> {
    let folder = out.join(line.name);
    let shown = folder.display().to_string();
    let mut arguments = words(&["train", "--base", line.base, "--data", line.data]);
    arguments.extend(words(&["--seed", line.seed, "--no-eval", "--plain", "--out", &shown]));
    if folder.join("config.toml").is_file() {
        arguments.push("--resume".to_owned());
    } else {
        let settings = workspace::root().join(format!("configs/evidence/{}.toml", line.settings));
        let settings = settings.display().to_string();
        arguments.extend(words(&["--steps", UPDATES, "--config", &settings]));
    }
    arguments
}

/// Measures the adapters of `lines`, all of them on `base`.
fn measuring(base: &str, lines: &[Line], out: &Path) -> Vec<String> {
    let cache = out.join("evaluation").display().to_string();
    let mut arguments = words(&["eval", "--base", base, "--limit", "660", "--cache", &cache]);
    arguments.push("--markdown".to_owned());
    for line in lines {
        let file = out.join(line.name).join("adapter.safetensors");
        let mut measured = |name: &str| {
            arguments.extend(words(&["--adapter", &format!("{name}={}", file.display())]));
        };
        measured(line.name);
        if line.settings == "s" && line.seed == "0" {
            // The network that was trained as S, used otherwise.
            measured(&format!("{}-as-p:p", line.name));
            measured(&format!("{}-as-i:i", line.name));
        }
    }
    arguments
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

struct Plan {
    device: String,
    lines: Vec<Line>,
    out: PathBuf,
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        device: "cpu".to_owned(),
        lines: LINES.to_vec(),
        out: workspace::root().join("runs/evidence"),
    };
    let usage = |what: String| Failure::Usage(format!("{what}\n\n{}", TASK.help));
    let mut arguments = arguments.iter();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| usage(format!("`{flag}` needs a value")));
        match flag.as_str() {
            "--device" => plan.device.clone_from(value()?),
            "--out" => plan.out = value()?.into(),
            "--lines" => {
                let find = |name| LINES.iter().find(|line| line.name == name).copied();
                let found = value()?.split(',').map(|name| {
                    find(name).ok_or_else(|| usage(format!("there is no line `{name}`")))
                });
                plan.lines = found.collect::<Result<_>>()?;
            }
            other => return Err(usage(format!("unknown argument `{other}`"))),
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn lines_are_taken_in_the_order_asked_for() {
        let lines = plan("--lines reward,s --device cuda:1").expect("a plan").lines;
        assert_eq!(lines.iter().map(|line| line.name).collect::<Vec<_>>(), ["reward", "s"]);
        assert_eq!(plan("").expect("a plan").lines, LINES);
        for wrong in ["--lines s,nothing", "--lines", "--seed 3"] {
            assert!(matches!(plan(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn every_line_has_its_settings_and_a_name_of_its_own() {
        for (k, line) in LINES.iter().enumerate() {
            let settings = format!("configs/evidence/{}.toml", line.settings);
            assert!(workspace::root().join(&settings).is_file(), "{settings}");
            assert!(LINES[..k].iter().all(|other| other.name != line.name), "{}", line.name);
            let mut words = TASK.help.split(|c: char| c.is_whitespace() || ",.".contains(c));
            assert!(words.any(|word| word == line.name), "{}", line.name);
        }
    }

    #[test]
    fn a_line_that_was_begun_goes_on() {
        let out = std::env::temp_dir().join(format!("xtask-evidence-{}", std::process::id()));
        let begins = training(&LINES[0], &out);
        assert!(begins.contains(&"--config".to_owned()), "{begins:?}");
        std::fs::create_dir_all(out.join("s")).unwrap();
        std::fs::write(out.join("s/config.toml"), "").unwrap();
        let goes_on = training(&LINES[0], &out);
        assert!(goes_on.contains(&"--resume".to_owned()), "{goes_on:?}");
        assert!(!goes_on.contains(&"--config".to_owned()), "{goes_on:?}");
        std::fs::remove_dir_all(&out).unwrap();
    }
}
