//! Grids of pictures of the same prompts and noise, chosen by a rule.

use hyperalign_core::image::{GridStyle, Metadata, captioned_grid, encode_png, read_png};
use image::{RgbImage, imageops};

use super::{Pictures, figures::shown, tables::heading};
use crate::{
    compare::{BaseResults, Column, Comparison, Run},
    eval::Method,
};

/// Rows of a grid.
const ROWS: usize = 4;
/// Pictures that are narrower are enlarged by a whole factor: captions need the room.
const LEAST_WIDTH: u32 = 128;

/// What became of the base's pictures under the reference, over all rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Changes {
    /// A sentence on how often each of both happened.
    pub told: String,
    /// Rows that became better, the clearest first, and those that became worse.
    rows: [Vec<usize>; 2],
}

/// Rows where the reference is better than the base, and where it is worse, by the deciding column:
/// in the order of the list where pictures are right or wrong, by the size of the difference
/// elsewhere.
pub(super) fn changes(comparison: &Comparison, base: &BaseResults) -> Option<Changes> {
    let reference = base.entry(comparison.protocol.reference.as_deref()?)?;
    if reference.entry.name == Method::BASE {
        return None;
    }
    let primary = &comparison.scores.primary;
    let (before, after) = (base.base.runs.first()?, &reference.runs[0]);
    let column = Column::named(primary);
    let mut better: Vec<(usize, f64)> = Vec::new();
    let mut worse = Vec::new();
    let rows = before.scores.iter().zip(&after.scores).enumerate();
    for (row, (before, after)) in rows {
        let (Some(before), Some(after)) = (column.of(before), column.of(after)) else { continue };
        match after - before {
            gain if gain > 0.0 => better.push((row, gain)),
            gain if gain < 0.0 => worse.push((row, -gain)),
            _ => {}
        }
    }
    for rows in [&mut better, &mut worse] {
        // Stable: equal differences stay in the order of the list.
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    }
    let label = reference.entry.label();
    let told = format!(
        "Of {} rows, {label} is better than the base in {} and worse in {} by {} (the first \
         training seed).",
        before.scores.len(),
        better.len(),
        worse.len(),
        heading(primary)
    );
    let rows = [better, worse].map(|rows| rows.into_iter().map(|(row, _)| row).collect());
    Some(Changes { told, rows })
}

/// The grids of wins and of losses, as far as pictures were kept.
pub(super) fn grids(comparison: &Comparison, base: &BaseResults) -> Vec<Pictures> {
    let Some(changes) = changes(comparison, base) else { return Vec::new() };
    let kept = comparison.protocol.kept_rows;
    let runs: Vec<(&str, &Run)> = shown(comparison)
        .into_iter()
        .filter_map(|name| base.entry(name))
        .map(|entry| (entry.entry.label(), &entry.runs[0]))
        .collect();
    let kinds = [("wins", "better"), ("losses", "worse")];
    let made = kinds.into_iter().zip(&changes.rows).filter_map(|((name, word), rows)| {
        let rows: Vec<usize> = rows.iter().copied().filter(|row| *row < kept).take(ROWS).collect();
        let png = grid(&runs, &rows)?;
        Some(Pictures {
            name: format!("{}-{name}", base.name),
            title: format!("Where the reference is {word} than the base, {}", base.name),
            png,
            reading: format!(
                "Every row is one prompt and one noise. Chosen by rule: the {ROWS} rows with the \
                 largest difference, the first of the list where differences are equal, among \
                 the first {kept} rows. {}",
                changes.told
            ),
        })
    });
    made.collect()
}

/// The first pictures of `rows` by `runs`, side by side; `None` if one is not there.
fn grid(runs: &[(&str, &Run)], rows: &[usize]) -> Option<Vec<u8>> {
    let mut pictures = Vec::new();
    for row in rows {
        for (_, run) in runs {
            let path = run.folder.join("pictures").join(format!("{row}-0.png"));
            pictures.push(enlarged(read_png(&path).ok()?.0));
        }
    }
    let size = pictures.first()?.dimensions();
    if pictures.iter().any(|picture| picture.dimensions() != size) {
        return None;
    }
    let names: Vec<String> = runs.iter().map(|(label, _)| (*label).to_owned()).collect();
    let scores = &runs.first()?.1.scores;
    let prompts: Vec<String> = rows.iter().map(|row| scores[*row].prompt.clone()).collect();
    let grid = captioned_grid(&pictures, names.len(), &names, &prompts, GridStyle::default());
    Some(encode_png(&grid, &Metadata::default()))
}

fn enlarged(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    match LEAST_WIDTH / width.max(1) {
        0 | 1 => picture,
        times => imageops::resize(&picture, times * width, times * height, imageops::Nearest),
    }
}
