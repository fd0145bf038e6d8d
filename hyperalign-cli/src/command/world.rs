//! `hyperalign world`: how exact the emoji world's scorer is, and how good its judges are.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_core::stop::Stop;
use hyperalign_models::base::{Base, Preset};
use hyperalign_rewards::{
    ClipReward, Prompt, Reward,
    emoji::{Acceptance, Exactness, SIZE, World},
    geneval::{Row, Task},
};
use hyperalign_train::data::world_of;
use hyperalign_train::eval::{
    Format, Orderings, Reconstructions, Sampling, Separation, Table, draws_emoji, orderings,
    rebuilt, reconstructions, separation,
};
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};
use serde::Serialize;

use crate::args::{at_least_one, finite};
use crate::base::{self, BaseOptions};
use crate::context::Context;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts::OwnPrompts;
use crate::scorers;

/// Samples of a prompt: enough that most prompts have right and wrong ones.
const PICTURES_A_PROMPT: usize = 4;

/// Flags of `hyperalign world`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Base of the emoji world (emoji-sd, or a folder): judge its reconstructions too, and with
    /// --judge its samples.
    #[arg(long, value_name = "NAME_OR_DIR")]
    base: Option<String>,

    #[command(flatten)]
    base_options: BaseOptions,

    /// Preference model to measure: an embedded one (emoji-proxy, emoji-heldout) or a folder.
    #[arg(long, value_name = "NAME_OR_DIR")]
    judge: Option<String>,

    /// Which world. Default: that of the base or the judge, else the large one.
    #[arg(long, value_enum, value_name = "WORLD")]
    world: Option<WorldName>,

    /// Judge every thing of the world by itself as well.
    #[arg(long)]
    things: bool,

    /// Renders that are judged.
    #[arg(long, value_name = "N", default_value_t = 600,
        value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// Samples of the base that the judge is measured on, four of each prompt.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = at_least_one)]
    samples: usize,

    /// Prompts that the judge is measured on. The embedded ones learned preferences of `train`
    /// alone; choose by `tuning`, so that `test` stays unseen by choices.
    #[arg(long, value_enum, default_value_t)]
    split: OwnPrompts,

    /// Seed of renders and prompts.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Sampling steps. Default: what suits the base.
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "base")]
    steps: Option<usize>,

    /// Weight of classifier-free guidance. Default: what suits the base.
    #[arg(long, value_name = "X", value_parser = finite, requires = "base")]
    guidance: Option<f64>,

    /// The most pictures made at once. It changes speed and memory only.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    batch: usize,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A world on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WorldName {
    /// 11 objects, three shapes in five colours.
    Small,
    /// 20 objects, three shapes in eight colours.
    Large,
}

impl From<WorldName> for World {
    fn from(name: WorldName) -> Self {
        match name {
            WorldName::Small => Self::SMALL,
            WorldName::Large => Self::LARGE,
        }
    }
}

/// A base of another world.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the base `{given}` does not draw the emoji world's pictures of {SIZE}x{SIZE}")]
#[diagnostic(help("take `--base emoji-sd`, or leave `--base` out"))]
struct OtherWorld {
    given: String,
}

/// An option that says something of a base, and no base.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{option}` is about a base, and there is no `--base`")]
#[diagnostic(help("add `--base emoji-sd`, or leave `{option}` out"))]
struct NoBase {
    option: &'static str,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Findings {
    clean: Exactness,
    #[serde(skip_serializing_if = "Option::is_none")]
    things: Option<BTreeMap<String, Acceptance>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuilt_things: Option<BTreeMap<String, Acceptance>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconstructions: Option<Reconstructions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judge: Option<Judged>,
}

#[derive(Debug, Serialize)]
struct Judged {
    name: String,
    split: OwnPrompts,
    orderings: Orderings,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<Separation>,
}

/// Measures and prints.
///
/// # Errors
///
/// Fails for a base or a judge that cannot be read or is not of the emoji world, for options of a
/// base without one, and a number of steps that the base's schedule cannot take.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    if let (None, Some(option)) = (&args.base, args.base_options.first_given()) {
        return Err(NoBase { option }.into());
    }
    let device = context.device()?;
    let base = match &args.base {
        Some(given) => {
            let (base, preset) = base::open(given, &args.base_options, &device)?;
            if !draws_emoji(base.as_ref()) {
                return Err(OtherWorld { given: given.clone() }.into());
            }
            Some((base, preset))
        }
        None => None,
    };
    let judge = match &args.judge {
        Some(given) => Some((given, scorers::reward(given, &device)?)),
        None => None,
    };
    let world = match (args.world, &base, &judge) {
        (Some(world), ..) => world.into(),
        (None, Some((base, _)), _) => world_of(base.as_ref()),
        (None, None, Some((_, judge))) => {
            World::of_words(|word| judge.check([SIZE; 2], &Prompt::of(&[word])).is_ok())
        }
        (None, None, None) => World::LARGE,
    };
    if let Some((_, judge)) = &judge {
        judge.check([SIZE; 2], &Prompt::of(&world.vocabulary())).into_diagnostic()?;
    }
    let clean = world.exactness(args.count, args.seed, |pictures| pictures);
    let things =
        args.things.then(|| world.exactness_of_glyphs(args.count, args.seed, |pictures| pictures));
    let rebuilt_things = base.as_ref().filter(|_| args.things).map(|(base, _)| {
        world.exactness_of_glyphs(args.count, args.seed, |pictures| {
            rebuilt(base.as_ref(), pictures, &device)
        })
    });
    let reconstructions = base
        .as_ref()
        .map(|(base, _)| reconstructions(base.as_ref(), world, args.count, args.seed, &device));
    let judge = match judge {
        Some((name, judge)) => match measure(args, name, &judge, world, base.as_ref(), &device)? {
            Some(judged) => Some(judged),
            None => return Ok(Outcome::Interrupted),
        },
        None => None,
    };
    let base = base.map(|(base, _)| base.name().to_owned());
    let findings = Findings { clean, things, rebuilt_things, base, reconstructions, judge };
    if args.json {
        output::print_json(&findings)?;
    } else {
        output::print(&report(&findings))?;
    }
    Ok(Outcome::Done)
}

/// Measures the judge; `None` if it was interrupted.
fn measure(
    args: &Args,
    name: &str,
    judge: &ClipReward,
    world: World,
    base: Option<&(Arc<dyn Base>, Preset)>,
    device: &Device,
) -> miette::Result<Option<Judged>> {
    let rows = |n| world.prompts(args.split.into(), n, args.seed);
    let orderings =
        orderings(judge, world, &rows(args.count as usize), args.seed, device).into_diagnostic()?;
    let mut judged = Judged { name: name.to_owned(), split: args.split, orderings, samples: None };
    let Some((base, preset)) = base else { return Ok(Some(judged)) };
    let sampling = Sampling {
        batch: args.batch,
        ..Sampling::new(
            args.steps.unwrap_or(preset.steps),
            args.guidance.unwrap_or(preset.guidance_scale),
        )
    };
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let bar = ProgressBar::new(args.samples as u64);
    let mut made = |n: usize| bar.set_position(n as u64);
    let prompts = rows(args.samples.div_ceil(PICTURES_A_PROMPT));
    let drawn = prompts.iter().flat_map(|row| std::iter::repeat_n(row, PICTURES_A_PROMPT));
    let drawn: Vec<Row> = drawn.take(args.samples).cloned().collect();
    let separation = separation(judge, base.as_ref(), &drawn, &sampling, &stop, &mut made);
    bar.finish_and_clear();
    judged.samples = separation.into_diagnostic()?;
    Ok(judged.samples.is_some().then_some(judged))
}

/// The findings for people.
fn report(findings: &Findings) -> String {
    let Findings { clean, things, rebuilt_things, base, reconstructions, judge } = findings;
    let mut text = String::new();
    let mut columns = columns(clean, "clean");
    if let Some(reconstructions) = reconstructions {
        columns.extend(self::columns(&reconstructions.exactness, "rebuilt"));
    }
    text += &table(&columns);
    text += &format!(
        "\nGold scorer on {} renders, the tasks in turn: share that it accepts with the row they \
         were drawn from\n(right, should be 1) and with a row that is wrong in one attribute \
         (corrupted, should be 0).\n",
        clean.all.pictures
    );
    if let (Some(base), Some(Reconstructions { psnr, .. })) = (base, reconstructions) {
        text += &format!("rebuilt: after the autoencoder of {base}, PSNR {psnr:.2} dB.\n");
    }
    for (things, what) in [(things, "clean"), (rebuilt_things, "rebuilt")] {
        let Some(things) = things else { continue };
        let right = things.iter().map(|(name, found)| format!("{name} {:.3}", found.right));
        text += &format!("\n{what}, right by thing: {}\n", right.collect::<Vec<_>>().join(", "));
    }
    let Some(Judged { name, split, orderings, samples }) = judge else { return text };
    let share = |value: f64| format!("{value:.3}");
    let mut columns = vec![
        column("caption", |t| share(t.map_or(orderings.all, |t| orderings.per_task[&t]).captions)),
        column("picture", |t| share(t.map_or(orderings.all, |t| orderings.per_task[&t]).pictures)),
    ];
    if let Some(samples) = samples {
        let of = |task: Option<Task>| task.map_or(samples.all, |task| samples.per_task[&task]);
        let area = |area: Option<f64>| area.map_or_else(|| "-".to_owned(), share);
        columns.push(column("AUC", |t| area(of(t).auc)));
        columns.push(column("same prompt", |t| area(of(t).same_prompt)));
        columns.push(column("right", |t| of(t).right.to_string()));
        columns.push(column("wrong", |t| of(t).wrong.to_string()));
    }
    text += &format!("\n{}", table(&columns));
    let split = split.name();
    text += &format!(
        "\nJudge {name} on {} {split} prompts: how often the right caption scores above a \
         corrupted one (caption),\nand the right picture above one of the corrupted caption \
         (picture). Chance is .5.\n",
        orderings.all.pairs
    );
    if samples.is_some() {
        text += "AUC: how often a sample of the base that is right scores above a wrong one of \
                 the same task;\nsame prompt: the same over pairs of pictures of one prompt.\n";
    }
    text
}

/// A column of the table: its header, the cell of all tasks and one for each.
struct Column {
    header: String,
    all: String,
    per_task: Vec<String>,
}

fn column(header: &str, cell: impl Fn(Option<Task>) -> String) -> Column {
    let per_task = Task::ALL.into_iter().map(|task| cell(Some(task))).collect();
    Column { header: header.to_owned(), all: cell(None), per_task }
}

fn columns(exactness: &Exactness, what: &str) -> Vec<Column> {
    let of = |task: Option<Task>| task.map_or(exactness.all, |task| exactness.per_task[&task]);
    let column = |name: &str, value: &dyn Fn(Acceptance) -> f64| {
        column(&format!("{what} {name}"), |task| format!("{:.3}", value(of(task))))
    };
    vec![column("right", &|found| found.right), column("corrupted", &|found| found.corrupted)]
}

fn table(columns: &[Column]) -> String {
    let headers = columns.iter().map(|column| column.header.clone());
    let row = |name: String, cell: &dyn Fn(&Column) -> String| {
        std::iter::once(name).chain(columns.iter().map(cell)).collect::<Vec<_>>()
    };
    let tasks = Task::ALL
        .iter()
        .enumerate()
        .map(|(k, task)| row(task.to_string(), &|column| column.per_task[k].clone()));
    let all = row("all".to_owned(), &|column| column.all.clone());
    Table {
        header: std::iter::once("task".to_owned()).chain(headers).collect(),
        rows: tasks.chain([all]).collect(),
    }
    .write(Format::Plain)
}
