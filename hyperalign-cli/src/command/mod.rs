//! The commands: one file (or folder) each, holding its flags and its `run`.

pub mod bench;
pub mod compare;
pub mod completions;
pub mod detect;
pub mod doctor;
pub mod eval;
pub mod inspect;
pub mod key_steps;
pub mod lora;
pub mod merge;
pub mod pairs;
pub mod parity;
pub mod pretrain;
pub mod report;
pub mod sample;
pub mod schema;
pub mod score;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "serve")]
pub mod serve_rewards;
#[cfg(feature = "serve")]
pub mod study;
pub mod train;
pub mod world;

use clap::Subcommand;

use crate::context::Context;
use crate::outcome::Outcome;

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make pictures from prompts, with or without an adapter.
    Sample(sample::Args),
    /// Align a base with its own hypernetwork, and measure what came of it.
    Train(train::Args),
    /// Measure the base and an adapter over the same prompts and seeds.
    Eval(eval::Args),
    /// Compare many methods on the same prompts, noise and seeds, and report it (hours; resumable).
    Compare(compare::Args),
    /// Put shards of a comparison together.
    Merge(merge::Args),
    /// Make the report of a comparison again, or draw the curves of a training run.
    Report(report::Args),
    /// Score pictures that are already there, by one reward or several.
    Score(score::Args),
    /// Find objects and their colours in pictures, and draw them: what GenEval's scorer sees.
    Detect(detect::Args),
    /// Answer requests for pictures over HTTP, with a page to ask for them.
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Answer requests for scores over HTTP, for trainers in other languages.
    #[cfg(feature = "serve")]
    ServeRewards(serve_rewards::Args),
    /// Ask people which of two pictures they prefer, blindly, and report what they say.
    #[cfg(feature = "serve")]
    Study(study::Args),
    /// Show what is in a checkpoint or an adapter, or which keys a weight file should have.
    Inspect(inspect::Args),
    /// Look into LoRA files, convert them, and make them of adapters.
    Lora(lora::Args),
    /// Choose the steps at which HyperAlign-P writes a new update.
    KeySteps(key_steps::Args),
    /// Draw the pictures of an embedded base that methods learn from.
    Pairs(pairs::Args),
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
    /// Print the JSON schema of the file that `train --config` or `sample --config` reads, for editors.
    Schema(schema::Args),
    /// Print the completion script of a shell.
    Completions(completions::Args),
}

/// Runs `command`.
///
/// # Errors
///
/// Fails as the command does; the report is for people.
pub fn run(command: Command, context: &Context) -> miette::Result<Outcome> {
    match command {
        Command::Eval(args) => eval::run(&args, context),
        Command::Compare(args) => compare::run(&args, context),
        Command::Merge(args) => merge::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Lora(args) => lora::run(&args, context),
        Command::KeySteps(args) => key_steps::run(&args, context),
        Command::Sample(args) => sample::run(&args, context),
        Command::Score(args) => score::run(&args, context),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, context),
        #[cfg(feature = "serve")]
        Command::ServeRewards(args) => serve_rewards::run(&args, context),
        #[cfg(feature = "serve")]
        Command::Study(args) => study::run(&args),
        Command::Detect(args) => detect::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Train(args) => train::run(&args, context),
        Command::Inspect(args) => inspect::run(&args),
        Command::Pairs(args) => pairs::run(&args, context),
        Command::Parity(args) => parity::run(&args, context),
        Command::Pretrain(args) => pretrain::run(&args, context),
        Command::World(args) => world::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
        Command::Schema(args) => schema::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
    }
}
