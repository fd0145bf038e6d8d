//! The pages of the servers in a real browser. Screenshots stay in `target/tmp/screenshots`.

#![cfg(all(feature = "serve", unix))]
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod chromium;
mod serve;
mod study;

#[path = "../client/mod.rs"]
#[allow(dead_code, reason = "the browser asks for us")]
mod client;
#[path = "../gallery/mod.rs"]
#[allow(dead_code, reason = "tests of other commands need more of it")]
mod gallery;
#[path = "../tiny/mod.rs"]
#[allow(dead_code, reason = "tests of other commands need more of it")]
mod tiny;
