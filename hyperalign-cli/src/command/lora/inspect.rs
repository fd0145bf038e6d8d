//! `hyperalign lora inspect FILE`.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::path::PathBuf;

use hyperalign_models::lora::{LoraFile, Survey};
use hyperalign_models::weights::Tensors;
use miette::IntoDiagnostic;
use serde_json::{Value, json};

use crate::base::{self, BaseOptions};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

/// Values of the metadata are shown up to here; trainers keep whole tables in them.
const SHOWN: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Check that it can be laid over this base, every value of it.
    #[arg(long, value_name = "NAME_OR_DIR")]
    base: Option<String>,

    #[command(flatten)]
    base_options: BaseOptions,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what the file is; with a base, fails if it could not be laid over it.
pub(super) fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let device = context.device()?;
    let tensors = Tensors::open(&args.file).into_diagnostic()?;
    let (layers, fits) = match &args.base {
        None => (None, None),
        Some(name) => {
            let (base, _) = base::open(name, &args.base_options, &device)?;
            let layers = super::convert::layers_of(base.as_ref())?;
            let file = LoraFile::open_for(&args.file, &layers, base.as_ref(), &device);
            (Some(layers), Some((name, file.into_diagnostic()?.updates.len())))
        }
    };
    let survey = Survey::of(&args.file, &tensors, layers.as_ref(), &device).into_diagnostic()?;
    if args.json {
        let layers = fits.map(|(_, layers)| layers);
        output::print_json(&json!({
            "file": args.file,
            "lora": survey,
            "layers_of_base": layers,
            "metadata": tensors.metadata(),
        }))?;
        return Ok(Outcome::Done);
    }
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn Display| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("file", &args.file.display());
    line("names of", &list(&survey.conventions));
    line("made for", &survey.made_for.unwrap_or("a model that is not known here"));
    let matched = match survey.family {
        Some(family) if args.base.is_none() => {
            format!("{}, {} of them in {family} as published", survey.modules, survey.matched)
        }
        _ => survey.modules.to_string(),
    };
    line("modules", &matched);
    for name in &survey.unmatched {
        line("  not there", name);
    }
    for (part, targets) in &survey.targets {
        let layers: usize = targets.values().sum();
        line(part, &format!("{layers} layers: {}", counted(targets)));
    }
    line("rank", &counted(&survey.ranks));
    line("alpha", &counted(&survey.alphas));
    line("format", &counted(&survey.formats));
    if let Some((base, layers)) = fits {
        line("base", &format!("{layers} layers of {base} are adapted, and nothing is left over"));
    }
    for (key, value) in tensors.metadata() {
        line("metadata", &format!("{key}: {}", shortened(value)));
    }
    output::print(&text)?;
    Ok(Outcome::Done)
}

fn list(things: impl IntoIterator<Item = impl Display>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join("; ")
}

/// The things, with how many there are of each where there are several.
fn counted<T: Display>(things: &BTreeMap<T, usize>) -> String {
    match things.len() {
        1 => list(things.keys()),
        _ => list(things.iter().map(|(thing, count)| format!("{thing} ({count})"))),
    }
}

/// The beginning of a value, on one line; JSON without its spaces.
fn shortened(value: &str) -> String {
    let plain = serde_json::from_str::<Value>(value).map(|json| json.to_string());
    let plain = plain.unwrap_or_else(|_| value.replace(['\n', '\r'], " "));
    match plain.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ...", &plain[..end]),
        None => plain,
    }
}
