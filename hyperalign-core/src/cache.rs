//! Where the program keeps what it can make again.

use std::path::PathBuf;

/// No variable tells where the user's cache is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing says where the cache is: none of HYPERALIGN_CACHE, XDG_CACHE_HOME, HOME and \
     LOCALAPPDATA is set; set HYPERALIGN_CACHE to a folder"
)]
pub struct NoCache;

/// The program's folder in the user's cache: `HYPERALIGN_CACHE`, or else `hyperalign` in
/// `XDG_CACHE_HOME`, in `~/.cache` or in `LOCALAPPDATA`. It need not exist.
///
/// # Errors
///
/// Fails if none of the variables is set.
pub fn folder() -> Result<PathBuf, NoCache> {
    folder_by(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn folder_by(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, NoCache> {
    let shared = || {
        variable("XDG_CACHE_HOME")
            .or_else(|| Some(variable("HOME")?.join(".cache")))
            .or_else(|| variable("LOCALAPPDATA"))
    };
    variable("HYPERALIGN_CACHE").or_else(|| Some(shared()?.join("hyperalign"))).ok_or(NoCache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variable_decides() {
        let folder = |given: &[(&str, &str)]| {
            folder_by(|name| given.iter().find(|one| one.0 == name).map(|one| one.1.into()))
        };
        let own = ("HYPERALIGN_CACHE", "/own");
        let (xdg, home) = (("XDG_CACHE_HOME", "/xdg"), ("HOME", "/h"));
        assert_eq!(folder(&[home, xdg, own]), Ok("/own".into()));
        assert_eq!(folder(&[home, xdg]), Ok("/xdg/hyperalign".into()));
        assert_eq!(folder(&[home]), Ok("/h/.cache/hyperalign".into()));
        assert_eq!(folder(&[("LOCALAPPDATA", "/l")]), Ok("/l/hyperalign".into()));
        assert_eq!(folder(&[]), Err(NoCache));
    }
}
