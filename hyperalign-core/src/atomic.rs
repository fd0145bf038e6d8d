//! Files and folders that are there whole or not at all.
//!
//! Everything is written beside its place, brought to the disk, and renamed. A failure (a full
//! disk, a folder that cannot be written) leaves what was there before and nothing else. A
//! process that is killed may leave a name that begins with a dot: readers of folders skip those.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`: {source}; {}", path.display(), remedy(source))]
pub struct WriteError {
    /// What was to be written.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space or choose a place on another disk (nothing was changed)"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the limit on the size of files (`ulimit -f`; nothing was changed)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a place that you may write to"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "something else is in the way; move it or choose another name"
        }
        _ => "choose another place if this one cannot be written",
    }
}

/// Puts the path into an error of the system.
fn at(path: &Path) -> impl Fn(io::Error) -> WriteError + '_ {
    |source| WriteError { path: path.to_owned(), source }
}

/// Writes the file `path` with what `fill` writes; missing folders above it are made.
///
/// # Errors
///
/// Fails if the file or its folder cannot be written, or `fill` fails.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteError> {
    let at = at(path);
    let parent = make_parent(path).map_err(&at)?;
    let mut file = beside(0o666).tempfile_in(parent).map_err(&at)?;
    let mut writer = BufWriter::new(file.as_file_mut());
    fill(&mut writer).and_then(|()| writer.flush()).map_err(&at)?;
    drop(writer);
    file.as_file().sync_all().map_err(&at)?;
    file.persist(path).map_err(|error| at(error.error))?;
    sync_folder(parent).map_err(&at)
}

/// Writes `bytes` as the file `path`; missing folders above it are made.
///
/// # Errors
///
/// Fails if the file or its folder cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_with(path, |writer| writer.write_all(bytes))
}

/// Makes the folder `path` with what `fill` puts into the folder that it is given; missing
/// folders above it are made.
///
/// A folder that is there already is replaced as a whole. Between its removal and the new one's
/// appearance lies one instant without either; what must survive a kill at any instant goes
/// under a new name each time, as checkpoints do.
///
/// # Errors
///
/// Fails if the folder cannot be written, or `fill` fails.
pub fn write_folder<E: From<WriteError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let at = at(path);
    let parent = make_parent(path).map_err(&at)?;
    let new = beside(0o777).tempdir_in(parent).map_err(&at)?;
    fill(new.path())?;
    sync_tree(new.path()).map_err(&at)?;
    if path.is_dir() {
        let old = beside(0o777).tempdir_in(parent).map_err(&at)?;
        let aside = old.path().join("old");
        fs::rename(path, &aside).map_err(&at)?;
        if let Err(error) = fs::rename(new.path(), path) {
            // Put it back: better the old state than none.
            fs::rename(&aside, path).map_err(&at)?;
            return Err(at(error).into());
        }
    } else {
        fs::rename(new.path(), path).map_err(&at)?;
    }
    // It has another name now: there is nothing to clean up.
    let _ = new.keep();
    Ok(sync_folder(parent).map_err(&at)?)
}

/// A temporary name in the same folder, so that the rename stays on one file system.
fn beside(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    // What the umask leaves of the usual mode, not the private one of temporary files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    builder
}

fn make_parent(path: &Path) -> io::Result<&Path> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    Ok(parent)
}

/// Brings a folder's names to the disk. Only Unix opens folders as files.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(path.parent().unwrap()), ["file.txt"]);
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        write(&path, b"one").unwrap();
        let error = write_with(&path, |writer| {
            writer.write_all(b"half of tw")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(error.to_string().contains("file.txt") && error.to_string().contains("free some"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["file.txt"]);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("file"), b"").unwrap();
        let error = write(&folder.path().join("file/below"), b"").unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
        // A folder is not replaced by a file.
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(write(&folder.path().join("folder"), b"").is_err());
        assert_eq!(names(folder.path()), ["file", "folder"]);
    }

    fn fill(folder: &Path, name: &str) -> Result<(), WriteError> {
        write(&folder.join("sub").join(name), b"x")
    }

    #[test]
    fn folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        write_folder(&path, |new| fill(new, "one")).unwrap();
        write_folder(&path, |new| fill(new, "two")).unwrap();
        assert_eq!(names(&path.join("sub")), ["two"]);
        assert_eq!(names(path.parent().unwrap()), ["b"]);
    }

    #[test]
    fn a_failed_folder_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let full = |new: &Path| -> Result<(), WriteError> {
            fill(new, "half")?;
            Err(WriteError { path: new.into(), source: io::ErrorKind::StorageFull.into() })
        };
        write_folder(&path, full).unwrap_err();
        assert!(names(folder.path()).is_empty());
        write_folder(&path, |new| fill(new, "one")).unwrap();
        write_folder(&path, full).unwrap_err();
        assert_eq!(names(&path.join("sub")), ["one"]);
        assert_eq!(names(folder.path()), ["b"]);
    }

    /// Others may read what the umask lets them, as with files written directly.
    #[cfg(unix)]
    #[test]
    fn permissions_are_the_usual_ones() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        fs::write(folder.path().join("usual"), b"").unwrap();
        write(&folder.path().join("ours"), b"").unwrap();
        assert_eq!(mode(&folder.path().join("usual")), mode(&folder.path().join("ours")));
        fs::create_dir(folder.path().join("usual-folder")).unwrap();
        write_folder(&folder.path().join("folder"), |new| fill(new, "x")).unwrap();
        let (usual, ours) = (folder.path().join("usual-folder"), folder.path().join("folder"));
        assert_eq!(mode(&usual), mode(&ours));
    }
}
