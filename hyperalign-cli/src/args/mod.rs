//! The command line. The doc comments here are the help text.

mod solver;

use std::fmt;

use clap::{
    Arg, Command as Parsing, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use hyperalign_core::device::{self, DeviceError};
use hyperalign_models::hypernet::Variant;

pub use self::solver::SolverArgs;
#[cfg(feature = "serve")]
use crate::command::serve_rewards;
use crate::command::{
    bench, completions, detect, doctor, eval, inspect, key_steps, parity, pretrain, sample, score,
    train, world,
};

/// Align text-to-image diffusion models with hypernetworks that adapt them at every step.
#[derive(Debug, Parser)]
#[command(
    name = "hyperalign",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted and saved."
)]
pub struct Cli {
    /// Device to compute on: cpu, cuda, vulkan, metal, wgpu or rocm, with an index as in cuda:1.
    ///
    /// Everything but cpu needs a program built with the feature of that name.
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE", value_parser = device)]
    pub device: String,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line. Ends the program for `--help`, `--version` and wrong usage.
    pub fn of_the_process() -> Self {
        let mut parsing = with_negative_numbers(Self::command());
        let matches = parsing.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut parsing).exit())
    }
}

/// Lets flags that take a number read a negative one, so that it is refused with the numbers that
/// can be given, and not as a flag that there is none of.
fn with_negative_numbers(parsing: Parsing) -> Parsing {
    let number = |arg: &Arg| {
        let mut names = arg.get_value_names().unwrap_or_default().iter();
        names.any(|name| ["N", "X"].contains(&name.as_str()))
    };
    parsing
        .mut_args(|arg| if number(&arg) { arg.allow_negative_numbers(true) } else { arg })
        .mut_subcommands(with_negative_numbers)
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make pictures from prompts, with or without an adapter.
    Sample(sample::Args),
    /// Align a base with its own hypernetwork, and measure what came of it.
    Train(train::Args),
    /// Measure the base and an adapter over the same prompts and seeds.
    Eval(eval::Args),
    /// Score pictures that are already there, by one reward or several.
    Score(score::Args),
    /// Find objects and their colours in pictures, and draw them: what GenEval's scorer sees.
    Detect(detect::Args),
    /// Answer requests for scores over HTTP, for trainers in other languages.
    #[cfg(feature = "serve")]
    ServeRewards(serve_rewards::Args),
    /// Show what is in a checkpoint or an adapter, or which keys a weight file should have.
    Inspect(inspect::Args),
    /// Choose the steps at which HyperAlign-P writes a new update.
    KeySteps(key_steps::Args),
    /// Compare our networks and schedulers with the reference implementations.
    Parity(parity::Args),
    /// Open the device, compute something on it, and tell which number formats it knows.
    Doctor(doctor::Args),
    /// Measure the embedded world: its exact scorer, an autoencoder, a preference model.
    World(world::Args),
    /// Time sampling, single calls and training steps.
    Bench(bench::Args),
    /// Make the embedded models from nothing (hours; resumable).
    Pretrain(pretrain::Args),
    /// Print the completion script of a shell.
    Completions(completions::Args),
}

/// How an adapter is used along a trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VariantChoice {
    /// Not at all: the base as it is.
    None,
    /// A new update at every step.
    S,
    /// A new update at the key steps.
    P,
    /// One update, at the first step.
    I,
}

impl VariantChoice {
    /// The variant, if an adapter is used.
    pub fn adapted(self) -> Option<Variant> {
        match self {
            Self::None => None,
            Self::S => Some(Variant::S),
            Self::P => Some(Variant::P),
            Self::I => Some(Variant::I),
        }
    }
}

impl fmt::Display for VariantChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::S => "s",
            Self::P => "p",
            Self::I => "i",
        })
    }
}

/// Reads a number of things of which there must be one.
///
/// # Errors
///
/// Fails for 0, below it, and for what is no whole number.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    let refused = || "a whole number of at least 1 is needed".to_owned();
    text.parse().ok().filter(|number| *number > 0).ok_or_else(refused)
}

/// Reads a number of updates.
///
/// # Errors
///
/// Fails where [`at_least_one`] does.
pub fn updates(text: &str) -> Result<u64, String> {
    at_least_one(text).map(|number| number as u64)
}

/// Reads a seed.
///
/// # Errors
///
/// Fails below 0 and for what is no whole number.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a seed is a whole number of at least 0".to_owned())
}

/// The name of a device, which need not be there.
fn device(text: &str) -> Result<String, DeviceError> {
    device::check_name(text).map(|()| text.to_owned())
}

/// Reads a number that is one.
///
/// # Errors
///
/// Fails for what is no number, for infinity and for NaN.
pub fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err("a finite number is needed".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}
