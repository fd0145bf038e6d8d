//! The page at `/`.

use axum::response::Response;

use crate::server::page;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data: blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page itself.
pub async fn html() -> Response {
    page("text/html; charset=utf-8", POLICY, include_str!("page/index.html"))
}

/// How it looks.
pub async fn css() -> Response {
    let style = concat!(include_str!("../../server/base.css"), include_str!("page/page.css"));
    page("text/css; charset=utf-8", POLICY, style)
}

/// What it does.
pub async fn js() -> Response {
    page("text/javascript; charset=utf-8", POLICY, include_str!("page/page.js"))
}
