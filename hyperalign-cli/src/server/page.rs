//! Pages for people. All of a page is part of the program: nothing is fetched from elsewhere, and the
//! browser is told not to.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};

/// A file of a page, of this media type. `policy` says what the browser may load.
pub fn page(kind: &'static str, policy: &'static str, text: impl IntoResponse) -> Response {
    let mut response = text.into_response();
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The program may be another one tomorrow.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let headers =
        headers.map(|(name, value): (HeaderName, _)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}
