//! The commands: one file (or folder) each, holding its flags and its `run`.

pub mod bench;
pub mod completions;
pub mod detect;
pub mod doctor;
pub mod eval;
pub mod inspect;
pub mod key_steps;
pub mod parity;
pub mod pretrain;
pub mod sample;
pub mod score;
#[cfg(feature = "serve")]
pub mod serve_rewards;
pub mod train;
pub mod world;

use crate::args::Command;
use crate::context::Context;
use crate::outcome::Outcome;

/// Runs `command`.
///
/// # Errors
///
/// Fails as the command does; the report is for people.
pub fn run(command: Command, context: &Context) -> miette::Result<Outcome> {
    match command {
        Command::Eval(args) => eval::run(&args, context),
        Command::KeySteps(args) => key_steps::run(&args, context),
        Command::Sample(args) => sample::run(&args, context),
        Command::Score(args) => score::run(&args, context),
        #[cfg(feature = "serve")]
        Command::ServeRewards(args) => serve_rewards::run(&args, context),
        Command::Detect(args) => detect::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Train(args) => train::run(&args, context),
        Command::Inspect(args) => inspect::run(&args),
        Command::Parity(args) => parity::run(&args, context),
        Command::Pretrain(args) => pretrain::run(&args, context),
        Command::World(args) => world::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
        Command::Completions(args) => completions::run(&args),
    }
}
