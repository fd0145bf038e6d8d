//! The page at `/`. All of it is part of the program: nothing is fetched from elsewhere, and the
//! browser is told not to.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data: blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page itself.
pub async fn html() -> Response {
    file("text/html; charset=utf-8", include_str!("page/index.html"))
}

/// How it looks.
pub async fn css() -> Response {
    file("text/css; charset=utf-8", include_str!("page/page.css"))
}

/// What it does.
pub async fn js() -> Response {
    file("text/javascript; charset=utf-8", include_str!("page/page.js"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
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
