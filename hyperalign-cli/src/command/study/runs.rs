//! What methods have pictures of: folders as `sample`, `compare` and other programs leave them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    str::FromStr,
};

use hyperalign_core::{
    image::{Header, Metadata, png_metadata},
    input,
};
use hyperalign_models::embedded;
use hyperalign_rewards::emoji;
use hyperalign_train::{
    compare::{Folders, RunRecord},
    study::{Noise, Subject},
};
use miette::{Diagnostic, IntoDiagnostic};

use crate::{
    command::{
        compare::kept,
        score::{
            items::{Item, PromptArgs, collect},
            pass,
        },
    },
    output,
};

/// How a PNG file begins.
const PNG: &[u8] = b"\x89PNG";

/// A folder on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunChoice {
    name: Option<String>,
    folder: PathBuf,
}

impl FromStr for RunChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path may hold the sign, too.
        match text.split_once('=').filter(|(name, _)| !name.contains(['/', '\\'])) {
            Some((name, folder)) if name.trim().is_empty() || folder.is_empty() => {
                Err("a method is written as NAME=FOLDER or FOLDER".to_owned())
            }
            Some((name, folder)) => {
                Ok(Self { name: Some(name.trim().to_owned()), folder: folder.into() })
            }
            None => Ok(Self { name: None, folder: text.into() }),
        }
    }
}

/// One method, and what it made.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub name: String,
    pub folder: PathBuf,
    /// Files by what they show.
    pub pictures: BTreeMap<Subject, PathBuf>,
    /// Who made parts of them, where that must be told.
    pub attribution: BTreeSet<String>,
}

/// A folder that is no method's.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum RunError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` holds a whole comparison, whose methods have names", folder.display())]
    #[diagnostic(help("leave `{name}=` out; each of its methods becomes one of the study"))]
    Named { name: String, folder: PathBuf },
    #[error("`{}` holds no picture of which the prompt is known{}", folder.display(), why(first))]
    #[diagnostic(help(
        "the prompt of a picture is in its PNG file, as `hyperalign sample` writes it, or in a .txt \
         of the same name beside it"
    ))]
    NoPrompts { folder: PathBuf, first: Option<String> },
    #[error("`{}` keeps no pictures", folder.display())]
    #[diagnostic(help(
        "`hyperalign compare` keeps those of the first `protocol.kept_rows` prompts"
    ))]
    NothingKept { folder: PathBuf },
    #[error(
        "`{}` and `{}` are both pictures of `{prompt}` from the same noise",
        first.display(), second.display()
    )]
    #[diagnostic(help("one folder holds the pictures of one method; move one of them elsewhere"))]
    Twice { first: PathBuf, second: PathBuf, prompt: String },
}

fn why(first: &Option<String>) -> String {
    first.as_ref().map_or_else(String::new, |first| format!("; the first one: {first}"))
}

/// The method, or the methods of a comparison, in a folder.
///
/// # Errors
///
/// Fails if there are no pictures of known prompts.
pub(super) fn read(choice: &RunChoice) -> miette::Result<Vec<Run>> {
    let RunChoice { name, folder } = choice;
    if folder.join(Folders::COMPARISON).is_file() {
        if let Some(name) = name {
            return Err(RunError::Named { name: name.clone(), folder: folder.clone() }.into());
        }
        return of_comparison(&Folders::new(folder));
    }
    let own_name = || {
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    let run = match RunRecord::is_in(folder) {
        true => of_measurement(folder)?,
        false => of_pictures(folder)?,
    };
    let name = name.clone().unwrap_or_else(own_name);
    Ok(vec![Run { name, folder: folder.clone(), ..run }])
}

/// Every method of a comparison, by its first training seed.
fn of_comparison(folders: &Folders) -> miette::Result<Vec<Run>> {
    let (comparison, plan) = folders.read_plan().into_diagnostic()?;
    let mut runs: Vec<Run> = Vec::new();
    for measurement in &plan.measurements {
        let name = match comparison.bases.len() {
            1 => measurement.entry.name.clone(),
            _ => format!("{}/{}", measurement.base.name, measurement.entry.name),
        };
        let folder = folders.measured(&measurement.id);
        if runs.iter().any(|run| run.name == name) || !RunRecord::is_in(&folder) {
            continue;
        }
        let mut run = of_measurement(&folder)?;
        if embedded::folder(measurement.base.model()).is_some() {
            run.attribution.insert(emoji::ATTRIBUTION.to_owned());
        }
        runs.push(Run { name, folder, ..run });
    }
    Ok(runs)
}

/// The pictures that a measurement of `hyperalign compare` kept.
fn of_measurement(folder: &Path) -> miette::Result<Run> {
    let mut run = Run::default();
    let Some((record, rows)) = RunRecord::read(folder).into_diagnostic()? else { return Ok(run) };
    for row in rows {
        for (k, seed) in row.seeds.iter().enumerate() {
            let path = kept::path_of(folder, row.row, k);
            if path.is_file() {
                let noise = Noise::Seed(*seed);
                add(&mut run, Subject { prompt: row.prompt.clone(), noise }, path)?;
            }
        }
    }
    if run.pictures.is_empty() {
        return Err(RunError::NothingKept { folder: folder.to_owned() }.into());
    }
    if embedded::folder(&record.base).is_some() {
        run.attribution.insert(emoji::ATTRIBUTION.to_owned());
    }
    Ok(run)
}

/// The pictures below a folder. Their noise is that of the seed in their files; where a file has none,
/// pictures of a prompt are told apart by their places.
fn of_pictures(folder: &Path) -> miette::Result<Run> {
    let mut run = Run::default();
    if !folder.is_dir() {
        let source = match folder.metadata() {
            Ok(_) => std::io::ErrorKind::NotADirectory.into(),
            Err(source) => source,
        };
        return Err(RunError::Read { path: folder.to_owned(), source }.into());
    }
    let collected = collect(&[folder.to_owned()], &PromptArgs::default())?;
    let refused = collected.refused.into_iter();
    let mut left_out: Vec<String> =
        refused.map(|failed| format!("{}: {}", failed.image, failed.reason)).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    for item in &collected.items {
        match subject(item, &mut run.attribution) {
            Ok((prompt, Some(seed))) => {
                let noise = Noise::Seed(seed);
                add(&mut run, Subject { prompt, noise }, item.path.clone())?;
            }
            Ok((prompt, None)) => {
                let place = places.entry(prompt.clone()).or_default();
                let noise = Noise::Place(*place);
                *place += 1;
                add(&mut run, Subject { prompt, noise }, item.path.clone())?;
            }
            Err(reason) => left_out.push(format!("{}: {reason}", item.path.display())),
        }
    }
    if run.pictures.is_empty() {
        let first = left_out.into_iter().next();
        return Err(RunError::NoPrompts { folder: folder.to_owned(), first }.into());
    }
    if let Some(first) = left_out.first() {
        output::warn(&format!("left out of the pictures: {}; the first: {first}", left_out.len()));
    }
    Ok(run)
}

fn add(run: &mut Run, subject: Subject, path: PathBuf) -> Result<(), RunError> {
    if let Some(first) = run.pictures.get(&subject) {
        let (first, prompt) = (first.clone(), subject.prompt);
        return Err(RunError::Twice { first, second: path, prompt });
    }
    run.pictures.insert(subject, path);
    Ok(())
}

/// The prompt of a picture, and the seed of its noise if its file says so.
fn subject(
    item: &Item,
    attribution: &mut BTreeSet<String>,
) -> Result<(String, Option<u64>), String> {
    let bytes = input::read(&item.path).map_err(|error| error.to_string())?;
    Header::read(&bytes).map_err(|error| error.to_string())?;
    let metadata = match png_metadata(&bytes) {
        Ok(metadata) => metadata,
        Err(error) if bytes.starts_with(PNG) => {
            return Err(format!("it is cut off or damaged: {error}"));
        }
        // Pictures in other formats have nothing to say here.
        Err(_) => Metadata::default(),
    };
    let prompt = pass::prompt(item, &bytes, true)?;
    let whole = metadata.hyperalign.as_ref();
    attribution.extend(whole.and_then(|all| all["attribution"].as_str()).map(str::to_owned));
    let of_text = || metadata.parameters.as_ref().map(|parameters| parameters.seed);
    let seed = whole.and_then(|all| all["seed"].as_u64()).or_else(of_text);
    Ok((prompt.trim().to_owned(), seed))
}

#[cfg(test)]
mod tests {
    use hyperalign_core::image::{Parameters, write_png};
    use image::RgbImage;

    use super::*;

    fn write(folder: &Path, name: &str, prompt: &str, seed: u64) {
        let parameters = Parameters {
            prompt: prompt.to_owned(),
            steps: 1,
            size: (8, 8),
            seed,
            ..Parameters::default()
        };
        let metadata = Metadata { parameters: Some(parameters), hyperalign: None };
        write_png(&folder.join(name), &RgbImage::new(8, 8), &metadata).unwrap();
    }

    fn of(folder: &Path, text: &str) -> miette::Result<Vec<Run>> {
        let mut choice: RunChoice = text.parse().unwrap();
        choice.folder = folder.join(choice.folder);
        read(&choice)
    }

    #[test]
    fn pictures_are_known_by_prompt_and_noise() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        write(&base, "a-1.png", "a dog", 7);
        write(&base, "a-2.png", "a cat", 7);
        // Of a program that writes down nothing: a text beside it.
        for name in ["deep/2", "deep/10"] {
            let path = base.join(name).with_extension("png");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::new(8, 8).save(&path).unwrap();
            std::fs::write(path.with_extension("txt"), "a cow\n").unwrap();
        }
        let run = of(folder.path(), "base").unwrap().pop().unwrap();
        assert_eq!(run.name, "base");
        let found = |prompt: &str, noise| {
            let path = run.pictures.get(&Subject { prompt: prompt.to_owned(), noise }).unwrap();
            path.file_name().unwrap().to_str().unwrap()
        };
        assert_eq!(found("a dog", Noise::Seed(7)), "a-1.png");
        assert_eq!(found("a cow", Noise::Place(0)), "2.png");
        assert_eq!(found("a cow", Noise::Place(1)), "10.png");
        assert_eq!(of(folder.path(), "ours=base").unwrap()[0].name, "ours");
        write(&base, "b.png", "a dog", 7);
        let error = of(folder.path(), "base").unwrap_err().to_string();
        assert!(error.contains("a-1.png") && error.contains("b.png"), "{error}");
    }

    #[test]
    fn what_is_no_folder_of_pictures_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let plain = folder.path().join("plain");
        std::fs::create_dir(&plain).unwrap();
        RgbImage::new(8, 8).save(plain.join("1.png")).unwrap();
        std::fs::create_dir(folder.path().join("all")).unwrap();
        std::fs::write(folder.path().join("all").join(Folders::COMPARISON), "{}").unwrap();
        for (given, words) in [
            ("gone", "cannot read"),
            ("plain/1.png", "not a directory"),
            ("empty", "there is no picture"),
            ("plain", "1.png: it has no prompt"),
            ("x=all", "whole comparison"),
        ] {
            let error = of(folder.path(), given).unwrap_err().to_string();
            assert!(error.contains(words), "{given}: {error}");
        }
        assert!("=x".parse::<RunChoice>().is_err() && "x=".parse::<RunChoice>().is_err());
        let of_path: RunChoice = "./a=b".parse().unwrap();
        assert_eq!(of_path, RunChoice { name: None, folder: "./a=b".into() });
    }
}
