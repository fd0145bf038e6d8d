//! The pass over the pictures: a few at a time are read, decoded and scored, so that memory does
//! not grow with their number.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use hyperalign_core::image::{Header, MAX_PIXELS, png_metadata};
use hyperalign_train::learner::Stop;
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use super::{
    items::Item,
    journal::{Journal, JournalError, Line, stamp},
};
use crate::rewards::Judges;

/// Larger files are refused before they are read, in bytes: no picture of the allowed size needs
/// so many.
const MAX_FILE: u64 = 256 << 20;
/// Files that are read at once.
const READERS: usize = 4;
/// Seconds between lines of progress where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// A picture that could not be scored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failed {
    /// The file.
    pub image: String,
    /// Why.
    pub reason: String,
}

/// What became of one item.
pub type Result = std::result::Result<Line, Failed>;

struct Loaded {
    index: usize,
    picture: RgbImage,
    prompt: String,
    stamp: (u64, u64),
}

/// Scores `items`, at most `batch` at once, and goes on from the journal. The results are in the
/// order of the items; there are fewer if `stop` was requested.
///
/// # Errors
///
/// Fails if the journal cannot be written. What is wrong with a picture is its own result.
pub fn run(
    judges: &Judges,
    items: &[Item],
    batch: usize,
    mut journal: Option<Journal>,
    stop: &Stop,
) -> std::result::Result<Vec<Result>, JournalError> {
    let mut results: Vec<Option<Result>> = vec![None; items.len()];
    let mut open: Vec<usize> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match journal.as_ref().and_then(|journal| journal.find(item)) {
            Some(line) => {
                // Groups are the business of this run, not of the one that scored.
                results[index] = Some(Ok(Line { group: item.group.clone(), ..line.clone() }));
            }
            None => open.push(index),
        }
    }
    let progress = Progress::new(items.len(), items.len() - open.len());
    let mut waiting: Vec<Loaded> = Vec::new();
    let mut next = open.iter().copied();
    while !stop.is_requested() {
        let room = READERS.min(batch - waiting.len());
        let indices: Vec<usize> = next.by_ref().take(room).collect();
        let is_last = indices.len() < room;
        let loaded: Vec<_> = indices
            .into_par_iter()
            .map(|index| (index, load(judges, index, &items[index])))
            .collect();
        for (index, loaded) in loaded {
            match loaded {
                Ok(loaded) => waiting.push(loaded),
                Err(reason) => {
                    results[index] = Some(Err(progress.failed(&items[index], reason)));
                }
            }
        }
        let pixels: u64 =
            waiting.iter().map(|one| u64::from(one.picture.width() * one.picture.height())).sum();
        if waiting.len() == batch || pixels >= MAX_PIXELS || is_last {
            let done = score(judges, items, std::mem::take(&mut waiting));
            let lines: Vec<&Line> = done.iter().filter_map(|(_, r)| r.as_ref().ok()).collect();
            if let Some(journal) = &mut journal {
                journal.append(&lines)?;
            }
            for (index, result) in done {
                results[index] = Some(match result {
                    Ok(line) => Ok(progress.scored(line)),
                    Err(reason) => Err(progress.failed(&items[index], reason)),
                });
            }
        }
        if is_last {
            break;
        }
    }
    progress.finish();
    Ok(results.into_iter().flatten().collect())
}

/// Reads and decodes a picture, and finds out what it is to show.
fn load(judges: &Judges, index: usize, item: &Item) -> std::result::Result<Loaded, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let stamp = stamp(&item.path).map_err(unreadable)?;
    if stamp.0 > MAX_FILE {
        return Err(format!("it has {} bytes; at most {MAX_FILE} are read", stamp.0));
    }
    let bytes = std::fs::read(&item.path).map_err(unreadable)?;
    let header = Header::read(&bytes).map_err(|error| error.to_string())?;
    let picture = header.decode().map_err(|error| error.to_string())?;
    let embedded = || png_metadata(&bytes).ok()?.parameters.map(|parameters| parameters.prompt);
    let prompt = item.prompt.clone().or_else(embedded).ok_or(
        "it has no prompt: no --prompts names it, no .txt lies beside it, and it holds no \
         parameters",
    )?;
    judges.check(&picture, &prompt)?;
    Ok(Loaded { index, picture, prompt, stamp })
}

fn score(
    judges: &Judges,
    items: &[Item],
    loaded: Vec<Loaded>,
) -> Vec<(usize, std::result::Result<Line, String>)> {
    if loaded.is_empty() {
        return Vec::new();
    }
    let (mut pictures, mut prompts, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for Loaded { index, picture, prompt, stamp } in loaded {
        pictures.push(picture);
        prompts.push(prompt);
        rest.push((index, stamp));
    }
    let scores = judges.score(&pictures, &prompts);
    let lines =
        scores.into_iter().zip(prompts).zip(rest).map(|((scores, prompt), (index, stamp))| {
            let item = &items[index];
            let (image, group) = (item.path.clone(), item.group.clone());
            (index, scores.map(|scores| Line { image, stamp, prompt, group, scores }))
        });
    lines.collect()
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    lines: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    fn new(all: usize, done: usize) -> Self {
        let bar = ProgressBar::new(all as u64);
        let template = "{wide_bar} {pos}/{len} pictures, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if done > 0 {
            eprintln!("{done} of {all} pictures are scored already");
        }
        bar.set_position(done as u64);
        let lines = (!std::io::stderr().is_terminal()).then(Instant::now);
        Self { bar, lines: lines.into() }
    }

    fn scored(&self, line: Line) -> Line {
        self.step();
        line
    }

    fn failed(&self, item: &Item, reason: String) -> Failed {
        let failed = Failed { image: item.path.display().to_string(), reason };
        self.bar.suspend(|| eprintln!("{}: {}", failed.image, failed.reason));
        self.step();
        failed
    }

    fn step(&self) {
        self.bar.inc(1);
        if let Some(last) = self.lines.get()
            && last.elapsed() > EVERY
        {
            eprintln!("{} of {} pictures", self.bar.position(), self.bar.length().unwrap_or(0));
            self.lines.set(Some(Instant::now()));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
