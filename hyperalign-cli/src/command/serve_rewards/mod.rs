//! `hyperalign serve-rewards`: scores over HTTP, for trainers in other languages.

mod connections;
mod flow_grpo;
mod http;
#[cfg(test)]
mod http_tests;
mod metrics;
mod numpy;
mod queue;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use hyperalign_core::stop::Stop;
use miette::{Diagnostic, IntoDiagnostic};
use tokio::net::{TcpListener, TcpSocket};

use crate::{
    args::at_least_one,
    context::Context,
    interrupt,
    outcome::Outcome,
    rewards::{Judges, RewardArgs},
};
use http::App;
use metrics::Metrics;
use queue::Queue;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4096;

/// Flags of `hyperalign serve-rewards`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    rewards: RewardArgs,

    /// Address to listen at. There is no login: whoever can reach it can ask.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// Port to listen at; 0 takes a free one. The default is that of Flow-GRPO's GenEval server.
    #[arg(long, value_name = "N", default_value_t = 18085)]
    port: u16,

    /// The most pictures scored at once, of one request or several.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    batch: usize,

    /// The most pictures that wait; more are turned away with status 429.
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    queue: u32,

    /// The largest request, in MiB.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_body: u32,
}

/// A server that cannot be.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot listen at {address}: {source}")]
#[diagnostic(help("choose another `--port`, or 0 for any that is free"))]
struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Answers requests until Ctrl-C or SIGTERM, and then those that are there already.
///
/// # Errors
///
/// Fails for rewards that cannot be opened and an address that cannot be listened at.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let judges = Arc::new(Judges::open(&args.rewards, &context.device()?)?);
    let metrics = Arc::new(Metrics::default());
    let (queue, worker) =
        Queue::new(judges.clone(), metrics.clone(), args.queue, args.batch).into_diagnostic()?;
    let app = App::new(judges, queue, metrics, (args.max_body as usize) << 20);
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        // Of decoding; pictures of 100 MB each are possible.
        .max_blocking_threads(4)
        .build()
        .into_diagnostic()?;
    let address = SocketAddr::new(args.host, args.port);
    let served = runtime.block_on(serve(address, app, stop));
    drop(runtime);
    // The queue went with the app; what was in it is answered.
    let _ = worker.join();
    served?;
    Ok(Outcome::Done)
}

async fn serve(address: SocketAddr, app: App, stop: Stop) -> miette::Result<()> {
    let cannot = |source| ListenError { address, source };
    let listener = listen(address).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    if !address.ip().is_loopback() {
        eprintln!("warning: {address} can be reached from other machines, and there is no login");
    }
    eprintln!("listening at http://{address}; Ctrl-C ends");
    connections::serve(listener, app.router(), stop).await;
    Ok(())
}

/// Listens with room for a crowd that comes at once: what exceeds it, the system resets.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: a port of a server that just ended is free.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
