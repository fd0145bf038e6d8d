//! Connections, none of which can keep the server from its end.

use std::{pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use hyperalign_core::stop::Stop;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::patience::Patient;
use crate::output;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long the head of a request may take to arrive, and a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long requests that are there at the end may take.
const GRACE: Duration = Duration::from_secs(60);

/// Waits until `stop` is requested.
pub async fn until(stop: &Stop) {
    while !stop.is_requested() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Answers requests until `stop`, then for as long as [`GRACE`] those that are there.
pub async fn serve(listener: TcpListener, router: Router, stop: Stop) {
    let (end, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    while !stop.is_requested() {
        while connections.try_join_next().is_some() {}
        match tokio::time::timeout(LOOK, listener.accept()).await {
            Ok(Ok((stream, _))) => {
                connections.spawn(answer(stream, router.clone(), ended.clone()));
            }
            // There are no more files to open, until a connection ends.
            Ok(Err(_)) => tokio::time::sleep(LOOK).await,
            Err(_) => {}
        }
    }
    drop((listener, end));
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        output::note(&format!(
            "{} requests took longer than {GRACE:?} and are left",
            connections.len()
        ));
    }
}

/// Answers the requests of one connection; after the end, the one that has begun.
async fn answer(stream: TcpStream, router: Router, mut ended: watch::Receiver<()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(http.serve_connection(TokioIo::new(Patient::new(stream)), service));
    // A connection that breaks off is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ended.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
