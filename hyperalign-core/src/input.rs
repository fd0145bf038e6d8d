//! Files that others made: what is read of them is a regular file, and a text is UTF-8.
//!
//! A pipe would be waited for, a device has no end, and a link may lead nowhere. Errors are the
//! system's own kind, so that every reader can put its path around them, and say what is there
//! instead.

mod text;
mod walk;

use std::{
    fs::{File, FileType},
    io::{self, Read},
    path::Path,
};

pub use text::{TextError, decode_text};
pub use walk::{LeftOut, Walk, is_hidden, walk};

/// Opens the regular file at `path`; links are followed.
///
/// # Errors
///
/// Fails if there is none, it cannot be opened, or something else is in its place.
pub fn open(path: &Path) -> io::Result<File> {
    regular(path)?;
    File::open(path)
}

/// The bytes of the regular file at `path`.
///
/// # Errors
///
/// Fails as [`open`] does, and if it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of the regular file at `path`, without a byte-order mark, its lines ended by `\n`.
///
/// # Errors
///
/// Fails as [`read`] does, and with a [`TextError`] inside if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read(path)?;
    let text = decode_text(&bytes).map_err(|error| match not_the_file(&bytes) {
        Some(what) => invalid(format!("it is {what}")),
        None => io::Error::new(io::ErrorKind::InvalidData, error),
    })?;
    Ok(text.into_owned())
}

/// Fails unless a regular file is at `path`, or a link to one.
///
/// # Errors
///
/// Says what is there instead: nothing, a link to nothing, a folder, a pipe, a socket, a device.
pub fn regular(path: &Path) -> io::Result<()> {
    let metadata = path.metadata().map_err(|error| match std::fs::read_link(path) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "it is a link that points to nothing: `{}` is not there; fetch that file again, or \
                 remove the link",
                target.display()
            ),
        ),
        _ => error,
    })?;
    match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind => Err(invalid(format!("it is {}, not a file", describe(kind)))),
    }
}

/// Whether a file is at `path`, or a link that should lead to one: whoever reads it then says that
/// the link leads nowhere.
pub fn is_there(path: &Path) -> bool {
    path.is_file() || (path.is_symlink() && !path.exists())
}

/// What `kind` is, in words.
fn describe(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_block_device() || kind.is_char_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "something else" }
}

/// What stands in the place of the file that was meant, by its first bytes: what tools leave there
/// that did not fetch it.
pub fn not_the_file(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.trim_ascii_start();
    let begins = |word: &str| {
        start.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
    };
    if bytes.is_empty() {
        return Some("empty; fetch it again");
    }
    if begins("version https://git-lfs") {
        return Some(
            "a Git LFS pointer, which stands for the file; run `git lfs pull` in its folder",
        );
    }
    if begins("<!doctype html") || begins("<html") {
        return Some(
            "a page of HTML, such as a server shows in the place of a file that needs a login; \
             fetch it again",
        );
    }
    if begins("<?xml") {
        return Some("an XML document, such as a server's error; fetch it again");
    }
    None
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_tools_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "\u{FEFF}a dog\r\na cat\ra cow\n").unwrap();
        assert_eq!(read_text(&path).unwrap(), "a dog\na cat\na cow\n");
        std::fs::write(&path, b"\xff\xfea\0").unwrap();
        assert!(read_text(&path).unwrap_err().to_string().contains("UTF-16"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let reason = |name: &str| read(&at(name)).unwrap_err().to_string();
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        std::os::unix::fs::symlink("../blobs/gone", at("link")).unwrap();
        std::os::unix::fs::symlink("pipe", at("to-pipe")).unwrap();
        assert!(reason("pipe").contains("a pipe") && reason("to-pipe").contains("a pipe"));
        assert!(reason("socket").contains("a socket"));
        assert!(reason("zero").contains("a device"));
        assert!(reason("link").contains("points to nothing") && reason("link").contains("gone"));
        assert!(read(folder.path()).unwrap_err().to_string().contains("a folder"));
        assert_eq!(read(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_was_not_fetched_is_told() {
        let told = |bytes: &[u8]| not_the_file(bytes).unwrap_or_default();
        assert!(told(b"version https://git-lfs.github.com/spec/v1\n").contains("git lfs pull"));
        assert!(told(b"\n<!DOCTYPE HTML><html>").contains("HTML"));
        assert!(told(b"").contains("empty"));
        assert!(told(b"{\"a\": 1}").is_empty());
    }
}
