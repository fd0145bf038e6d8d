//! `hyperalign study new`: pictures that are there become a study.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use hyperalign_core::atomic;
use hyperalign_train::study::{
    Design, DrawError, FORMAT, Noise, Placed, Question, Study, Subject, draw,
};
use miette::{Diagnostic, IntoDiagnostic};

use super::{
    pictures::{self, PictureError},
    question::QuestionChoice,
    runs::{self, Run, RunChoice},
};
use crate::{
    args::{at_least_one, seed},
    outcome::Outcome,
    output,
};

/// Flags of `hyperalign study new`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of pictures, one for each method, with the prompts and seeds in their files as
    /// `hyperalign sample` writes them; or the folder of a comparison (`hyperalign compare`), which has
    /// several. A method is called as its folder is, if there is no NAME.
    #[arg(required = true, value_name = "[NAME=]FOLDER")]
    runs: Vec<RunChoice>,

    /// Folder to make the study in. It must not be there yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Pairs of pictures that a voter is shown. Fewer, if the methods have no more in common.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = at_least_one)]
    items: usize,

    /// Attention checks among them: a picture beside a copy of it that is spoiled with noise.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(..=1000))]
    checks: u16,

    /// Compare this method with each other one. Default: each with each.
    #[arg(long, value_name = "NAME")]
    against: Option<String>,

    /// A question about every pair; several times for several: overall, visual, prompt (the paper's
    /// three), or your own as NAME=TEXT.
    #[arg(long, value_name = "NAME[=TEXT]", default_values = ["overall", "visual", "prompt"])]
    questions: Vec<QuestionChoice>,

    /// What voters read above everything.
    #[arg(long, value_name = "TEXT", default_value = "Which picture is better?")]
    title: String,

    /// Draws prompts, sides, order and checks.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    seed: u64,
}

/// A study that cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum NewError {
    #[error("`{}` is there already", out.display())]
    #[diagnostic(help("choose another folder, or remove it with its votes"))]
    IsThere { out: PathBuf },
    #[error("there is one method, `{name}`, and a study compares two or more")]
    #[diagnostic(help("give a folder for each method: `base=FOLDER ours=FOLDER`"))]
    OneMethod { name: String },
    #[error("two methods are called `{name}`: `{}` and `{}`", first.display(), second.display())]
    #[diagnostic(help("name one of them: `NAME=FOLDER`"))]
    SameName { name: String, first: PathBuf, second: PathBuf },
    #[error("two questions are called `{name}`")]
    #[diagnostic(help("give each another name: `--questions NAME=TEXT`"))]
    SameQuestion { name: String },
    #[error("`--against {given}` is no method here; there are {known}")]
    Against { given: String, known: String },
    #[error("{source}: {has}")]
    #[diagnostic(help(
        "make pictures of the same prompts with the same seeds by every method, each in a folder of \
         its own"
    ))]
    Nothing { source: DrawError, has: String },
    #[error("{source}")]
    #[diagnostic(help(
        "give more `--items`, or compare one method with the others by `--against`"
    ))]
    Few { source: DrawError },
}

/// Makes the study.
///
/// # Errors
///
/// Fails for folders that hold no pictures of known prompts, or none in common, and where the study
/// cannot be written.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    // A study that is there may have votes, which nothing brings back.
    if args.out.symlink_metadata().is_ok() {
        return Err(NewError::IsThere { out: args.out.clone() }.into());
    }
    output::check_writable(&args.out.join(Study::FILE)).into_diagnostic()?;
    let questions = questions(&args.questions)?;
    let mut runs: Vec<Run> = Vec::new();
    for choice in &args.runs {
        runs.extend(runs::read(choice)?);
    }
    check_names(&runs)?;
    let (placed, left_out) = placed(args, &runs)?;
    for [first, second] in left_out {
        output::warn(&format!(
            "{} and {} have no pictures of the same prompt from the same noise, and are not compared",
            runs[first].name, runs[second].name
        ));
    }
    let compared = placed.len() - usize::from(args.checks);
    if compared < args.items {
        output::note(&format!("pairs of pictures that the methods have in common: {compared}"));
    }
    let study = write(args, &runs, &placed, questions)?;
    let prompts: HashSet<&str> = placed.iter().map(|item| item.subject.prompt.as_str()).collect();
    output::print(&format!(
        "{}: {} methods, {compared} pairs of pictures of {} prompts, {} checks, {} questions; study {}\n",
        args.out.display(),
        runs.len(),
        prompts.len(),
        args.checks,
        study.questions.len(),
        study.id(),
    ))?;
    Ok(Outcome::Done)
}

fn questions(choices: &[QuestionChoice]) -> Result<Vec<Question>, NewError> {
    let mut names = HashSet::new();
    match choices.iter().find(|choice| !names.insert(&choice.0.name)) {
        Some(choice) => Err(NewError::SameQuestion { name: choice.0.name.clone() }),
        None => Ok(choices.iter().map(|choice| choice.0.clone()).collect()),
    }
}

fn check_names(runs: &[Run]) -> Result<(), NewError> {
    for (k, second) in runs.iter().enumerate() {
        if let Some(first) = runs[..k].iter().find(|first| first.name == second.name) {
            let (first, name) = (first.folder.clone(), second.name.clone());
            return Err(NewError::SameName { name, first, second: second.folder.clone() });
        }
    }
    match runs {
        [only] => Err(NewError::OneMethod { name: only.name.clone() }),
        _ => Ok(()),
    }
}

/// What is shown, and the pairs of methods that have nothing in common.
fn placed(args: &Args, runs: &[Run]) -> Result<(Vec<Placed>, Vec<[usize; 2]>), NewError> {
    let known = || runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", ");
    let index = |given: &String| {
        let found = runs.iter().position(|run| run.name == *given);
        found.ok_or_else(|| NewError::Against { given: given.clone(), known: known() })
    };
    let methods: Vec<BTreeSet<Subject>> =
        runs.iter().map(|run| run.pictures.keys().cloned().collect()).collect();
    let design = Design {
        methods: &methods,
        against: args.against.as_ref().map(index).transpose()?,
        items: args.items,
        checks: args.checks.into(),
        seed: args.seed,
    };
    draw(&design).map_err(|source| match source {
        DrawError::NothingInCommon => NewError::Nothing { has: has(runs), source },
        _ => NewError::Few { source },
    })
}

/// How many pictures each method has, and one of them.
fn has(runs: &[Run]) -> String {
    let of = |run: &Run| {
        let first = run.pictures.keys().next().map(|subject| match subject.noise {
            Noise::Seed(seed) => format!("`{}` (seed {seed})", subject.prompt),
            Noise::Place(_) => format!("`{}` (seed unknown)", subject.prompt),
        });
        let (count, first) = (run.pictures.len(), first.unwrap_or_default());
        format!("{} has {count}, such as {first}", run.name)
    };
    runs.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// Writes the study with its pictures, whole or not at all.
fn write(
    args: &Args,
    runs: &[Run],
    placed: &[Placed],
    questions: Vec<Question>,
) -> miette::Result<Study> {
    let attribution: BTreeSet<String> =
        runs.iter().flat_map(|run| run.attribution.clone()).collect();
    let mut study = Study {
        format: FORMAT,
        title: args.title.clone(),
        seed: args.seed,
        questions,
        methods: runs.iter().map(|run| run.name.clone()).collect(),
        items: Vec::new(),
        attribution: attribution.into_iter().collect(),
    };
    let mut unlike = 0;
    atomic::write_folder(&args.out, |folder: &Path| -> Result<(), PictureError> {
        (study.items, unlike) = pictures::copy(folder, placed, runs, args.seed)?;
        Ok(study.write(folder)?)
    })?;
    if unlike > 0 {
        output::warn(&format!(
            "{unlike} pairs have pictures of two sizes, by which voters may know a method"
        ));
    }
    Ok(study)
}
