//! `hyperalign inspect memory MODEL`: what a published model will take, before it is downloaded.

use hyperalign_models::flux::FluxConfig;

use super::memory::{Bytes, FORMATS, Sizes};
use crate::outcome::Outcome;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The published model.
    #[arg(value_enum)]
    model: Model,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Model {
    /// Stable Diffusion 1.5.
    Sd15,
    /// FLUX.1-dev.
    #[value(name = "flux1-dev")]
    Flux1Dev,
    /// FLUX.1-schnell.
    #[value(name = "flux1-schnell")]
    Flux1Schnell,
}

/// Prints the estimates.
pub(super) fn run(args: &Args) -> miette::Result<Outcome> {
    let memory = match args.model {
        Model::Sd15 => Sizes::sd15(),
        Model::Flux1Dev => Sizes::flux1(FluxConfig::dev()),
        Model::Flux1Schnell => Sizes::flux1(FluxConfig::schnell()),
    }
    .memory();
    if args.json {
        output::print_json(&memory)?;
        return Ok(Outcome::Done);
    }
    let formats: Vec<&Bytes> = FORMATS.iter().map(|name| &memory.formats[name]).collect();
    let row = |name: &str, of: &dyn Fn(&Bytes) -> usize| {
        let cells = formats.iter().map(|bytes| format!("{:>9.2}", gib(of(bytes))));
        format!("{name:<34}{}\n", cells.collect::<String>())
    };
    let names = FORMATS.map(|name| format!("{name:>9}")).concat();
    let mut text = format!("{:<34}{names}\n", "GiB");
    for part in formats[0].parts.keys() {
        text += &row(part, &|bytes| bytes.parts[part]);
    }
    text += &row("a matrix of 8 bits, as numbers", &|bytes| bytes.dense_matrix);
    text += &row("at work: the larger of a step", &|bytes| bytes.denoising);
    text += &row("  and of decoding", &|bytes| bytes.decoding);
    text += &row("sampling: the sum", &|bytes| bytes.sampling);
    text += &row("  with --release-text-encoders", &|bytes| bytes.sampling_released);
    text += &row("training, without a reward", &|bytes| bytes.training);
    let [height, width] = memory.size;
    text += &format!("one picture of {height}x{width}; {}\n", memory.note);
    output::print(&text)?;
    Ok(Outcome::Done)
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
