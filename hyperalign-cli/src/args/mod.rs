//! The command line. The doc comments here are the help text.

use clap::{Parser, Subcommand};

use crate::command::{completions, doctor, inspect, parity, pretrain};

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
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE")]
    pub device: String,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is in a checkpoint or an adapter, or which keys a weight file should have.
    Inspect(inspect::Args),
    /// Compare our networks and schedulers with the reference implementations.
    Parity(parity::Args),
    /// Open the device, compute something on it, and tell which number formats it knows.
    Doctor(doctor::Args),
    /// Make the embedded models from nothing (hours; resumable).
    Pretrain(pretrain::Args),
    /// Print the completion script of a shell.
    Completions(completions::Args),
}
