//! What the folder of a training run holds, whether it has ended or not.

use std::{
    io,
    path::{Path, PathBuf},
};

use hyperalign_core::input;
use serde_json::Value;

use super::RunLog;
use crate::{
    learner::{log_rows, whole_lines},
    watch,
};

/// Sample grids of a run that are shown; of more, some, evenly.
const GRIDS: usize = 12;

/// What the run in `folder` has left so far.
///
/// # Errors
///
/// Fails for a folder without a log, and where a file cannot be read.
pub fn run_log(folder: &Path) -> io::Result<RunLog> {
    let grids = grids(folder)?;
    let read = |(update, path): (u64, PathBuf)| Ok((update, input::read(&path)?));
    Ok(RunLog {
        rows: log_rows(folder)?,
        watch: watch_rows(folder)?,
        grids: grids.into_iter().map(read).collect::<io::Result<_>>()?,
    })
}

/// The rows of the watch, without a half-written one; none where nothing was watched.
fn watch_rows(folder: &Path) -> io::Result<Vec<Value>> {
    let path = folder.join(watch::ROWS);
    if input::is_there(&path) { whole_lines(&path) } else { Ok(Vec::new()) }
}

/// The sample grids, in the order of their updates.
fn grids(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(folder.join("samples")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let update = name.strip_prefix("step-")?.strip_suffix(".png")?.parse().ok()?;
            Some((update, entry.path()))
        })
        .collect();
    found.sort();
    Ok(evenly(found, GRIDS))
}

/// At most `most` of `all`, evenly, the first and the last among them.
fn evenly<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let count = all.len();
    if count <= most {
        return all;
    }
    let chosen: Vec<usize> =
        (0..most).map(|k| (k * (count - 1) + (most - 1) / 2) / (most - 1)).collect();
    let places = all.into_iter().enumerate();
    places.filter(|(place, _)| chosen.contains(place)).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(run_log(folder.path()).is_err(), "no log is no run");
        std::fs::write(at("metrics.jsonl"), "{\"update\":1}\n{\"update\":2}\n{\"upd").unwrap();
        let log = run_log(folder.path()).unwrap();
        assert_eq!((log.rows.len(), log.watch.len(), log.grids.len()), (2, 0, 0));
        std::fs::write(at("watch.jsonl"), "{\"update\":0}\n{\"upda").unwrap();
        std::fs::create_dir(at("samples")).unwrap();
        for update in 0..30 {
            std::fs::write(at("samples").join(format!("step-{update:06}.png")), "x").unwrap();
        }
        std::fs::write(at("samples").join(".step-000030.png.tmp"), "x").unwrap();
        let log = run_log(folder.path()).unwrap();
        assert_eq!((log.watch.len(), log.grids.len()), (1, GRIDS));
        assert_eq!((log.grids[0].0, log.grids[GRIDS - 1].0), (0, 29));
    }

    #[test]
    fn some_of_many_are_chosen_evenly() {
        assert_eq!(evenly(vec![1, 2], 3), [1, 2]);
        assert_eq!(evenly((0..9).collect(), 3), [0, 4, 8]);
        assert_eq!(evenly((0..100).collect::<Vec<u32>>(), 12).len(), 12);
    }
}
