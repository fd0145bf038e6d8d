//! Which pictures are scored, and what each is a picture of.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use hyperalign_core::input::{self, LeftOut};
use hyperalign_rewards::geneval::Row;
use hyperalign_rewards::prompts::{self, Prompt};
use miette::Diagnostic;

use super::{
    names::{Found, Named, matched},
    order::natural,
    pass::Failed,
};
use crate::{output, prompts::of_file};

/// The endings that are looked for in folders.
const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "jfif", "jpe", "webp"];
/// The endings of what lies beside pictures and says something of them.
const BESIDE: [&str; 7] = ["txt", "caption", "json", "jsonl", "ndjson", "csv", "tsv"];

/// A picture to score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The file.
    pub path: PathBuf,
    /// Its path from the folder that was given: what pairs are found by.
    pub key: PathBuf,
    /// What it is a picture of; where it is not known, the file itself is asked later.
    pub prompt: Option<String>,
    /// The rules that the prompt comes with.
    pub row: Option<Row>,
    /// Whether the prompt is its own only because of its place in a list.
    pub by_place: bool,
    /// What should say its prompt and does not, and why.
    pub unread: Option<String>,
    /// A picture that the list of prompts names instead.
    pub named_instead: Option<String>,
    /// The part of the set that it belongs to.
    pub group: Option<String>,
}

/// Where prompts come from.
#[derive(Debug, Default, clap::Args)]
#[group(multiple = false)]
pub struct PromptArgs {
    /// The prompt of every picture.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Prompts by picture: a .jsonl, .json, .tsv or .csv that names pictures (`image`,
    /// `file_name`, ...), or any prompt set with one prompt for each picture, in the order of
    /// their names (2 before 10); `-` reads it from standard input. Without it: the .txt or
    /// .caption beside a picture, the prompt in a PNG file, or the metadata.jsonl of GenEval's
    /// folders.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
}

/// What was found to score.
#[derive(Debug)]
pub struct Collected {
    /// The pictures.
    pub items: Vec<Item>,
    /// What should be pictures or folders of them and cannot be read.
    pub refused: Vec<Failed>,
}

/// Pictures that cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum ItemsError {
    #[error("there is no picture (.png, .jpg, .jpeg, .webp) in {folders}{}", others(left_out))]
    None { folders: String, left_out: LeftOut },
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "`{}` has {prompts} prompts that name no picture, and there are {pictures} pictures",
        path.display()
    )]
    #[diagnostic(help(
        "give one prompt for each picture, in the order of their names, or name the picture of \
         each prompt: {{\"image\": \"00000.png\", \"prompt\": \"..\"}}"
    ))]
    Count { path: PathBuf, prompts: usize, pictures: usize },
}

fn others(left_out: &LeftOut) -> String {
    if left_out.is_empty() { String::new() } else { format!("; found was {left_out}") }
}

/// The pictures in `paths`: files as they stand, folders with all that lies below them. A picture
/// that is reached by several ways counts once.
///
/// # Errors
///
/// Fails if a folder that was given cannot be read, there is no picture, or the file of prompts is
/// not one for these pictures.
pub fn collect(paths: &[PathBuf], args: &PromptArgs) -> miette::Result<Collected> {
    let mut items = Vec::new();
    let mut named = Vec::new();
    let (mut refused, mut left_out) = (Vec::new(), LeftOut::default());
    let mut seen = HashSet::new();
    for (root, path) in paths.iter().enumerate() {
        let (files, folder) = if path.is_dir() {
            let mut walk = input::walk(path, &is_picture, &says_something)
                .map_err(|source| ItemsError::Unreadable { path: path.clone(), source })?;
            walk.files.sort_by_cached_key(|file| natural(file));
            left_out.extend(walk.left_out);
            refused.extend(
                walk.refused
                    .into_iter()
                    .map(|(path, reason)| Failed { image: path.display().to_string(), reason }),
            );
            (walk.files, path.as_path())
        } else {
            (vec![path.clone()], path.parent().unwrap_or(Path::new("")))
        };
        for file in files.into_iter().filter(|file| seen.insert(entry(file))) {
            let key = file.strip_prefix(folder).unwrap_or(&file).to_owned();
            named.push(Named::new(&file, key.iter().count(), root));
            items.push(item(file, key));
        }
    }
    if items.is_empty() && refused.is_empty() {
        let folders: Vec<_> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(ItemsError::None { folders: folders.join(", "), left_out }.into());
    }
    if !left_out.is_empty() {
        output::note(&format!("left out of the folders: {left_out}"));
    }
    match (&args.prompt, &args.prompts) {
        (Some(prompt), _) => items.iter_mut().for_each(|item| item.prompt = Some(prompt.clone())),
        (None, Some(file)) => assign(&mut items, &named, file)?,
        (None, None) => items.iter_mut().for_each(ask_neighbours),
    }
    group_by_folder(&mut items);
    Ok(Collected { items, refused })
}

/// `items` without those that are the same file as an earlier one (by a link) and are to show the
/// same.
pub fn once(mut items: Vec<Item>) -> Vec<Item> {
    let all = items.len();
    let mut seen = HashSet::new();
    items.retain(|item| {
        let file = item.path.canonicalize().unwrap_or_else(|_| item.path.clone());
        seen.insert((file, item.prompt.clone()))
    });
    if items.len() < all {
        output::note(&format!(
            "{} of {all} pictures are links to others of them; each counts once",
            all - items.len()
        ));
    }
    items
}

/// The place of a name, links of folders resolved: what is one and the same entry has one.
fn entry(file: &Path) -> PathBuf {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match (parent.canonicalize(), file.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => file.to_owned(),
    }
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// Whether a file of a folder is a picture to score. GenEval's is the `grid.png` of all samples
/// that lies beside their folder.
fn is_picture(path: &Path) -> bool {
    let is_grid = || {
        path.file_name().is_some_and(|name| name == "grid.png")
            && path.with_file_name("samples").is_dir()
    };
    has_ending(path, &ENDINGS) && !is_grid()
}

fn says_something(path: &Path) -> bool {
    has_ending(path, &BESIDE)
}

fn item(path: PathBuf, key: PathBuf) -> Item {
    let (prompt, row, unread, named_instead) = (None, None, None, None);
    Item { path, key, prompt, row, by_place: false, unread, named_instead, group: None }
}

/// Gives each picture its prompt from a file: by name where the file has names, else in order.
fn assign(items: &mut [Item], named: &[Named], file: &Path) -> miette::Result<()> {
    let prompts = of_file(file, None, false)?;
    let Some(first) = prompts.iter().find_map(|prompt| prompt.image.clone()) else {
        if prompts.len() != items.len() {
            let (path, prompts, pictures) = (file.to_owned(), prompts.len(), items.len());
            return Err(ItemsError::Count { path, prompts, pictures }.into());
        }
        for (item, prompt) in items.iter_mut().zip(&prompts) {
            take(item, prompt);
            item.by_place = true;
        }
        return Ok(());
    };
    for (item, found) in items.iter_mut().zip(matched(named, &prompts)) {
        match found {
            Found::Row(prompt) => take(item, prompt),
            Found::Ambiguous(prompt) => {
                item.unread = Some(format!(
                    "--prompts names `{}`, which several pictures or prompts may be: write the \
                     folder and the ending as well",
                    prompt.image.as_deref().unwrap_or_default()
                ));
            }
            Found::None => {
                item.named_instead = Some(first.clone());
                ask_neighbours(item);
            }
        }
    }
    Ok(())
}

fn take(item: &mut Item, prompt: &Prompt) {
    item.prompt = Some(prompt.text.clone());
    item.row.clone_from(&prompt.row);
    item.group.clone_from(&prompt.group);
}

/// The text beside a picture, or the row above GenEval's `samples/`.
fn ask_neighbours(item: &mut Item) {
    if let Some(beside) = caption(&item.path) {
        match input::read_text(&beside) {
            Ok(text) if text.trim().is_empty() => {
                item.unread = Some(format!("its prompt `{}` is empty", beside.display()));
            }
            Ok(text) => item.prompt = Some(text.trim().to_owned()),
            Err(error) => {
                item.unread =
                    Some(format!("its prompt `{}` cannot be read: {error}", beside.display()));
            }
        }
        return;
    }
    let above = item.path.parent().and_then(Path::parent);
    let Some(file) = above.map(|folder| folder.join("metadata.jsonl")).filter(|f| f.is_file())
    else {
        return;
    };
    match prompts::read(&file) {
        Ok(rows) => take_of_rows(item, &file, &rows),
        Err(error) => item.unread = Some(error.to_string()),
    }
}

/// The file beside a picture that holds its prompt: that of its whole name (`1.png.txt`) before
/// that of its stem, which `1.png` and `1.jpg` share.
fn caption(picture: &Path) -> Option<PathBuf> {
    let mut whole = picture.as_os_str().to_owned();
    whole.push(".txt");
    let of_stem = ["txt", "TXT", "Txt", "caption"].map(|ending| picture.with_extension(ending));
    std::iter::once(PathBuf::from(whole))
        .chain(of_stem)
        .find(|file| file.symlink_metadata().is_ok())
}

/// The row of `rows` that names the picture; without names, the only one that there is.
fn take_of_rows(item: &mut Item, file: &Path, rows: &[Prompt]) {
    if rows.iter().any(|row| row.image.is_some()) {
        let below = file.parent().and_then(|root| item.path.strip_prefix(root).ok());
        let below = below.map_or(1, |below| below.iter().count());
        if let Found::Row(row) = matched(&[Named::new(&item.path, below, 0)], rows)[0] {
            take(item, row);
        }
    } else if rows.iter().all(|row| row.text == rows[0].text) {
        take(item, &rows[0]);
    } else {
        item.unread = Some(format!(
            "`{}` has {} prompts and does not say which is of it",
            file.display(),
            rows.len()
        ));
    }
}

/// Pictures whose prompts have no groups belong to their folders, if there are several.
fn group_by_folder(items: &mut [Item]) {
    if items.is_empty() || items.iter().any(|item| item.group.is_some()) {
        return;
    }
    let folder = |item: &Item| item.path.parent().map(|f| f.to_string_lossy().into_owned());
    let first = folder(&items[0]);
    // A folder for each picture says nothing.
    let mut folders: Vec<_> = items.iter().map(folder).collect();
    folders.dedup();
    if items.iter().any(|item| folder(item) != first) && 2 * folders.len() <= items.len() {
        items.iter_mut().for_each(|item| item.group = folder(item));
    }
}

#[cfg(test)]
#[path = "items_tests.rs"]
mod tests;
