//! The variables that Python's `huggingface_hub` reads.

use std::{env, path::PathBuf};

use hyperalign_core::input;

use super::{Hub, HubError};

const ENDPOINT: &str = "https://huggingface.co";

impl Hub {
    /// The hub as the environment describes it, in the words of `huggingface_hub`:
    ///
    /// - cache: `HF_HUB_CACHE`, or else `hub` in `HF_HOME`, or else in `~/.cache/huggingface`;
    /// - token: `HF_TOKEN`, or else the file `HF_TOKEN_PATH`, or else the file `token` in
    ///   `HF_HOME`, where `hf auth login` leaves it;
    /// - mirror: `HF_ENDPOINT`;
    /// - no network: `HF_HUB_OFFLINE`, or `offline`.
    ///
    /// # Errors
    ///
    /// Fails if nothing tells where the cache is.
    pub fn from_env(offline: bool) -> Result<Self, HubError> {
        Self::from_variables(&variable, offline)
    }

    fn from_variables(
        variable: &dyn Fn(&str) -> Option<String>,
        offline: bool,
    ) -> Result<Self, HubError> {
        let in_cache = |cache: PathBuf| cache.join("huggingface");
        let home = variable("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| variable("XDG_CACHE_HOME").map(PathBuf::from).map(in_cache))
            .or_else(|| {
                let home = variable("HOME").or_else(|| variable("USERPROFILE"))?;
                Some(in_cache(PathBuf::from(home).join(".cache")))
            });
        let cache = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
        let cache = match (cache, &home) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => home.join("hub"),
            (None, None) => return Err(HubError::NoCache),
        };
        let token_file = variable("HF_TOKEN_PATH")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join("token")));
        let token = variable("HF_TOKEN")
            .or_else(|| input::read_text(&token_file?).ok())
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        let is_on = |value: String| {
            ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
        };
        Ok(Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            cache,
            token,
            offline: offline || variable("HF_HUB_OFFLINE").is_some_and(is_on),
        })
    }
}

/// An empty variable counts as unset.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)], offline: bool) -> Result<Hub, HubError> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Hub::from_variables(&find, offline)
    }

    #[test]
    fn the_cache_of_python_is_found() {
        let cache = |variables: &[(&str, &str)]| hub(variables, false).unwrap().cache;
        assert_eq!(cache(&[("HOME", "/h")]), PathBuf::from("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HF_HOME", "/x"), ("HOME", "/h")]), PathBuf::from("/x/hub"));
        assert_eq!(cache(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/x")]), PathBuf::from("/c"));
        assert!(matches!(hub(&[], false), Err(HubError::NoCache)));
    }

    #[test]
    fn tokens_and_switches() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(hub(&[("HF_HOME", home)], false).unwrap().token, None);
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let login = hub(&[("HF_HOME", home)], true).unwrap();
        assert_eq!(login.token.as_deref(), Some("hf_file"));
        assert!(login.offline);
        let both = [("HF_HOME", home), ("HF_TOKEN", " hf_env "), ("HF_HUB_OFFLINE", "TRUE")];
        let both = hub(&both, false).unwrap();
        assert_eq!(both.token.as_deref(), Some("hf_env"));
        assert!(both.offline);
        assert_eq!(both.endpoint, ENDPOINT);
    }
}
