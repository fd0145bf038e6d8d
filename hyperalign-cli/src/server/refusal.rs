//! Requests that are not answered with what they ask for.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// The most characters of an error: what came in may be part of it, and is not to come back whole.
const WORDS: usize = 300;

/// A request that is not answered with what it asks for, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What was given, what was expected and what to do.
    pub reason: String,
}

impl Refusal {
    /// A refusal for a reason.
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// There is no room now.
    pub fn busy() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "the queue is full; try again in a second")
    }

    /// It is too large ever to be taken.
    pub fn too_large(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    }

    /// The reason, cut where it is long.
    pub fn short(&self) -> String {
        let mut text: String = self.reason.chars().take(WORDS).collect();
        if text.len() < self.reason.len() {
            text.push_str("..");
        }
        text
    }

    /// The answer with this body.
    pub fn with_body(&self, body: &Value) -> Response {
        let mut response = answer("application/json", body.to_string());
        *response.status_mut() = self.status;
        let wait = match self.status {
            StatusCode::TOO_MANY_REQUESTS => Some(Duration::from_secs(1)),
            StatusCode::SERVICE_UNAVAILABLE => Some(Duration::from_secs(10)),
            _ => None,
        };
        if let Some(wait) = wait {
            let wait = HeaderValue::from(wait.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.with_body(&json!({"error": self.short()}))
    }
}

/// An answer of this kind.
pub fn answer(kind: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.into()).into_response()
}
