//! All that was measured, read from records alone, and what is missing.

use std::path::PathBuf;

use super::{
    CompareError, Comparison, Entry, Failure, Folders, Measurement, Plan, RunRecord, Training,
};
use crate::eval::Record;

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its record.
    pub record: RunRecord,
    /// The scores, a record for each row of the prompts, in order.
    pub scores: Vec<Record>,
    /// Its folder.
    pub folder: PathBuf,
}

/// The runs of an entry on one base.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryResults {
    /// The entry.
    pub entry: Entry,
    /// One run for each seed of its training, or one.
    pub runs: Vec<Run>,
    /// Runs that it should have.
    pub planned: usize,
}

/// Everything on one base.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseResults {
    /// The base, as the comparison calls it.
    pub name: String,
    /// The base as it is; without a run, nothing can be compared with it.
    pub base: EntryResults,
    /// The entries, in the order of the file.
    pub entries: Vec<EntryResults>,
}

impl BaseResults {
    /// The results of the entry called `name`; the base's own are those of `base`. `None` if there
    /// is no run.
    pub fn entry(&self, name: &str) -> Option<&EntryResults> {
        let mut all = std::iter::once(&self.base).chain(&self.entries);
        all.find(|results| results.entry.name == name).filter(|results| !results.runs.is_empty())
    }

    /// The base and then the entries that have runs.
    pub fn measured(&self) -> impl Iterator<Item = &EntryResults> {
        std::iter::once(&self.base).chain(&self.entries).filter(|results| !results.runs.is_empty())
    }
}

/// A comparison as far as it has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// What is compared.
    pub comparison: Comparison,
    /// What it asks for.
    pub trainings: Vec<Training>,
    /// What was found, by base.
    pub bases: Vec<BaseResults>,
    /// What is missing or was left out, and why, a line each.
    pub missing: Vec<String>,
}

impl Results {
    /// Reads what lies in `folders`. Runs that are not there, failed, are damaged, or belong to
    /// another base or other prompts are told in [`missing`](Self::missing).
    ///
    /// # Errors
    ///
    /// Fails if there is no comparison, or it is of another format.
    pub fn read(folders: &Folders) -> Result<Self, CompareError> {
        let (comparison, plan) = folders.read_plan()?;
        let mut missing = Vec::new();
        let bases = comparison.bases.iter().map(|base| {
            let mut groups: Vec<EntryResults> = Vec::new();
            for measurement in plan.measurements.iter().filter(|m| m.base.name == base.name) {
                let run = match run(folders, measurement) {
                    Ok(run) => Some(run),
                    Err(why) => {
                        missing.push(format!("{}: {why}", named(measurement)));
                        None
                    }
                };
                let is_same = |group: &EntryResults| group.entry.name == measurement.entry.name;
                match groups.last_mut().filter(|group| is_same(group)) {
                    Some(group) => {
                        group.planned += 1;
                        group.runs.extend(run);
                    }
                    None => groups.push(EntryResults {
                        entry: measurement.entry.clone(),
                        runs: run.into_iter().collect(),
                        planned: 1,
                    }),
                }
            }
            let mut groups = groups.into_iter();
            let own = groups.next().expect("a plan has a measurement of every base");
            let mut results =
                BaseResults { name: base.name.clone(), base: own, entries: groups.collect() };
            missing.extend(leave_strangers_out(&mut results));
            results
        });
        let bases = bases.collect();
        missing.extend(strays(folders, &plan));
        Ok(Self { comparison, trainings: plan.trainings, bases, missing })
    }
}

fn named(measurement: &Measurement) -> String {
    let seed = measurement.seed.map(|seed| format!(", training seed {seed}")).unwrap_or_default();
    format!("{} on {}{seed}", measurement.entry.label(), measurement.base.name)
}

/// The run of `measurement`, or why there is none.
fn run(folders: &Folders, measurement: &Measurement) -> Result<Run, String> {
    let folder = folders.measured(&measurement.id);
    match RunRecord::read(&folder) {
        Err(error) => Err(error.to_string()),
        Ok(Some((record, _))) if record.id != measurement.id => {
            Err(format!("its folder holds the run {}; it was left out", record.id))
        }
        Ok(Some((record, scores))) if !scores.is_empty() => Ok(Run { record, scores, folder }),
        Ok(Some(_)) => Err("there is not one picture in its record".to_owned()),
        Ok(None) => Err(match Failure::read(&folder) {
            Some(failure) => format!("failed in `{}`: {}", failure.stage, failure.what),
            None => "not there yet; `hyperalign compare` or another shard makes it".to_owned(),
        }),
    }
}

/// Leaves out runs of another base, other prompts or other scorers than the base's own run: their
/// numbers are not those of the same pictures' questions.
fn leave_strangers_out(results: &mut BaseResults) -> Vec<String> {
    let Some(own) = results.base.runs.first().cloned() else { return Vec::new() };
    let mut told = Vec::new();
    for results in &mut results.entries {
        let label = results.entry.label().to_owned();
        results.runs.retain(|run| {
            let (theirs, ours) = (&run.record.versions, &own.record.versions);
            let why = match () {
                () if theirs.base != ours.base => "another base",
                () if theirs.prompts != ours.prompts || run.scores.len() != own.scores.len() => {
                    "other prompts or another world"
                }
                () if run.record.rewards != own.record.rewards && scorers(run) != scorers(&own) => {
                    "other scorers"
                }
                () => return true,
            };
            told.push(format!(
                "{label} on {}: its run {} is of {why} than the base's own run, and was left out; \
                 remove {} to have it made again",
                own.record.base,
                run.record.id,
                run.folder.display()
            ));
            false
        });
    }
    told
}

/// Columns and who made them. What is trained against may differ.
fn scorers(run: &Run) -> Vec<(&str, &str, &str)> {
    let rewards = run.record.rewards.iter();
    rewards.map(|r| (r.column.as_str(), r.name.as_str(), r.version.as_str())).collect()
}

/// Folders that no run of the plan has: of an earlier form of the file.
fn strays(folders: &Folders, plan: &Plan) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(folders.root().join("measured")) else { return Vec::new() };
    let names = found.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut strays: Vec<String> = names.filter(|name| plan.measurement(name).is_none()).collect();
    strays.sort();
    let told = |name| format!("{name}: a run of an earlier form of the file, left out");
    strays.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::{finished, write_run};

    #[test]
    fn what_is_there_is_read_and_what_is_missing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, folders) = (finished(folder.path()), Folders::new(folder.path()));
        let read = || Results::read(&folders).unwrap();
        let results = read();
        let base = &results.bases[0];
        assert_eq!(base.entry("s").unwrap().runs.len(), 2);
        assert!(base.entry("best").is_none() && base.entry("base").is_some());
        assert_eq!(results.missing.len(), 1);
        assert!(results.missing[0].contains("out of memory"), "{:?}", results.missing);

        // A run of another base under this one's name.
        let lora = folders.measured(&plan.measurements[5].id);
        let (mut record, scores) = RunRecord::read(&lora).unwrap().unwrap();
        record.versions.base = "other".to_owned();
        record.write(&lora, &scores).unwrap();
        // Prompts of another world.
        write_run(&folders, &plan.measurements[6], 39, |_, _| true);
        // A lost shard.
        std::fs::remove_dir_all(folders.measured(&plan.measurements[2].id)).unwrap();
        // Another form of the file.
        std::fs::create_dir_all(folders.measured("b.old-123")).unwrap();
        let results = read();
        let told = results.missing.join("\n");
        for what in
            ["another base", "other prompts", "not there yet", "b.old-123", "training seed 1"]
        {
            assert!(told.contains(what), "{what}: {told}");
        }
        let base = &results.bases[0];
        assert!(base.entry("lora").is_none());
        assert_eq!((base.entry("s").unwrap().runs.len(), base.entry("s").unwrap().planned), (1, 2));
    }
}
