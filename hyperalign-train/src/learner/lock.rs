//! One run, one process.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// A folder that this process works in. The system itself takes the lock back when the process
/// ends, however it ends, and nothing of it lies in the folder. A folder that was made for it and
/// that nothing was put into goes with it: a run that is refused leaves nothing behind.
#[derive(Debug)]
pub struct FolderLock {
    _held: Option<File>,
    made: Option<PathBuf>,
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Some(dir) = &self.made {
            // Fails for a folder with something in it, as it should.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// A folder that cannot be worked in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process works in it.
    #[error(
        "another process works in `{}`; wait for its end, or choose another folder",
        dir.display()
    )]
    Held {
        /// The folder.
        dir: PathBuf,
    },
    /// It cannot be opened.
    #[error("cannot use the folder `{}`: {source}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FolderLock {
    /// Takes the folder `dir`, which is made if it is missing. On file systems without locks this
    /// keeps nobody out.
    ///
    /// # Errors
    ///
    /// Fails if another process has it, or it is no folder.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { dir: dir.to_owned(), source };
        let made = (!dir.exists()).then(|| dir.to_owned());
        std::fs::create_dir_all(dir).map_err(io)?;
        // Only Unix opens folders as files.
        if !cfg!(unix) {
            return Ok(Self { _held: None, made });
        }
        let file = File::open(dir).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _held: Some(file), made }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { dir: dir.to_owned() }),
            Err(TryLockError::Error(_)) => Ok(Self { _held: None, made }),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("run");
        let first = FolderLock::take(&dir).unwrap();
        let message = FolderLock::take(&dir).unwrap_err().to_string();
        assert!(message.contains("another process") && message.contains("run"), "{message}");
        assert!(FolderLock::take(folder.path()).is_ok(), "another folder");
        drop(first);
        assert!(!dir.exists(), "nothing is left behind");
        let second = FolderLock::take(&dir).unwrap();
        std::fs::write(dir.join("config.toml"), "").unwrap();
        drop(second);
        assert!(dir.join("config.toml").exists());
        FolderLock::take(&dir).unwrap();
        assert!(dir.join("config.toml").exists());
    }
}
