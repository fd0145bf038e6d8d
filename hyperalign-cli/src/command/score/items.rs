//! Which pictures are scored, and what each is a picture of.

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use hyperalign_rewards::geneval::Row;
use hyperalign_rewards::prompts::{self, Prompt};
use miette::{Diagnostic, IntoDiagnostic};

use super::order::natural;

/// The endings that are looked for in folders.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// A picture to score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The file.
    pub path: PathBuf,
    /// Its path from the folder that was given, without the ending: what pairs are found by.
    pub key: String,
    /// What it is a picture of; where it is not known, the file itself is asked later.
    pub prompt: Option<String>,
    /// The rules that the prompt comes with.
    pub row: Option<Row>,
    /// Whether the prompt is its own only because of its place in a list.
    pub by_place: bool,
    /// A file beside it that should hold its prompt and cannot be read, and why.
    pub unread: Option<String>,
    /// The part of the set that it belongs to.
    pub group: Option<String>,
}

/// Where prompts come from.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct PromptArgs {
    /// The prompt of every picture.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Prompts by picture: a .jsonl, .json, .tsv or .csv that names pictures (`image`,
    /// `file_name`, ...), or any prompt set with one prompt for each picture, in the order of
    /// their names (2 before 10). Without it: the .txt beside a picture, the parameters in a PNG file, or the
    /// metadata.jsonl of GenEval's folders.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
}

/// Pictures that cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum ItemsError {
    #[error("there is no picture (.png, .jpg, .jpeg, .webp) in {folders}")]
    None { folders: String },
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

/// The pictures in `paths`: files as they stand, folders with all that lies below them.
///
/// # Errors
///
/// Fails if a folder cannot be read, there is no picture, or the file of prompts is not one for
/// these pictures.
pub fn collect(paths: &[PathBuf], args: &PromptArgs) -> miette::Result<Vec<Item>> {
    let mut items = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            walk(path, &mut found).into_diagnostic()?;
            found.sort();
            found.sort_by_cached_key(|file| natural(file));
            items.extend(found.into_iter().map(|file| item(file, path)));
        } else {
            items.push(item(path.clone(), path.parent().unwrap_or(Path::new(""))));
        }
    }
    if items.is_empty() {
        let folders: Vec<_> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(ItemsError::None { folders: folders.join(", ") }.into());
    }
    match (&args.prompt, &args.prompts) {
        (Some(prompt), _) => items.iter_mut().for_each(|item| item.prompt = Some(prompt.clone())),
        (None, Some(file)) => assign(&mut items, file)?,
        (None, None) => items.iter_mut().for_each(ask_neighbours),
    }
    group_by_folder(&mut items);
    Ok(items)
}

fn item(path: PathBuf, root: &Path) -> Item {
    let key = path.strip_prefix(root).unwrap_or(&path).with_extension("");
    let key = key.to_string_lossy().into_owned();
    Item { path, key, prompt: None, row: None, by_place: false, unread: None, group: None }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // What is being written begins with a dot.
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if path.is_dir() {
            walk(&path, found)?;
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            found.push(path);
        }
    }
    Ok(())
}

/// Gives each picture its prompt from a file: by name where the file has names, else in order.
fn assign(items: &mut [Item], file: &Path) -> miette::Result<()> {
    let prompts = prompts::read(file).into_diagnostic()?;
    let mut by_image: HashMap<String, &Prompt> = HashMap::new();
    for prompt in &prompts {
        if let Some(image) = &prompt.image {
            by_image.insert(without_ending(image), prompt);
        }
    }
    if by_image.is_empty() {
        if prompts.len() != items.len() {
            let (path, prompts, pictures) = (file.to_owned(), prompts.len(), items.len());
            return Err(ItemsError::Count { path, prompts, pictures }.into());
        }
        for (item, prompt) in items.iter_mut().zip(&prompts) {
            take(item, prompt);
            item.by_place = true;
        }
        return Ok(());
    }
    for item in items {
        let path = without_ending(&item.path.to_string_lossy());
        let name = item.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let found = by_image
            .get(&item.key)
            .or_else(|| by_image.get(&path))
            .or_else(|| by_image.get(&name.unwrap_or_default()));
        match found {
            Some(prompt) => take(item, prompt),
            None => ask_neighbours(item),
        }
    }
    Ok(())
}

fn take(item: &mut Item, prompt: &Prompt) {
    item.prompt = Some(prompt.text.clone());
    item.row.clone_from(&prompt.row);
    item.group.clone_from(&prompt.group);
}

fn without_ending(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    Path::new(path).with_extension("").to_string_lossy().into_owned()
}

/// The text beside a picture, or the row above GenEval's `samples/`.
fn ask_neighbours(item: &mut Item) {
    let beside = item.path.with_extension("txt");
    match std::fs::read_to_string(&beside) {
        Ok(text) => {
            item.prompt = Some(text.trim().to_owned());
            return;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            item.unread =
                Some(format!("its prompt `{}` cannot be read: {error}", beside.display()));
            return;
        }
    }
    let above = item.path.parent().and_then(Path::parent);
    let row = above.map(|folder| folder.join("metadata.jsonl")).filter(|file| file.is_file());
    match row.map(|file| prompts::read(&file)) {
        Some(Ok(prompts)) => prompts.last().into_iter().for_each(|prompt| take(item, prompt)),
        Some(Err(error)) => item.unread = Some(error.to_string()),
        None => {}
    }
}

/// Pictures whose prompts have no groups belong to their folders, if there are several.
fn group_by_folder(items: &mut [Item]) {
    if items.iter().any(|item| item.group.is_some()) {
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
mod tests {
    use super::*;

    const NONE: PromptArgs = PromptArgs { prompt: None, prompts: None };

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir, args: &PromptArgs) -> Vec<(String, Option<String>)> {
        let items = collect(&[folder.path().to_owned()], args).unwrap();
        items.into_iter().map(|item| (item.key, item.prompt)).collect()
    }

    fn prompts(folder: &tempfile::TempDir, name: &str) -> PromptArgs {
        PromptArgs { prompt: None, prompts: Some(folder.path().join(name)) }
    }

    #[test]
    fn pictures_of_a_folder_in_the_order_of_their_names() {
        let files =
            [("b/2.PNG", ""), ("a.webp", ""), ("b/1.jpg", ""), ("x.txt", ""), (".c.png", "")];
        let keys: Vec<_> = found(&folder(&files), &NONE).into_iter().map(|found| found.0).collect();
        assert_eq!(keys, ["a", "b/1", "b/2"]);
        let error = collect(&[folder(&[("x.txt", "")]).path().to_owned()], &NONE).unwrap_err();
        assert!(error.to_string().contains("no picture"));
    }

    #[test]
    fn texts_beside_and_rows_above() {
        let row = r#"{"tag":"colors","include":[{"class":"dog","count":1}],"prompt":"a dog"}"#;
        let files = [
            ("0/metadata.jsonl", row),
            ("0/samples/0000.png", ""),
            ("0/samples/0001.png", ""),
            ("0/samples/0001.txt", " a cat\n"),
            ("1.png", ""),
        ];
        let expected = [
            ("0/samples/0000".to_owned(), Some("a dog".to_owned())),
            ("0/samples/0001".to_owned(), Some("a cat".to_owned())),
            ("1".to_owned(), None),
        ];
        assert_eq!(found(&folder(&files), &NONE), expected);
    }

    #[test]
    fn what_cannot_be_read_is_kept() {
        let files = folder(&[
            ("0/metadata.jsonl", "{\"prompt\": \n"),
            ("0/samples/0.png", ""),
            ("1.png", ""),
            ("2.png", ""),
        ]);
        std::fs::write(files.path().join("1.txt"), b"a d\xf6g").unwrap();
        let items = collect(&[files.path().to_owned()], &NONE).unwrap();
        let unread: Vec<String> =
            items.into_iter().map(|item| item.unread.unwrap_or_default()).collect();
        assert!(unread[0].contains("metadata.jsonl") && unread[0].contains("line 1"), "{unread:?}");
        assert!(unread[1].contains("1.txt") && unread[1].contains("UTF-8"), "{unread:?}");
        assert_eq!(unread[2], "");
    }

    #[test]
    fn prompts_by_name_and_in_order() {
        let by_name = "{\"image\": \"./b.png\", \"prompt\": \"a cat\"}\n\
                       {\"image\": \"a.png\", \"prompt\": \"a dog\"}\n";
        let folder =
            folder(&[("a.png", ""), ("b.png", ""), ("p.jsonl", by_name), ("q.txt", "one\ntwo\n")]);
        let texts = |name: &str| -> Vec<_> {
            let found = found(&folder, &prompts(&folder, name));
            found.into_iter().filter_map(|found| found.1).collect()
        };
        assert_eq!(texts("p.jsonl"), ["a dog", "a cat"]);
        assert_eq!(texts("q.txt"), ["one", "two"]);
        std::fs::write(folder.path().join("q.txt"), "one\n").unwrap();
        let error = collect(&[folder.path().to_owned()], &prompts(&folder, "q.txt")).unwrap_err();
        assert!(
            error.to_string().contains("1 prompts") && error.to_string().contains("2 pictures")
        );
    }

    #[test]
    fn groups() {
        let table = "image,prompt,category\na.png,x,photo\nb.png,y,anime\n";
        let files = folder(&[
            ("a.png", ""),
            ("b.png", ""),
            ("p.csv", table),
            ("c/1.png", ""),
            ("c/2.png", ""),
        ]);
        let groups = |args: &PromptArgs| -> Vec<_> {
            let items = collect(&[files.path().to_owned()], args).unwrap();
            items.into_iter().map(|item| item.group.unwrap_or_default()).collect()
        };
        assert_eq!(groups(&prompts(&files, "p.csv"))[..2], ["photo", "anime"]);
        assert!(groups(&NONE)[2].ends_with('c') && !groups(&NONE)[0].is_empty());
    }
}
