//! `hyperalign bench`: how long sampling, single calls, training steps and rewards take, on this
//! machine.

mod flux;
mod machine;
mod measure;
mod rewards;
mod subject;
mod timing;

use burn::tensor::FloatDType;
use clap::ValueEnum;
use hyperalign_models::weights::Format as Held;
use hyperalign_train::eval::{Format, Table};
use serde::Serialize;

use self::flux::FluxSizes;
use self::machine::Machine;
use self::measure::{Row, Training};
use self::subject::Subject;
use self::timing::{Repeats, Timing};
use crate::args::at_least_one;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

/// Flags of `hyperalign bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,

    /// Size of the models.
    #[arg(long, value_enum, default_value = "emoji")]
    size: Size,

    /// What to time; several as in calls,training.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sampling,calls,training")]
    only: Vec<Part>,

    /// Timed repeats of everything. Default: 5 for emoji, else 1.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    repeat: Option<usize>,

    /// Untimed repeats before them. A GPU compiles its kernels in the first.
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,

    /// Sampling steps. Default: 10 for emoji, else 1: a step takes long on a
    /// CPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: Option<u16>,

    /// Rows of a call and pictures of a sampling. Training has the batch of its settings.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    batch: usize,

    /// Format of all numbers; q8 is bf16 with the matrices of transformer blocks in 8 bits.
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Dtype,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What else can be timed.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Pictures a second of the published rewards at full size, beside their Python originals.
    Rewards(rewards::Args),
}

/// Sizes of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Size {
    /// The embedded base, 64x64 pixels.
    Emoji,
    /// Stable Diffusion 1.5 with random weights, 512x512 pixels.
    Sd15,
    /// FLUX.1-dev with random weights, 1024x1024 pixels: for a GPU, with `--dtype bf16` or q8.
    #[value(name = "flux1-dev")]
    #[serde(rename = "flux1-dev")]
    Flux1Dev,
}

/// What can be timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The base, and S, P and I over it.
    Sampling,
    /// The hypernetwork and its parts over one U-Net call.
    Calls,
    /// An update, with rollout and both losses.
    Training,
}

/// Number formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Dtype {
    F32,
    Bf16,
    F16,
    Q8,
}

impl Dtype {
    /// How a base holds its weights, whose floats are those of everything.
    fn held(self) -> Held {
        match self {
            Self::F32 => Held::Float(FloatDType::F32),
            Self::Bf16 => Held::Float(FloatDType::BF16),
            Self::F16 => Held::Float(FloatDType::F16),
            Self::Q8 => Held::EightBit(FloatDType::BF16),
        }
    }
}

/// The answer.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    size: Size,
    weights: String,
    dtype: Dtype,
    /// Adapted layers.
    targets: usize,
    steps: usize,
    batch: usize,
    repeats: Repeats,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<Vec<Row>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<Row>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<Training>,
}

/// Measures and prints.
///
/// # Errors
///
/// Fails for a number format that the device does not compute in, and where training does: values
/// may leave the range of f16.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    if let Some(Other::Rewards(args)) = &args.other {
        return rewards::run(args, context);
    }
    let held = args.dtype.held();
    let device = context.device_in(held.float())?;
    let (repeat, steps) = match args.size {
        Size::Emoji => (5, 10),
        Size::Sd15 | Size::Flux1Dev => (1, 1),
    };
    let steps = args.steps.map_or(steps, usize::from);
    let repeats = Repeats { warmup: args.warmup, timed: args.repeat.unwrap_or(repeat) };
    let subject = match args.size {
        Size::Emoji => Subject::emoji(held, &device)?,
        Size::Sd15 => Subject::sd15(steps, held, &device)?,
        Size::Flux1Dev => Subject::flux(&FluxSizes::dev(), steps, held, &device)?,
    };
    let wants = |part| args.only.contains(&part);
    let mut report = Report {
        machine: Machine::this(context.device_name()),
        size: args.size,
        weights: subject.weights.clone(),
        dtype: args.dtype,
        targets: subject.base.lora_targets().len(),
        steps,
        batch: args.batch,
        repeats,
        sampling: None,
        calls: None,
        training: None,
    };
    if wants(Part::Calls) {
        output::note("timing calls");
        report.calls = Some(measure::calls(&subject, args.batch, repeats)?);
    }
    if wants(Part::Sampling) {
        output::note("timing sampling");
        report.sampling = Some(measure::sampling(&subject, steps, args.batch, repeats)?);
    }
    if wants(Part::Training) {
        output::note("timing training");
        report.training = Some(measure::training(&subject, repeats)?);
    }
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&text(&report, &subject))?;
    }
    Ok(Outcome::Done)
}

/// The answer for people.
fn text(report: &Report, subject: &Subject) -> String {
    let Report { machine, weights, targets, steps, batch, repeats, .. } = report;
    let dtype = format!("{:?}", report.dtype).to_lowercase();
    let mut text = format!(
        "machine  {}, {} cores, {}\n\
         device   {}, {dtype}\n\
         program  {}\n\
         models   {weights}; a fresh hypernetwork on {targets} layers\n\
         repeats  {} timed after {} untimed; median, least and most are seconds\n",
        machine.cpu,
        machine.cores,
        machine.system,
        machine.device,
        machine.program,
        repeats.timed,
        repeats.warmup,
    );
    if let Some(rows) = &report.sampling {
        let header = format!("sampling {batch} x {steps} steps");
        text += &format!("\n{}", table(&header, "over base", rows));
    }
    if let Some(rows) = &report.calls {
        let over = format!("over {}", subject.calls[0]);
        text += &format!("\n{}", table(&format!("one call, {batch} rows"), &over, rows));
    }
    if let Some(training) = &report.training {
        let Training { seconds, reward, stopped, peak_memory_bytes, device_memory_bytes } =
            training;
        let method = &subject.method;
        let mut row = vec!["update".to_owned()];
        row.extend(seconds.map_or_else(|| ["-"; 3].map(str::to_owned), cells));
        row.extend([memory(*peak_memory_bytes), memory(*device_memory_bytes)]);
        let header = ["training step", "median", "least", "most", "peak memory", "on device"];
        let table = Table { header: header.map(str::to_owned).into(), rows: vec![row] }
            .write(Format::Plain);
        text += &format!(
            "\n{table}\n\
             An update with both losses and its share of the rollout: {} trajectories of at most {} \
             guided steps, {} states\nof each in {} updates, decoded and scored by {}; {} preferred \
             pictures an update; two backward passes,\n{} threads. Peak memory is the process's own, \
             models and all that ran before included.\n",
            method.trajectories,
            subject.trajectory.steps,
            method.supervised_steps,
            method.updates_of_a_rollout(),
            reward,
            method.preferred_batch,
            subject.shards,
        );
        if let Some(reason) = stopped {
            text += &format!("Training stopped: {reason}.\n");
        }
    }
    text
}

fn table(header: &str, ratio: &str, rows: &[Row]) -> String {
    let header = [header, "median", "least", "most", ratio];
    let rows = rows.iter().map(|row| {
        let cells = cells(row.seconds);
        let ratio = format!("{:.3}", row.over_first);
        std::iter::once(row.what.clone()).chain(cells).chain([ratio]).collect()
    });
    Table { header: header.map(str::to_owned).into(), rows: rows.collect() }.write(Format::Plain)
}

fn cells(Timing { median, min, max }: Timing) -> [String; 3] {
    [median, min, max].map(|seconds| format!("{seconds:.4}"))
}

fn memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "-".to_owned(),
        |bytes| format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30)),
    )
}
