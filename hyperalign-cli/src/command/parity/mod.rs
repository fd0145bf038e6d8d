//! `hyperalign parity`: does our code compute what the reference implementations compute?
//!
//! A reference file holds the weights, inputs and outputs of one component of diffusers,
//! transformers or open_clip. The stem of its name says which component; its metadata hold the
//! sizes, so that files of any size pass through the same code.

mod aesthetic;
mod blip;
mod checks;
mod clip;
mod codecs;
mod components;
mod flux;
mod geneval;
mod golden;
mod lora_formats;
mod mask2former;
mod methods;
mod pipeline;
mod preprocess;
mod reward_methods;
mod schedulers;
mod t5;
mod test_time;
mod tokenizers;
mod unet;
mod vae;

use std::path::{Path, PathBuf};

use hyperalign_core::input;
use miette::{IntoDiagnostic, WrapErr};

use self::checks::{Checks, Row};
use self::components::{Component, component};
use self::golden::Golden;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

const HELP: &str = "\
Prints one row for each tensor of a reference file: its largest absolute error, that error relative \
to the largest absolute value of the reference, the tolerance of the latter (1e-4 for outputs, 1e-3 \
for gradients, 1e-5 for schedulers and for resized pictures), and whether it holds. A tensor that is \
in a file and was not computed is an error.

Exit status 0 only if all rows are ok. What is not built yet is listed as not supported; it counts \
as a failure in a file that was named, not in a file that was found in a folder.";

/// Flags of `hyperalign parity`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Reference files, or folders of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Folder with the vocabularies of the tokenizers; by default `assets/tokenizers` beside the
    /// folder that the reference folder lies in.
    #[arg(long, value_name = "DIR")]
    tokenizers: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A file to run.
struct Reference {
    path: PathBuf,
    /// Whether the user named it, rather than its folder.
    named: bool,
}

/// What is printed as JSON.
#[derive(serde::Serialize)]
struct Report {
    ok: bool,
    rows: Vec<Row>,
}

/// Runs all files and prints their rows.
///
/// # Errors
///
/// Fails if a path does not exist, a folder has no reference files, the device cannot be opened
/// or the output cannot be written. A file that cannot be run is a row.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let references = gather(&args.paths)?;
    let device = context.device()?;
    let mut ok = true;
    let mut rows = Vec::new();
    for Reference { path, named } in &references {
        let mut checks = Checks::new(path, &device, args.tokenizers.as_deref());
        check_file(path, &mut checks);
        let of_file = checks.into_rows();
        ok &= of_file.iter().all(|row| row.ok || (!row.supported && !named));
        rows.extend(of_file);
    }
    let report = Report { ok, rows };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&checks::table(&report.rows))?;
    }
    Ok(if ok { Outcome::Done } else { Outcome::Failed })
}

fn check_file(path: &Path, checks: &mut Checks) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match component(&stem).map(|(_, component)| component) {
        None => checks.error(&format!(
            "`{stem}` begins with the name of no component; known are {}",
            components::names().join(", ")
        )),
        Some(Component::NotBuilt) => checks.not_supported("*", "this component is not built yet"),
        Some(Component::Lines(runner)) => attempt(checks, |checks| runner(path, checks)),
        Some(Component::Tensors(runner)) => attempt(checks, |checks| {
            let golden = Golden::open(path)?;
            checks.expect(&golden);
            runner(&golden, checks)
        }),
    }
}

/// Runs a component; an error, or a contradiction in the file that only shows as a panic of the
/// shapes, becomes a row.
fn attempt(checks: &mut Checks, run: impl FnOnce(&mut Checks) -> miette::Result<()>) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(checks)));
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(report)) => {
            let causes: Vec<String> = report.chain().map(ToString::to_string).collect();
            checks.error(&causes.join(": "));
        }
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            checks.error(&format!("the computation broke off: {message}"));
        }
    }
}

/// The files of `paths`, those of folders in the order of their names.
fn gather(paths: &[PathBuf]) -> miette::Result<Vec<Reference>> {
    let mut references = Vec::new();
    for path in paths {
        if !path.is_dir() {
            // Opened here already, so that a mistyped name is one clear error and not a row.
            input::open(path)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot read the reference file `{}`", path.display()))?;
            references.push(Reference { path: path.clone(), named: true });
            continue;
        }
        let unreadable = || format!("cannot read the folder `{}`", path.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).into_diagnostic().wrap_err_with(unreadable)? {
            let file = entry.into_diagnostic().wrap_err_with(unreadable)?.path();
            if file.extension().is_some_and(|kind| kind == "safetensors" || kind == "jsonl") {
                files.push(file);
            }
        }
        if files.is_empty() {
            miette::bail!("`{}` holds no reference files (*.safetensors, *.jsonl)", path.display());
        }
        files.sort();
        references.extend(files.into_iter().map(|path| Reference { path, named: false }));
    }
    Ok(references)
}
