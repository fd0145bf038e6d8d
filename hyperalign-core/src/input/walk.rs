//! Folders as tools leave them: each file once however many links lead to it, and what is not
//! wanted is counted.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
};

use super::{describe, regular};

/// The folder that macOS puts into archives beside what was packed.
const MACOS: &str = "__MACOSX";

/// What lies in a folder and in those below.
#[derive(Debug, Default)]
pub struct Walk {
    /// The files that are wanted, in the order of their names.
    pub files: Vec<PathBuf>,
    /// What else there is.
    pub left_out: LeftOut,
    /// Folders that cannot be read, and names that should be wanted files and are something else;
    /// each with the reason.
    pub refused: Vec<(PathBuf, String)>,
}

/// How many files of each kind were left out; shown as `1 .DS_Store, 3 .gif`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    kinds: BTreeMap<String, usize>,
}

impl LeftOut {
    /// Counts one of the kind that `name` is of.
    pub fn add(&mut self, name: &OsStr) {
        *self.kinds.entry(kind(name)).or_default() += 1;
    }

    /// Takes the count of `other` in.
    pub fn extend(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> =
            self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        f.write_str(&kinds.join(", "))
    }
}

/// Whether `path` has a name that no reader of folders looks at: what is being written, what macOS
/// leaves beside a file (`._x`), what begins with a dot.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.starts_with('.') || name == MACOS
    })
}

/// What a name counts as: its ending, or what tools are known to call it.
fn kind(name: &OsStr) -> String {
    let text = name.to_string_lossy();
    match Path::new(name).extension() {
        _ if text.starts_with("._") => "._*".to_owned(),
        _ if text.starts_with('.') || text == MACOS => text.into_owned(),
        _ if text == "grid.png" => text.into_owned(),
        Some(ending) => format!(".{}", ending.to_string_lossy().to_lowercase()),
        None => "without an ending".to_owned(),
    }
}

/// The files below `folder` that are `wanted`; those that are also not `expected` are counted as
/// left out. Links are followed, and a folder is entered once: of several ways the one without
/// links, so that a loop ends.
///
/// # Errors
///
/// Fails if `folder` itself cannot be read.
pub fn walk(
    folder: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    expected: &dyn Fn(&Path) -> bool,
) -> io::Result<Walk> {
    let mut walk = Walk::default();
    let mut entered = HashSet::from([folder.canonicalize()?]);
    let mut links = enter(folder, wanted, expected, &mut entered, &mut walk)?;
    // Links last: what they lead to may have been seen under its own name.
    while let Some(link) = links.pop() {
        if link.canonicalize().is_ok_and(|place| entered.insert(place)) {
            match enter(&link, wanted, expected, &mut entered, &mut walk) {
                Ok(more) => links.extend(more),
                Err(error) => walk.refused.push((link, unreadable(&error))),
            }
        }
    }
    walk.files.sort();
    walk.refused.sort();
    Ok(walk)
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Looks through `folder` and those below, and returns the links to folders.
fn enter(
    folder: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    expected: &dyn Fn(&Path) -> bool,
    entered: &mut HashSet<PathBuf>,
    walk: &mut Walk,
) -> io::Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        let entries = match std::fs::read_dir(&inner) {
            Ok(entries) => entries,
            Err(error) if inner == folder => return Err(error),
            Err(error) => {
                walk.refused.push((inner, unreadable(&error)));
                continue;
            }
        };
        for entry in entries {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            if is_hidden(&path) {
                walk.left_out.add(&name);
                continue;
            }
            let is_link = path.is_symlink();
            match path.metadata().map(|metadata| metadata.file_type()) {
                Ok(kind) if kind.is_dir() && is_link => links.push(path),
                Ok(kind) if kind.is_dir() => {
                    if path.canonicalize().is_ok_and(|place| entered.insert(place)) {
                        folders.push(path);
                    }
                }
                Ok(kind) if kind.is_file() && wanted(&path) => walk.files.push(path),
                Ok(kind) if kind.is_file() && expected(&path) => {}
                Ok(kind) if kind.is_file() => walk.left_out.add(&name),
                Ok(kind) if wanted(&path) => {
                    let reason = format!("it is {}, not a file", describe(kind));
                    walk.refused.push((path, reason));
                }
                Ok(_) => walk.left_out.add(&name),
                Err(_) if wanted(&path) || path.extension().is_none() => {
                    let reason = regular(&path).err().map_or_else(String::new, |e| e.to_string());
                    walk.refused.push((path, reason));
                }
                Err(_) => walk.left_out.add(&name),
            }
        }
    }
    links.sort_by(|a, b| b.cmp(a));
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_png(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"))
    }

    fn is_text(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending == "txt")
    }

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir) -> (Vec<String>, Walk) {
        let walk = walk(folder.path(), &is_png, &is_text).unwrap();
        let names = walk.files.iter().map(|file| {
            file.strip_prefix(folder.path()).unwrap().to_string_lossy().replace('\\', "/")
        });
        (names.collect(), walk)
    }

    #[test]
    fn what_is_left_out_is_counted_by_kind() {
        let names = ["b/2.PNG", "a.png", "._a.png", "b/._c.png", ".DS_Store", "x.gif", "y.GIF"];
        let more = ["a.txt", "__MACOSX/z.png", "grid"];
        let (names, walk) = found(&folder(&[&names[..], &more[..]].concat()));
        assert_eq!(names, ["a.png", "b/2.PNG"]);
        assert_eq!(
            walk.left_out.to_string(),
            "1 .DS_Store, 2 ._*, 2 .gif, 1 __MACOSX, 1 without an ending"
        );
        assert!(walk.refused.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_that_loop_or_repeat_lead_to_each_folder_once() {
        let folder = folder(&["z/1.png"]);
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        };
        link("z", "a");
        link("..", "z/up");
        link(".", "self");
        link("gone.png", "dangling.png");
        link("ring", "ring");
        let (names, walk) = found(&folder);
        // Under its own name, though the link comes first in the order of names.
        assert_eq!(names, ["z/1.png"]);
        let refused: Vec<_> = walk.refused.iter().map(|(path, reason)| (path, reason)).collect();
        assert!(refused[0].0.ends_with("dangling.png") && refused[0].1.contains("nothing"));
        assert!(refused[1].0.ends_with("ring"), "{refused:?}");
        assert_eq!(refused.len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_with_the_name_of_a_picture_is_refused() {
        let folder = folder(&["1.png"]);
        for name in ["5.png", "5.gif"] {
            let pipe = folder.path().join(name);
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        }
        let (names, walk) = found(&folder);
        assert_eq!(names, ["1.png"]);
        assert!(walk.refused[0].1.contains("a pipe"), "{:?}", walk.refused);
        assert_eq!(walk.left_out.to_string(), "1 .gif");
    }
}
