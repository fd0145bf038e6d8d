//! What lies on disk.

use std::path::Path;

/// Bytes of the files in `dir` and in the folders below; 0 if there is no such folder.
pub fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size_of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => size(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.map(size_of).sum()
}

/// Bytes that are free for this user on the disk of `path`, which need not be there yet. None where
/// the system does not tell.
#[cfg(unix)]
pub fn free(path: &Path) -> Option<u64> {
    let folder = path.ancestors().find(|folder| folder.exists())?;
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

/// What the system does not tell in a way that is known here.
#[cfg(not(unix))]
pub fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_holds_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(size(&dir.path().join("none")), 0);
        std::fs::write(dir.path().join("a.db"), [0; 7]).expect("a file");
        assert_eq!(size(dir.path()), 7);
        std::fs::create_dir(dir.path().join("below")).expect("a folder");
        std::fs::write(dir.path().join("below/b"), [0; 5]).expect("a file");
        assert_eq!(size(dir.path()), 12);
    }

    #[test]
    #[cfg(unix)]
    fn what_is_free_is_that_of_the_nearest_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let free = |path: &Path| free(path).expect("a disk") >> 30;
        assert!(free(dir.path()).abs_diff(free(&dir.path().join("none/yet"))) <= 1);
    }
}
