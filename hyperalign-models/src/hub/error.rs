//! Why a model could not be had from the hub.

use std::path::PathBuf;

use hf_hub::api::sync::ApiError;

use super::ModelId;

/// Why a model could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that no model can have.
    #[error("`{given}` is no model of the hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")]
    Id {
        /// What was given.
        given: String,
    },
    /// Nothing tells where downloads go.
    #[error("no folder for downloads; set HF_HOME")]
    NoCache,
    /// The model is behind a licence, or private.
    #[error(
        "the hub refuses access to `{model}` ({status}{}); read and accept its licence on \
         {page}, then {}",
        if *has_token { ", with a token" } else { ", without a token" },
        if *has_token {
            "make sure that the token belongs to the account that accepted it"
        } else {
            "set HF_TOKEN to a token of that account"
        }
    )]
    Refused {
        /// The model.
        model: String,
        /// The status of the answer, 401 or 403.
        status: u16,
        /// Where the licence is.
        page: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// There is no such model, revision or file.
    #[error("the hub has no `{model}`{}; is the name right?", in_file(file))]
    NotFound {
        /// The model.
        model: String,
        /// The file, or nothing.
        file: String,
    },
    /// A repository that holds no weights that are read.
    #[error("`{model}` holds no model in diffusers' or transformers' layout with safetensors")]
    NoModel {
        /// The model.
        model: String,
    },
    /// A list of parts that is not one.
    #[error("the model_index.json of `{model}` does not list the parts of a pipeline: {reason}")]
    Index {
        /// The model.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection failed or broke off.
    #[error(
        "cannot download `{model}`{}: {source}; run the same command again to go on, or use \
         `--offline` with what is in the cache",
        in_file(file)
    )]
    Connection {
        /// The model.
        model: String,
        /// The file, or nothing.
        file: String,
        /// What happened.
        source: Box<ApiError>,
    },
    /// A file that arrived and is not what was announced.
    #[error("`{file}` of `{model}` arrived damaged and was removed ({reason}); run again")]
    Damaged {
        /// The model.
        model: String,
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
    /// Offline, and the model is not in the cache.
    #[error(
        "`{model}` is not in the cache `{}`, and no server is asked offline; run once without \
         `--offline` and HF_HUB_OFFLINE",
        cache.display()
    )]
    NotCached {
        /// The model.
        model: String,
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
    /// The error of a request about `file` of the model `id`.
    pub(super) fn from_api(
        id: &ModelId,
        endpoint: &str,
        has_token: bool,
        file: &str,
        error: ApiError,
    ) -> Self {
        let (model, file) = (id.to_string(), file.to_owned());
        let status = match &error {
            ApiError::RequestError(request) => match request.as_ref() {
                ureq::Error::StatusCode(status) => Some(*status),
                _ => None,
            },
            _ => None,
        };
        match status {
            Some(status @ (401 | 403)) => {
                let page = format!("{}/{}", endpoint.trim_end_matches('/'), id.name);
                Self::Refused { model, status, page, has_token }
            }
            Some(404) => Self::NotFound { model, file },
            _ => Self::Connection { model, file, source: Box::new(error) },
        }
    }
}

fn in_file(file: &str) -> String {
    if file.is_empty() { String::new() } else { format!(", file `{file}`") }
}
