//! The files of a set: its tables and listings, and the pictures that these name.

use std::path::{Path, PathBuf};

use hyperalign_core::input;

use super::PreferenceError;

/// The folders that paths of a set may be relative to.
#[derive(Debug)]
pub(super) struct Pictures {
    pub(super) root: PathBuf,
}

impl Pictures {
    /// HPD's archives unpack to a folder by split beside the listings.
    const FOLDERS: [&str; 3] = ["train", "test", "images"];

    /// The file at `path`, as the listing `of` names it. Splits number their pictures alike, so
    /// that the folder called like the listing comes first, and of others there may be only one.
    pub(super) fn read(&self, path: &str, of: &Path) -> Result<Vec<u8>, PreferenceError> {
        let path = path.replace('\\', "/");
        let own = of.file_stem().map(|stem| self.root.join(stem).join(&path));
        let first = self.root.join(&path);
        let mut found: Vec<PathBuf> = std::iter::once(first.clone()).chain(own).collect();
        found.retain(|file| input::is_there(file));
        if found.is_empty() {
            found.extend(Self::FOLDERS.map(|folder| self.root.join(folder).join(&path)));
            found.retain(|file| input::is_there(file));
            if let [one, another, ..] = found.as_slice() {
                return Err(PreferenceError::Row {
                    path: of.to_owned(),
                    place: format!("picture `{path}`"),
                    reason: format!(
                        "it may be `{}` or `{}`; give the split's own folder",
                        one.display(),
                        another.display()
                    ),
                });
            }
        }
        let path = found.into_iter().next().unwrap_or(first);
        input::read(&path).map_err(|source| PreferenceError::Unreadable { path, source })
    }
}

/// Whether the name of `file` ends in `known`.
pub(super) fn has_ending(file: &Path, known: &str) -> bool {
    file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(known))
}

/// The files of a set, in the order of their names.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, PreferenceError> {
    let unreadable = |source| PreferenceError::Unreadable { path: path.to_owned(), source };
    if !path.is_dir() {
        input::regular(path).map_err(unreadable)?;
        return match has_ending(path, "parquet") || has_ending(path, "json") {
            true => Ok(vec![path.to_owned()]),
            false => Err(PreferenceError::Kind { path: path.to_owned() }),
        };
    }
    let entries: Vec<_> =
        std::fs::read_dir(path).and_then(Iterator::collect).map_err(unreadable)?;
    let mut all: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    all.retain(|file| !input::is_hidden(file));
    all.sort();
    // A folder of parquet files may have other JSON beside them, such as its description.
    let is_parquet = |file: &PathBuf| has_ending(file, "parquet");
    let kind = if all.iter().any(is_parquet) { "parquet" } else { "json" };
    all.retain(|file| has_ending(file, kind));
    if all.is_empty() {
        return Err(PreferenceError::Kind { path: path.to_owned() });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_of_its_own_split() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for split in ["train", "test"] {
            std::fs::create_dir(at(split)).unwrap();
            std::fs::write(at(split).join("1.jpg"), split).unwrap();
        }
        let pictures = Pictures { root: folder.path().to_owned() };
        let read = |path: &str, of: &str| pictures.read(path, &at(of));
        assert_eq!(read("1.jpg", "test.json").unwrap(), b"test");
        assert_eq!(read("train\\1.jpg", "test.json").unwrap(), b"train");
        let message = read("1.jpg", "all.json").unwrap_err().to_string();
        assert!(message.contains("train") && message.contains("test"), "{message}");
        std::fs::remove_file(at("train/1.jpg")).unwrap();
        assert_eq!(read("1.jpg", "all.json").unwrap(), b"test");
        assert!(read("2.jpg", "all.json").unwrap_err().to_string().contains("2.jpg"));
    }

    #[test]
    fn what_tools_leave_in_a_folder_is_no_part_of_the_set() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.PARQUET", "a.parquet", "._a.parquet", ".DS_Store", "info.json"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, ["a.parquet", "b.PARQUET"]);
    }
}
