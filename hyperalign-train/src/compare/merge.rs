//! Shards of one comparison, made in several folders, put together.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hyperalign_core::atomic;

use super::{CompareError, Failure, Folders, RunRecord};

/// What came of a merge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Runs that were copied.
    pub copied: usize,
    /// Runs that the plan asks for and no shard has.
    pub missing: Vec<String>,
    /// Runs that came more than once; the first was taken.
    pub twice: Vec<String>,
    /// Of those, the ones whose scores are not the same.
    pub differing: Vec<String>,
}

/// Copies the measurements of `shards` into `out`; what `out` has already stays. Adapters along the
/// training stay where they are: reports need none.
///
/// # Errors
///
/// Fails if a shard is no comparison or another one than the first, and if a file cannot be copied.
pub fn merge(shards: &[PathBuf], out: &Path) -> Result<Merged, CompareError> {
    let mut plan = None;
    for shard in shards {
        let found = Folders::new(shard).read_plan()?;
        match &plan {
            None => plan = Some((shard, found)),
            Some((_, known)) if *known == found => {}
            Some((first, _)) => {
                let (first, other) = ((*first).clone(), shard.clone());
                return Err(CompareError::OtherComparison { first, other });
            }
        }
    }
    let Some((first, (comparison, plan))) = plan else { return Ok(Merged::default()) };
    let target = Folders::new(out);
    if out.join(Folders::COMPARISON).exists()
        && target.read_plan()? != (comparison.clone(), plan.clone())
    {
        let (first, other) = (first.clone(), out.to_owned());
        return Err(CompareError::OtherComparison { first, other });
    }
    target.write_plan(&comparison, &plan)?;
    let mut merged = Merged::default();
    for measurement in &plan.measurements {
        let (id, to) = (&measurement.id, target.measured(&measurement.id));
        let mut taken = RunRecord::read(&to)?.map(|(record, _)| record.scores);
        for shard in shards {
            let from = Folders::new(shard).measured(id);
            let Some((record, _)) = RunRecord::read(&from)? else {
                if let (None, Some(failure)) = (&taken, Failure::read(&from)) {
                    failure.write(&to)?;
                }
                continue;
            };
            match &taken {
                None => {
                    copy(&from, &to)?;
                    merged.copied += 1;
                    taken = Some(record.scores);
                }
                Some(scores) => {
                    // Every shard measures the bases; times are part of the file, and differ.
                    if !measurement.is_base() && !merged.twice.contains(id) {
                        merged.twice.push(id.clone());
                    }
                    if *scores != record.scores && !same_scores(&from, &to)? {
                        merged.differing.push(id.clone());
                    }
                }
            }
        }
        if taken.is_none() {
            merged.missing.push(id.clone());
        }
    }
    Ok(merged)
}

/// Whether two runs have the same scores, whatever time they took.
fn same_scores(one: &Path, other: &Path) -> Result<bool, CompareError> {
    let read = |folder: &Path| -> Result<Vec<_>, CompareError> {
        let (_, scores) = RunRecord::read(folder)?.unwrap_or_default();
        Ok(scores.into_iter().map(|r| (r.row, r.seeds, r.gold, r.scores)).collect())
    };
    Ok(read(one)? == read(other)?)
}

/// Copies a run, whole or not at all.
fn copy(from: &Path, to: &Path) -> Result<(), CompareError> {
    let failed =
        |source: io::Error| CompareError::Copy { from: from.to_owned(), to: to.to_owned(), source };
    if to.exists() {
        // What had failed there, and nothing else: it has no record.
        fs::remove_dir_all(to).map_err(failed)?;
    }
    atomic::write_folder(to, |folder| copy_files(from, folder).map_err(failed))
}

/// The files of a folder and of the folders in it; of journals and locks nobody has a use.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() && entry.file_name() != "journal" => {
                copy_files(&entry.path(), &target)?;
            }
            kind if kind.is_file() => drop(fs::copy(entry.path(), target)?),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{
        Plan, Results,
        testing::{comparison, finished, identities, write_run},
    };

    #[test]
    fn shards_are_put_together() {
        let root = tempfile::tempdir().unwrap();
        let [one, two, out] = ["one", "two", "out"].map(|name| root.path().join(name));
        let plan = finished(&one);
        let remove = |shard: &Path, at: usize| {
            fs::remove_dir_all(Folders::new(shard).measured(&plan.measurements[at].id)).unwrap();
        };
        fs::create_dir_all(&two).unwrap();
        finished(&two);
        // The first has S, the second the others; each has the base, and one came twice.
        (3..8).for_each(|at| remove(&one, at));
        [1, 2].into_iter().for_each(|at| remove(&two, at));
        write_run(&Folders::new(&one), &plan.measurements[3], 40, |_, _| true);
        let merged = merge(&[one.clone(), two.clone()], &out).unwrap();
        assert_eq!(merged.copied, 7);
        assert_eq!(merged.missing, [plan.measurements[7].id.clone()]);
        assert_eq!(merged.twice, [plan.measurements[3].id.clone()]);
        assert_eq!(merged.differing, merged.twice, "all right there, and not here");
        let results = Results::read(&Folders::new(&out)).unwrap();
        assert_eq!(results.missing.len(), 1, "{:?}", results.missing);
        assert!(results.missing[0].contains("out of memory"));
        // Again: nothing is left to do.
        assert_eq!(merge(&[one.clone(), two], &out).unwrap().copied, 0);

        let other = root.path().join("other");
        let mut file = comparison();
        file.title = "Another".to_owned();
        let plan = Plan::new(&file, &identities()).unwrap();
        Folders::new(&other).write_plan(&file, &plan).unwrap();
        let error = merge(&[one, other], &out).unwrap_err().to_string();
        assert!(error.contains("different comparisons"), "{error}");
        let error = merge(&[root.path().join("nothing")], &out).unwrap_err().to_string();
        assert!(error.contains("holds no comparison"), "{error}");
    }
}
