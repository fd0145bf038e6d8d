//! What the servers have in common: where they listen, who may ask, how a connection and the whole
//! server end, what a body may be, how a request is refused, what a page is, and what is counted. No
//! command is known here.

mod access;
mod address;
mod bodies;
mod connections;
mod metrics;
mod page;
mod patience;
mod refusal;

pub use self::access::Access;
#[cfg(test)]
pub use self::address::listen;
pub use self::address::{ListenError, resolve};
pub use self::bodies::{Bodies, Room, UNIT};
pub use self::connections::{serve, until};
pub use self::metrics::{Counter, describe};
pub use self::page::page;
pub use self::refusal::{Refusal, answer};

use std::net::SocketAddr;

use axum::Router;
use hyperalign_core::stop::Stop;
use miette::IntoDiagnostic;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::output;

/// The threads that requests are read and answered on; what takes longer than a moment has at most
/// `blocking` others.
///
/// # Errors
///
/// Fails if the system has no more threads.
pub fn runtime(blocking: usize) -> miette::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().worker_threads(2).max_blocking_threads(blocking);
    builder.build().into_diagnostic()
}

/// Listens at the first of `addresses` that can be had, and answers until `stop`. `has_login` says
/// whether whoever reaches it has to show a key.
///
/// # Errors
///
/// Fails if there is no address to be had.
pub async fn run(
    addresses: &[SocketAddr],
    router: Router,
    has_login: bool,
    stop: Stop,
) -> Result<(), ListenError> {
    let listener = listening(addresses, has_login)?;
    output::note("Ctrl-C ends");
    serve(listener, router, stop).await;
    Ok(())
}

/// Listens at the first of `addresses` that can be had, and says where.
///
/// # Errors
///
/// As [`run`].
pub fn listening(addresses: &[SocketAddr], has_login: bool) -> Result<TcpListener, ListenError> {
    let listener = address::first(addresses)?;
    let address = listener.local_addr().map_err(|source| ListenError::of(addresses[0], source))?;
    if !address.ip().is_loopback() && !has_login {
        output::warn(&format!(
            "{address} can be reached from other machines, and there is no login"
        ));
    }
    output::note(&format!("listening at http://{address}"));
    Ok(listener)
}
