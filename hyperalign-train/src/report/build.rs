//! A report of results: which sections it has, and the files that it is written to.

use std::path::Path;

use hyperalign_core::atomic::{self, WriteError};

use super::{
    BaseNumbers, Block, Document, EntryNumbers, Numbers, Section, figures, grids::grids, html,
    markdown, tables,
};
use crate::compare::{BaseResults, ClaimVerdict, Results};

/// A report and the numbers behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it says.
    pub document: Document,
    /// Every number of it.
    pub numbers: Numbers,
}

impl Report {
    /// The report of `results`, whatever is missing.
    pub fn new(results: &Results) -> Self {
        let numbers = Numbers::new(results);
        let comparison = &results.comparison;
        let mut lead = Vec::new();
        if !comparison.about.is_empty() {
            lead.push(Block::Text(comparison.about.trim().to_owned()));
        }
        lead.push(Block::Text(in_short(&numbers)));
        if !results.missing.is_empty() {
            let count = results.missing.len();
            let are = if count == 1 { "thing is" } else { "things are" };
            lead.push(Block::Text(format!("{count} {are} missing; the last section says which.")));
        }
        let mut sections = Vec::new();
        if !numbers.claims.is_empty() {
            let table = tables::claims(comparison, &numbers.claims);
            let blocks = vec![Block::Table(table)];
            sections.push(Section { title: "Claims".to_owned(), blocks });
        }
        for (base, numbers) in results.bases.iter().zip(&numbers.bases) {
            sections.push(of_base(results, base, numbers));
        }
        sections.push(versions(&numbers));
        if !results.missing.is_empty() {
            let blocks = vec![Block::List(results.missing.clone())];
            sections.push(Section { title: "What is missing".to_owned(), blocks });
        }
        let document = Document { title: comparison.title.clone(), lead, sections };
        Self { document, numbers }
    }

    /// Writes `index.html`, which needs no other file; `report.md` with its figures and pictures
    /// beside it; and `report.json` with every number.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let numbers = serde_json::to_string_pretty(&self.numbers).expect("numbers are plain data");
        atomic::write(&folder.join("report.json"), (numbers + "\n").as_bytes())?;
        write_pages(&self.document, folder)
    }
}

/// Writes `index.html`, which needs no other file, and `report.md` with its figures and pictures beside
/// it.
///
/// # Errors
///
/// Fails if a file cannot be written.
pub fn write_pages(document: &Document, folder: &Path) -> Result<(), WriteError> {
    for figure in document.figures() {
        atomic::write(&folder.join(format!("{}.svg", figure.name)), figure.svg.as_bytes())?;
    }
    for pictures in document.pictures() {
        atomic::write(&folder.join(format!("{}.png", pictures.name)), &pictures.png)?;
    }
    atomic::write(&folder.join("report.md"), markdown(document).as_bytes())?;
    atomic::write(&folder.join("index.html"), html(document).as_bytes())
}

/// The verdicts, counted.
fn in_short(numbers: &Numbers) -> String {
    let count = |verdict| numbers.claims.iter().filter(|claim| claim.verdict == verdict).count();
    let of_base = |base: &BaseNumbers| format!("{} entries on {}", base.entries.len(), base.name);
    let measured: Vec<String> = numbers.bases.iter().map(of_base).collect();
    let measured = format!("Measured: {}.", measured.join(", "));
    if numbers.claims.is_empty() {
        return measured;
    }
    format!(
        "{measured} Claims: {} hold, {} do not hold, {} undecided, {} not measured.",
        count(ClaimVerdict::Holds),
        count(ClaimVerdict::DoesNotHold),
        count(ClaimVerdict::Undecided),
        count(ClaimVerdict::NotMeasured)
    )
}

fn of_base(results: &Results, base: &BaseResults, numbers: &BaseNumbers) -> Section {
    let comparison = &results.comparison;
    if numbers.entries.is_empty() {
        let text = "Nothing is measured on this base yet.".to_owned();
        return Section { title: base.name.clone(), blocks: vec![Block::Text(text)] };
    }
    let mut blocks = vec![Block::Text(format!(
        "{} pictures of an entry: {} rows of prompts ({} different prompts), {} of each. All entries \
         share prompts and noise.",
        numbers.rows * numbers.seeds,
        numbers.rows,
        numbers.prompts,
        numbers.seeds
    ))];
    let caption = format!("Scores of all entries, {}", base.name);
    blocks.push(Block::Table(tables::scores(numbers, caption, None, "")));
    blocks.extend(tables::tasks(numbers).map(Block::Table));
    let reference = comparison.protocol.reference.as_deref();
    let against = reference.and_then(|name| tables::against_reference(numbers, name));
    blocks.extend(against.map(Block::Table));
    for table in &comparison.tables {
        let has = |entry: &EntryNumbers| table.entries.contains(&entry.name);
        if numbers.entries.iter().any(has) {
            let caption = format!("{}, {}", table.title, base.name);
            let rows = Some(table.entries.as_slice());
            blocks.push(Block::Table(tables::scores(numbers, caption, rows, &table.reading)));
        }
    }
    blocks.push(Block::Table(tables::costs(numbers)));
    blocks.extend(tables::published(numbers, &comparison.published).map(Block::Table));
    blocks.extend(figures::of_base(results, base, numbers).into_iter().map(Block::Figure));
    blocks.extend(grids(comparison, base).into_iter().map(Block::Pictures));
    Section { title: base.name.clone(), blocks }
}

/// What everything was made with.
fn versions(numbers: &Numbers) -> Section {
    let mut lines = Vec::new();
    for base in &numbers.bases {
        let Some(own) = base.entries.first().and_then(|entry| entry.versions.first()) else {
            continue;
        };
        lines.push(format!(
            "{}: base {:.12}, prompts {:.12}, program {}, device {}, pictures compared in {}",
            base.name, own.base, own.prompts, own.program, own.device, own.space
        ));
        for entry in &base.entries {
            let hashes = entry.versions.iter().filter_map(|version| version.adapter.as_ref());
            let hashes: Vec<String> = hashes.map(|hash| format!("{hash:.12}")).collect();
            if !hashes.is_empty() {
                lines.push(format!(
                    "{}, {}: adapters {}",
                    entry.label,
                    base.name,
                    hashes.join(", ")
                ));
            }
        }
    }
    let text =
        "Hashes are of the weights. The settings of every entry are in comparison.json, and \
                every number of this page in report.json."
            .to_owned();
    let blocks = vec![Block::Text(text), Block::List(lines)];
    Section { title: "Versions".to_owned(), blocks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Folders, testing::finished};

    #[test]
    fn a_report_is_made_of_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        finished(folder.path());
        let folders = Folders::new(folder.path());
        let report = Report::new(&Results::read(&folders).unwrap());
        report.write(&folders.report()).unwrap();
        let read = |name| std::fs::read_to_string(folders.report().join(name)).unwrap();
        for page in [read("index.html"), read("report.md")] {
            for part in ["A toy", "S is better than the base", "holds", "out of memory", "Versions"]
            {
                assert!(page.contains(part), "{part}");
            }
        }
        assert!(read("b-quality-by-time.svg").contains("<svg"));
        assert!(read("report.md").contains("(b-quality-by-time.svg)"));
        let numbers: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
        assert_eq!(numbers["claims"][0]["verdict"], "holds");
        assert_eq!(numbers["bases"][0]["entries"][1]["to_base"]["gold"]["per_seed"][0], 0.25);
    }

    #[test]
    fn nothing_measured_is_a_report_too() {
        let folder = tempfile::tempdir().unwrap();
        finished(folder.path());
        std::fs::remove_dir_all(folder.path().join("measured")).unwrap();
        let report = Report::new(&Results::read(&Folders::new(folder.path())).unwrap());
        let page = markdown(&report.document);
        assert!(page.contains("Nothing is measured") && page.contains("not measured"), "{page}");
    }
}
