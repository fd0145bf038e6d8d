//! The tables of a report.

use hyperalign_rewards::geneval::Task;

use super::{BaseNumbers, Cells, EntryNumbers, Table, TableRow, numbers::COSTS};
use crate::compare::{ClaimResult, Comparison, Effect, Published};

/// What a column is called.
pub(super) fn heading(column: &str) -> String {
    match column {
        "heldout" => "held-out".to_owned(),
        "reward_calls" => "reward calls".to_owned(),
        "seconds" => "s/picture".to_owned(),
        other => other.to_owned(),
    }
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or("\u{2013}".to_owned(), |value| format!("{value:.digits$}"))
}

/// An effect with its interval: `+0.123 [0.045, 0.201]`.
pub(super) fn effect(effect: &Effect) -> String {
    format!("{:+.3} [{:.3}, {:.3}]", effect.mean, effect.low, effect.high)
}

fn p(value: Option<f64>) -> String {
    match value {
        Some(p) if p < 0.001 => "< .001".to_owned(),
        Some(p) => format!("{p:.3}").trim_start_matches('0').to_owned(),
        None => "\u{2013}".to_owned(),
    }
}

/// A row for each entry that `wanted` has, or for all, under the headings of their groups.
fn rows(
    base: &BaseNumbers,
    wanted: Option<&[String]>,
    cells: impl Fn(&EntryNumbers) -> Vec<String>,
) -> Vec<TableRow> {
    let is_wanted = |entry: &&EntryNumbers| wanted.is_none_or(|names| names.contains(&entry.name));
    let (mut rows, mut group) = (Vec::new(), "");
    for entry in base.entries.iter().filter(is_wanted) {
        if entry.group != group && wanted.is_none() {
            group = &entry.group;
            rows.push(TableRow::Group(group.to_owned()));
        }
        let seeds = match (entry.runs, entry.planned) {
            (1, 1) => String::new(),
            (runs, planned) if runs == planned => format!(" ({runs} seeds)"),
            (runs, planned) => format!(" ({runs} of {planned} seeds)"),
        };
        let name = vec![format!("{}{seeds}", entry.label)];
        rows.push(TableRow::Cells([name, cells(entry)].concat()));
    }
    rows
}

/// Scores of all entries, or of those that are `wanted`, with the gain over the base in the deciding
/// column.
pub(super) fn scores(
    base: &BaseNumbers,
    caption: String,
    wanted: Option<&[String]>,
    reading: &str,
) -> Table {
    let primary = base.columns.first().cloned().unwrap_or_default();
    let mut header = vec!["entry".to_owned()];
    header.extend(base.columns.iter().map(|column| heading(column)));
    header.push(format!("{} over the base", heading(&primary)));
    header.push("p (Holm)".to_owned());
    let cells = |entry: &EntryNumbers| {
        let means = base.columns.iter().map(|column| cell(entry.means.get(column).copied(), 3));
        let gain = entry.to_base.get(&primary);
        let mut cells: Vec<String> = means.collect();
        cells.push(gain.map_or("\u{2013}".to_owned(), effect));
        cells.push(p(entry.corrected.get(&primary).copied()));
        cells
    };
    let all = "Gains are paired: the same prompts and the same noise. Brackets are intervals of \
               95 % from drawing anew prompts and training seeds; p is that of a sign-flip test, \
               corrected for the number of entries.";
    let reading = if reading.is_empty() { all } else { reading }.to_owned();
    Table { caption, header, rows: rows(base, wanted, cells), reading, ..Table::default() }
}

/// The share of right pictures by GenEval's tasks; `None` where nothing is judged.
pub(super) fn tasks(base: &BaseNumbers) -> Option<Table> {
    if base.entries.iter().all(|entry| entry.tasks.is_empty()) {
        return None;
    }
    let mut header = vec!["entry".to_owned()];
    header.extend(Task::ALL.map(|task| task.tag().replace('_', " ")));
    let cells = |entry: &EntryNumbers| {
        Task::ALL.map(|task| cell(entry.tasks.get(&task).copied(), 3)).to_vec()
    };
    Some(Table {
        caption: format!("Right pictures by task of GenEval, {}", base.name),
        header,
        rows: rows(base, None, cells),
        reading: "The share of pictures that show what the prompt asks for, by the rules of \
                  GenEval. With a few dozen prompts a task, differences below .1 may be chance."
            .to_owned(),
        ..Table::default()
    })
}

/// What pictures and training cost.
pub(super) fn costs(base: &BaseNumbers) -> Table {
    let mut header = vec!["entry".to_owned()];
    header.extend(COSTS.map(heading));
    let more = ["memory, MB", "states", "updates", "training, h", "training memory, MB"];
    header.extend(more.map(str::to_owned));
    let megabytes = |bytes: Option<u64>| cell(bytes.map(|bytes| bytes as f64 / 1e6), 0);
    let cells = |entry: &EntryNumbers| {
        let of = |column: &str, digits| cell(entry.means.get(column).copied(), digits);
        let training = entry.training.as_ref();
        let mut cells = vec![of("seconds", 3)];
        cells.extend(COSTS[1..].iter().map(|column| of(column, 0)));
        cells.push(megabytes(entry.peak_memory));
        cells.push(cell(training.and_then(|training| training.states), 0));
        cells.push(training.map_or("\u{2013}".to_owned(), |training| training.updates.to_string()));
        cells.push(cell(training.map(|training| training.seconds / 3600.0), 2));
        cells.push(megabytes(training.and_then(|training| training.peak_memory)));
        cells
    };
    Table {
        caption: format!("What it costs, {}", base.name),
        header,
        rows: rows(base, None, cells),
        reading: "For one picture: wall time, evaluations of the denoiser (a guided one counts \
                  once), backward passes through it, and pictures that a reward scored; the most \
                  memory that the measuring process held. For training: samples of the model that \
                  it learned from, updates and wall time of one seed. Times depend on the machine \
                  and on what else it did."
            .to_owned(),
        ..Table::default()
    }
}

/// The reference against every other entry; `None` where there is no reference.
pub(super) fn against_reference(base: &BaseNumbers, reference: &str) -> Option<Table> {
    let primary = base.columns.first().map(|column| heading(column)).unwrap_or_default();
    let has = |entry: &EntryNumbers| entry.below_reference.is_some();
    let names: Vec<String> =
        base.entries.iter().filter(|entry| has(entry)).map(|entry| entry.name.clone()).collect();
    let label = base.entry(reference).filter(|_| !names.is_empty())?.label.clone();
    let cells = |entry: &EntryNumbers| {
        let Some(effect) = &entry.below_reference else { return vec![String::new(); 4] };
        let seeds: Vec<String> = effect.per_seed.iter().map(|seed| format!("{seed:+.3}")).collect();
        vec![
            self::effect(effect),
            format!("[{:.3}, {:.3}]", effect.prompts[0], effect.prompts[1]),
            seeds.join(" "),
            p(effect.p),
        ]
    };
    let header = ["against", "difference", "prompts alone", "by seed", "p"].map(str::to_owned);
    Some(Table {
        caption: format!("{label} minus each other entry in {primary}, {}", base.name),
        header: header.to_vec(),
        rows: rows(base, Some(&names), cells),
        reading: "The first interval draws prompts and training seeds anew, the second prompts \
                  alone. With two or three seeds the first is too narrow, so the differences by \
                  seed stand beside it. p is not corrected here."
            .to_owned(),
        ..Table::default()
    })
}

/// The claims with their verdicts.
pub(super) fn claims(comparison: &Comparison, results: &[ClaimResult]) -> Table {
    let row = |result: &ClaimResult| {
        let claim = comparison.claims.iter().find(|claim| claim.id == result.id)?;
        let mut measured: Vec<String> = result
            .against
            .iter()
            .map(|(name, found)| match name.as_str() {
                "" => format!("{:.3} [{:.3}, {:.3}]", found.mean, found.low, found.high),
                name => format!("against {name}: {}", effect(found)),
            })
            .collect();
        measured.extend(result.missing.iter().map(|name| format!("{name}: not measured")));
        let predicted = claim.prediction.as_ref();
        Some(TableRow::Cells(vec![
            claim.text.clone(),
            result.verdict.words().to_owned(),
            result.base.clone(),
            measured.join("; "),
            predicted.map_or("\u{2013}".to_owned(), |p| format!("{} ({})", p.text, p.source)),
            claim.source.clone(),
        ]))
    };
    let header = ["claim", "verdict", "base", "measured", "predicted before", "whose"];
    Table {
        caption: "What was claimed, and what was found".to_owned(),
        cells: Cells::Words,
        header: header.map(str::to_owned).to_vec(),
        rows: results.iter().filter_map(row).collect(),
        reading:
            "A claim holds where the whole interval of 95 % (over prompts and training seeds) \
                  lies where it says, does not hold where no part does, and is undecided in \
                  between. Against several entries it has to hold against each. Numbers of which \
                  each training has one (how weights vary) have their range over the training \
                  seeds for an interval."
                .to_owned(),
    }
}

/// What others have published, beside ours; `None` where there is nothing of this base.
pub(super) fn published(base: &BaseNumbers, published: &[Published]) -> Option<Table> {
    let of_base = |row: &&Published| row.base.as_ref().is_none_or(|name| *name == base.name);
    let rows: Vec<&Published> = published.iter().filter(of_base).collect();
    let mut names: Vec<&String> = rows.iter().flat_map(|row| row.values.keys()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let ours: Vec<&String> = base.columns.iter().take(3).collect();
    let mut header = vec!["entry".to_owned()];
    header.extend(names.iter().map(|name| format!("{name}, published")));
    header.extend(ours.iter().map(|name| format!("{}, here", heading(name))));
    let mut sources: Vec<&str> = rows.iter().map(|row| row.source.as_str()).collect();
    sources.dedup();
    let cells = rows.iter().map(|row| {
        let entry = base.entry(&row.entry);
        let mut cells = vec![entry.map_or(&row.entry, |entry| &entry.label).clone()];
        cells.extend(names.iter().map(|name| cell(row.values.get(*name).copied(), 4)));
        let mean = |name: &&String| entry.and_then(|entry| entry.means.get(*name).copied());
        cells.extend(ours.iter().map(|name| cell(mean(name), 4)));
        TableRow::Cells(cells)
    });
    Some(Table {
        caption: format!("Published numbers beside ours, {}", base.name),
        header,
        rows: cells.collect(),
        reading: format!(
            "Published: {}. Unless base, prompts and scores are the same, only the order of the \
             rows can be held together.",
            sources.join("; ")
        ),
        ..Table::default()
    })
}
