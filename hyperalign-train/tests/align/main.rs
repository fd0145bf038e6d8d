//! Alignment runs from settings to an adapter, on the smallest base that has every part.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

mod full;
mod learns;
mod methods;
mod network;
mod resume;
mod step;
mod toy;
mod watch;
