//! `hyperalign bench rewards`: pictures a second of every published reward at full size.

use std::{path::PathBuf, process::Command};

use hyperalign_core::noise::{Purpose, Stream};
use hyperalign_rewards::{
    Entry, Prompt, entry,
    geneval::{self, Include, Task},
    network_of, registry,
};
use hyperalign_train::eval::{Format, Table};
use image::{Rgb, RgbImage};
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::timing::{Repeats, Timing, Work, time};
use crate::args::at_least_one;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

/// The Python originals, timed in the same way.
const ORIGINALS: &str = include_str!("rewards.py");
const PROMPT: &str = "a red heart to the left of a dog";

/// Flags of `hyperalign bench rewards`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to time. Default: every published reward, one after the other; of ViT-H it takes
    /// 4 GiB of memory.
    #[arg(value_name = "REWARD")]
    rewards: Vec<String>,

    /// Pictures that are scored at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    batch: usize,

    /// Edge of the pictures, in pixels.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one)]
    edge: usize,

    /// Timed repeats.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    repeat: usize,

    /// Untimed repeats before them.
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,

    /// Also times the score with its gradient to the pixels.
    #[arg(long)]
    gradient: bool,

    /// A Python with open_clip, transformers and torchvision: times the originals in the same run
    /// and prints how many times as fast this program is.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("unknown reward `{given}`")]
#[diagnostic(help("published rewards: {known}"))]
struct UnknownReward {
    given: String,
    known: String,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    batch: usize,
    edge: usize,
    repeats: Repeats,
    rewards: Vec<Row>,
}

/// One reward; seconds are those of a batch.
#[derive(Debug, Serialize)]
struct Row {
    reward: &'static str,
    seconds: Timing,
    images_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    with_gradient: Option<Timing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    python: Option<Timing>,
    /// Seconds of Python over ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    faster_than_python: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    python_missing: Option<String>,
}

/// A line of the originals.
#[derive(Debug, Deserialize)]
struct Original {
    #[serde(default)]
    seconds: Vec<f64>,
    missing: Option<String>,
}

/// Measures and prints.
///
/// # Errors
///
/// Fails for a reward that does not exist, and for a Python that cannot be started.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let device = context.device()?;
    let entries: Vec<&Entry> = match args.rewards.is_empty() {
        // Two ways to prepare pictures for one network are one time.
        true => registry().iter().filter(|entry| network_of(entry.name) == entry.name).collect(),
        false => args.rewards.iter().map(|name| find(name)).collect::<Result<_, _>>()?,
    };
    let repeats = Repeats { warmup: args.warmup, timed: args.repeat };
    let pictures: Vec<RgbImage> = (0..args.batch as u32).map(|k| noise(args.edge, k)).collect();
    let prompts = vec![prompt(); args.batch];
    let mut rows = Vec::new();
    for entry in entries {
        output::note(&format!("timing {}", entry.name));
        // One network in memory at a time.
        let reward = entry.random(&device).into_diagnostic()?;
        let mut works: Vec<Work> = vec![(
            "score",
            Box::new(|| {
                reward.score_pictures(&pictures, &prompts, &device);
                Ok(())
            }),
        )];
        if args.gradient && reward.differentiable() {
            works.push((
                "gradient",
                Box::new(|| {
                    let images = hyperalign_core::image::from_images(&pictures, &device);
                    let (_, gradient) = reward.score_with_gradient(images, &prompts);
                    super::timing::wait(gradient);
                    Ok(())
                }),
            ));
        }
        let timed = time(repeats, works)?;
        drop(reward);
        let seconds = timed[0].1;
        let mut row = Row {
            reward: entry.name,
            seconds,
            images_per_second: args.batch as f64 / seconds.median,
            with_gradient: timed.get(1).map(|(_, timing)| *timing),
            python: None,
            faster_than_python: None,
            python_missing: None,
        };
        if let Some(python) = &args.python {
            let original = original(python, args, entry.name)?;
            row.python = Timing::of(original.seconds);
            row.faster_than_python = row.python.map(|python| python.median / seconds.median);
            row.python_missing = original.missing;
        }
        rows.push(row);
    }
    let machine = Machine::this(context.device_name());
    let report = Report { machine, batch: args.batch, edge: args.edge, repeats, rewards: rows };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&text(&report))?;
    }
    Ok(Outcome::Done)
}

fn find(name: &str) -> Result<&'static Entry, UnknownReward> {
    entry(name).ok_or_else(|| UnknownReward {
        given: name.to_owned(),
        known: registry().iter().map(|entry| entry.name).collect::<Vec<_>>().join(", "),
    })
}

/// What pictures are scored against. Its rules are for rewards that judge by some: an object that
/// a detector of COCO's classes looks for.
fn prompt() -> Prompt {
    let include = Include { class: "dog".to_owned(), count: 1, color: None, position: None };
    let row = geneval::Row {
        tag: Task::SingleObject,
        include: vec![include],
        exclude: Vec::new(),
        prompt: PROMPT.to_owned(),
    };
    Prompt { text: PROMPT.to_owned(), row: Some(row), ..Prompt::default() }
}

/// A picture of noise.
fn noise(edge: usize, index: u32) -> RgbImage {
    let mut stream = Stream::new(super::subject::SEED, Purpose::World, 0, index);
    let edge = edge as u32;
    RgbImage::from_fn(edge, edge, |_, _| Rgb(std::array::from_fn(|_| stream.below(256) as u8)))
}

/// Times the original of one reward.
fn original(python: &PathBuf, args: &Args, name: &str) -> miette::Result<Original> {
    output::note(&format!("timing {name} in Python"));
    let numbers = [args.batch, args.edge, args.warmup, args.repeat].map(|n| n.to_string());
    let output = Command::new(python)
        .args(["-c", ORIGINALS])
        .args(numbers)
        .arg(name)
        .output()
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot start `{}`", python.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Libraries may print before.
    let answer = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    Ok(answer.unwrap_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("it printed nothing").to_owned();
        Original { seconds: Vec::new(), missing: Some(last) }
    }))
}

/// The answer for people.
fn text(report: &Report) -> String {
    let Report { machine, batch, edge, repeats, rewards } = report;
    let with_gradient = rewards.iter().any(|row| row.with_gradient.is_some());
    let with_python =
        rewards.iter().any(|row| row.python.is_some() || row.python_missing.is_some());
    let mut header = vec!["reward", "s a batch", "pictures/s"];
    if with_gradient {
        header.push("s with gradient");
    }
    if with_python {
        header.extend(["s in Python", "times as fast"]);
    }
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |x| format!("{x:.3}"));
    let median = |timing: Option<Timing>| number(timing.map(|timing| timing.median));
    let cells = |row: &Row| {
        let mut cells = vec![
            row.reward.to_owned(),
            number(Some(row.seconds.median)),
            number(Some(row.images_per_second)),
        ];
        if with_gradient {
            cells.push(median(row.with_gradient));
        }
        if with_python {
            cells.extend([median(row.python), number(row.faster_than_python)]);
        }
        cells
    };
    let header = header.into_iter().map(str::to_owned).collect();
    let table = Table { header, rows: rewards.iter().map(cells).collect() }.write(Format::Plain);
    let mut text = format!(
        "machine  {}, {} cores, {}\n\
         device   {}, f32\n\
         program  {}\n\
         work     {batch} pictures of {edge}x{edge} at once, published sizes, random weights\n\
         repeats  {} timed after {} untimed; medians\n\n{table}",
        machine.cpu,
        machine.cores,
        machine.system,
        machine.device,
        machine.program,
        repeats.timed,
        repeats.warmup,
    );
    for row in rewards {
        if let Some(why) = &row.python_missing {
            text += &format!("{} in Python: {why}\n", row.reward);
        }
    }
    text
}
