//! `hyperalign lora`: files that other programs read, and those that they wrote.

mod bake;
mod compare;
mod convert;
mod inspect;

use clap::ValueEnum;
use hyperalign_models::lora::Convention;

use crate::context::Context;
use crate::outcome::Outcome;

/// Flags of `hyperalign lora`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print what a LoRA file is: its convention, the model that it is for, ranks, alphas, the
    /// layers that it adapts, and what it says about itself.
    Inspect(inspect::Args),
    /// Write a LoRA in another convention. A static LoRA that this program trained is one too.
    Convert(convert::Args),
    /// Write what an adapter emits for a prompt as a plain LoRA, for programs that have no
    /// hypernetwork.
    Bake(bake::Args),
}

/// The convention that a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// PEFT and diffusers.
    Peft,
    /// kohya's sd-scripts, and nearly everything that reads LoRA.
    Kohya,
    /// Black Forest Labs and ComfyUI.
    Bfl,
}

impl To {
    fn convention(self) -> Convention {
        match self {
            Self::Peft => Convention::Peft,
            Self::Kohya => Convention::Kohya,
            Self::Bfl => Convention::Bfl,
        }
    }
}

/// Does what was asked for.
///
/// # Errors
///
/// Fails for files that cannot be read or written, and for LoRAs that do not fit.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    match &args.what {
        What::Inspect(args) => inspect::run(args, context),
        What::Convert(args) => convert::run(args, context),
        What::Bake(args) => bake::run(args, context),
    }
}
