//! `hyperalign train --dry-run`: what a run will take, measured on its first updates.

use std::fs;
use std::path::Path;

use hyperalign_core::{memory, stop::Stop};
use hyperalign_train::{
    align::{AlignSettings, align},
    learner::{Progress, Run, log_rows},
    method::Materials,
    watch::WatchSettings,
};
use miette::IntoDiagnostic;
use serde::Serialize;

use crate::command::inspect;
use crate::disk;
use crate::hub::Downloads;
use crate::outcome::Outcome;
use crate::output;

/// What a run takes.
#[derive(Debug, Serialize)]
struct Needs {
    base: String,
    device: String,
    method: &'static str,
    updates: u64,
    /// Mean over the updates that share what is prepared, after as many of warming up.
    seconds_an_update: f64,
    /// All updates, without sample pictures, evaluations along the way and the table.
    hours: f64,
    /// The most that this process held, the base included. Of the CPU alone.
    peak_memory_bytes: Option<u64>,
    /// What `hyperalign inspect checkpoint` estimates, where the base is one that it knows.
    estimate: Option<serde_json::Value>,
    /// The adapter, and the checkpoints that are kept, with one more while it is written.
    disk_bytes: u64,
    /// Bytes that are free where the checkpoints go.
    free_bytes: Option<u64>,
    /// What of the hub is missing.
    downloads: Option<Downloads>,
}

/// Tells what has to be downloaded before anything can be measured.
///
/// # Errors
///
/// Fails if it cannot be printed.
pub(super) fn unmeasured(downloads: &Downloads, json: bool) -> miette::Result<Outcome> {
    match json {
        true => output::print_json(&serde_json::json!({ "downloads": downloads }))?,
        false => output::print(&format!(
            "{}nothing was downloaded, and nothing measured: the run needs files that are not in the cache\n",
            downloads.told()
        ))?,
    }
    Ok(Outcome::Done)
}

/// Makes the first updates in a folder that is thrown away, and tells what all of them will take.
///
/// # Errors
///
/// Fails as training does.
pub(super) fn run(
    world: &Materials,
    settings: &AlignSettings,
    key_steps: &[usize],
    (given, out, device): (&str, &Path, &str),
    downloads: Option<Downloads>,
    stop: &Stop,
    json: bool,
) -> miette::Result<Outcome> {
    let span = settings.method.span();
    let dir = tempfile::tempdir().into_diagnostic()?;
    let run = Run { stop: stop.clone(), progress: Progress::Quiet, ..Run::new(dir.path(), "") };
    let aligned = align(world, &measured(settings, 2 * span), key_steps, &run).into_diagnostic()?;
    let Some(adapter) = aligned.path else { return Ok(Outcome::Interrupted) };

    let rows = log_rows(dir.path()).into_diagnostic()?;
    let seconds = rows.iter().filter_map(|row| row["seconds"].as_f64()).skip(span as usize);
    let seconds_an_update = seconds.sum::<f64>() / span as f64;
    let checkpoint = disk::size(&dir.path().join("checkpoints"));
    let training = &settings.training;
    let needs = Needs {
        base: world.base.name().to_owned(),
        device: device.to_owned(),
        method: settings.method.name(),
        updates: training.updates,
        seconds_an_update,
        hours: seconds_an_update * training.updates as f64 / 3600.0,
        peak_memory_bytes: memory::peak(),
        estimate: inspect::estimate(Path::new(given)),
        disk_bytes: (training.keep as u64 + 1) * checkpoint
            + fs::metadata(adapter).into_diagnostic()?.len(),
        free_bytes: disk::free(out),
        downloads,
    };
    match json {
        true => output::print_json(&needs)?,
        false => output::print(&told(&needs))?,
    }
    Ok(Outcome::Done)
}

/// The first `updates` of a run, with nothing beside them.
fn measured(settings: &AlignSettings, updates: u64) -> AlignSettings {
    let mut settings = settings.clone();
    settings.training.updates = updates;
    settings.training.checkpoint_every = updates;
    settings.training.time_limit = None;
    settings.samples.every = 0;
    settings.watch = WatchSettings { every: 0, stop: false, ..settings.watch };
    settings
}

fn told(needs: &Needs) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let mut text = format!(
        "{} on {} with {}: {} updates of {:.2} s, {:.1} hours, without what is made along the way and the table\n",
        needs.method, needs.base, needs.device, needs.updates, needs.seconds_an_update, needs.hours,
    );
    if let Some(peak) = needs.peak_memory_bytes {
        text += &format!("memory of this process: {} MiB at most, as measured\n", mib(peak));
    }
    for format in ["f32", "bf16", "q8"] {
        let estimate = needs.estimate.as_ref().map(|estimate| &estimate[format]["training"]);
        if let Some(bytes) = estimate.and_then(serde_json::Value::as_u64) {
            text += &format!(
                "memory with one state at a time, without a reward, in {format}: about {} MiB, to a \
                 factor of two\n",
                mib(bytes)
            );
        }
    }
    let free =
        needs.free_bytes.map_or(String::new(), |free| format!(", {} MiB are free", mib(free)));
    text +=
        &format!("disk: {} MiB for the adapter and the checkpoints{free}\n", mib(needs.disk_bytes));
    text += &needs.downloads.as_ref().map_or(String::new(), Downloads::told);
    text + "nothing was downloaded, nothing was kept\n"
}
