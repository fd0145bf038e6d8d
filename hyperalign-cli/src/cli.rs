//! The whole command line. The doc comments here are the help text.

use clap::{Arg, Command as Parsing, CommandFactory, FromArgMatches, Parser};
use hyperalign_core::device::{self, DeviceError};

use crate::command::Command;
use crate::config;

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

    /// Compile a GPU's kernels anew instead of keeping them in the user's cache.
    ///
    /// They are kept in `kernels` in the folder HYPERALIGN_CACHE, or else in hyperalign/kernels of
    /// the user's cache.
    #[arg(long, global = true)]
    pub no_kernel_cache: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line, with the options of the file that `sample --config` names. Ends the
    /// program for `--help`, `--version` and wrong usage.
    ///
    /// # Errors
    ///
    /// Fails for a file of options that cannot be read or used.
    pub fn of_the_process() -> miette::Result<Self> {
        let mut parsing = with_negative_numbers(Self::command());
        let line = config::with_file(&parsing, "sample", std::env::args_os().collect())?;
        let matches = parsing.try_get_matches_from_mut(line).unwrap_or_else(|error| error.exit());
        let read = Self::from_arg_matches(&matches);
        Ok(read.unwrap_or_else(|error| error.format(&mut parsing).exit()))
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

/// The name of a device, which need not be there.
fn device(text: &str) -> Result<String, DeviceError> {
    device::check_name(text).map(|()| text.to_owned())
}
