//! Where a server listens.

use std::net::{SocketAddr, ToSocketAddrs};

use miette::Diagnostic;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4096;

/// A server that cannot be.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot listen at {address}: {source}")]
#[diagnostic(help("choose another port, or 0 for any that is free"))]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

impl ListenError {
    pub(super) fn of(address: SocketAddr, source: std::io::Error) -> Self {
        Self { address, source }
    }
}

/// A host that no address is known of.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`--host {host}` is no address of this machine{}", known(source))]
#[diagnostic(help(
    "give an address such as 127.0.0.1, ::1 or 0.0.0.0, or a name such as localhost"
))]
pub struct HostError {
    host: String,
    source: Option<std::io::Error>,
}

fn known(source: &Option<std::io::Error>) -> String {
    source.as_ref().map_or_else(String::new, |source| format!(": {source}"))
}

/// The addresses that `host` stands for; of a name there may be several.
///
/// # Errors
///
/// Fails for a name that no address is known of.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, HostError> {
    let unknown = |source: Option<std::io::Error>| HostError { host: host.to_owned(), source };
    // IPv6 is written in brackets beside a port, and without them alone.
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = (bare, port).to_socket_addrs().map_err(|error| unknown(Some(error)))?;
    let mut found: Vec<SocketAddr> = found.collect();
    // What a client tries that was given a name.
    found.sort_by_key(SocketAddr::is_ipv6);
    if found.is_empty() { Err(unknown(None)) } else { Ok(found) }
}

/// Listens at the first of `addresses` that can be had.
pub(super) fn first(addresses: &[SocketAddr]) -> Result<TcpListener, ListenError> {
    let cannot = |address| move |source| ListenError { address, source };
    let mut listening = listen(addresses[0]).map_err(cannot(addresses[0]));
    for address in &addresses[1..] {
        listening = listening.or_else(|_| listen(*address).map_err(cannot(*address)));
    }
    listening
}

/// Listens with room for a crowd that comes at once: what exceeds it, the system resets.
///
/// # Errors
///
/// Fails if the address cannot be had.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: a port of a server that just ended is free.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
