//! Why something could not be had from the hub.

use std::path::PathBuf;

use hf_hub::api::sync::ApiError;

use super::repository::Repository;

/// Why a model or a data set could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that no model can have.
    #[error("`{given}` is no model of the hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")]
    Id {
        /// What was given.
        given: String,
    },
    /// A name that no data set can have.
    #[error(
        "`{given}` is no data set of the hub; write hf:datasets/OWNER/NAME, with @REVISION or \
         /FILE behind it where that is needed"
    )]
    DatasetId {
        /// What was given.
        given: String,
    },
    /// Nothing tells where downloads go.
    #[error("no folder for downloads; set HF_HOME")]
    NoCache,
    /// The repository is behind a licence, or private.
    #[error(
        "the hub refuses access to `{repository}` ({status}{}); read and accept its licence on \
         {page}, then {}",
        if *has_token { ", with a token" } else { ", without a token" },
        if *has_token {
            "make sure that the token belongs to the account that accepted it"
        } else {
            "set HF_TOKEN to a token of that account"
        }
    )]
    Refused {
        /// The repository.
        repository: String,
        /// The status of the answer, 401 or 403.
        status: u16,
        /// Where the licence is.
        page: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// There is no such repository, revision or file.
    #[error("the hub has no `{repository}`{}; is the name right?", in_file(file))]
    NotFound {
        /// The repository.
        repository: String,
        /// The file, or nothing.
        file: String,
    },
    /// A repository that holds no weights that are read.
    #[error("`{repository}` holds no model in diffusers' or transformers' layout with safetensors")]
    NoModel {
        /// The repository.
        repository: String,
    },
    /// A list of parts that is not one.
    #[error(
        "the model_index.json of `{repository}` does not list the parts of a pipeline: {reason}"
    )]
    Index {
        /// The repository.
        repository: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A data set without a file that was asked for.
    #[error("`{repository}` has no file {wanted}; it has {}", some_of(files))]
    NoFile {
        /// The repository.
        repository: String,
        /// What was looked for, in words.
        wanted: String,
        /// The files that there are.
        files: Vec<String>,
    },
    /// The connection failed or broke off.
    #[error(
        "cannot download `{repository}`{}: {source}; run the same command again to go on, or use \
         `--offline` with what is in the cache",
        in_file(file)
    )]
    Connection {
        /// The repository.
        repository: String,
        /// The file, or nothing.
        file: String,
        /// What happened.
        source: Box<ApiError>,
    },
    /// A file that arrived and is not what was announced.
    #[error("`{file}` of `{repository}` arrived damaged and was removed ({reason}); run again")]
    Damaged {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that would lead out of the cache.
    #[error("the server names a file `{name}`, which has no place in the cache")]
    Name {
        /// The name.
        name: String,
    },
    /// Offline, and not in the cache.
    #[error(
        "`{repository}`{} is not in the cache `{}`, and no server is asked offline; run once without \
         `--offline` and HF_HUB_OFFLINE",
        in_file(file),
        cache.display()
    )]
    NotCached {
        /// The repository.
        repository: String,
        /// The file, or nothing.
        file: String,
        /// The cache.
        cache: PathBuf,
    },
    /// A file of the cache cannot be read or written.
    #[error("cannot use `{}` of the cache: {source}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HubError {
    /// The error of a request about `file` of `repository`.
    pub(super) fn from_api(repository: &Repository, file: &str, error: ApiError) -> Self {
        let (page, has_token) = (repository.page(), repository.has_token());
        let (repository, file) = (repository.to_string(), file.to_owned());
        let status = match &error {
            ApiError::RequestError(request) => match request.as_ref() {
                ureq::Error::StatusCode(status) => Some(*status),
                _ => None,
            },
            _ => None,
        };
        match status {
            Some(status @ (401 | 403)) => Self::Refused { repository, status, page, has_token },
            Some(404) => Self::NotFound { repository, file },
            _ => Self::Connection { repository, file, source: Box::new(error) },
        }
    }
}

fn in_file(file: &str) -> String {
    if file.is_empty() { String::new() } else { format!(", file `{file}`") }
}

/// Files that a message shows.
const SHOWN: usize = 8;

fn some_of(files: &[String]) -> String {
    let shown: Vec<&str> = files.iter().take(SHOWN).map(String::as_str).collect();
    match (shown.is_empty(), files.len() - shown.len()) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
