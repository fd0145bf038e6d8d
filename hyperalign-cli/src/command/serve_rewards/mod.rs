//! `hyperalign serve-rewards`: scores over HTTP, for trainers in other languages.

mod flow_grpo;
#[cfg(test)]
mod fuzz;
mod http;
#[cfg(test)]
mod http_tests;
mod metrics;
mod numpy;
mod question;
mod queue;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use hyperalign_core::stop::Stop;
use miette::IntoDiagnostic;

use crate::{
    args::at_least_one,
    context::Context,
    interrupt,
    outcome::Outcome,
    rewards::{JudgeArgs, Judges},
    server,
};
use http::App;
use metrics::Metrics;
use queue::Queue;

/// Flags of `hyperalign serve-rewards`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    rewards: JudgeArgs,

    /// Address or name to listen at. There is no login: whoever can reach it can ask.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

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

/// Answers requests until Ctrl-C or SIGTERM, and then those that are there already.
///
/// # Errors
///
/// Fails for rewards that cannot be opened and an address that cannot be listened at.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    // First of all: a signal may come while rewards are opened, too.
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let addresses = server::resolve(&args.host, args.port)?;
    let judges = Arc::new(Judges::open(&args.rewards, &context.device()?)?);
    if stop.is_requested() {
        return Ok(Outcome::Interrupted);
    }
    let metrics = Arc::new(Metrics::default());
    let (queue, worker) =
        Queue::new(judges.clone(), metrics.clone(), args.queue, args.batch).into_diagnostic()?;
    let app = App::new(judges, queue, metrics, (args.max_body as usize) << 20);
    // Of decoding; pictures of 100 MB each are possible.
    let runtime = server::runtime(4)?;
    let served = runtime.block_on(server::run(&addresses, app.router(), false, stop));
    drop(runtime);
    // The queue went with the app; what was in it is answered.
    let _ = worker.join();
    served?;
    Ok(Outcome::Done)
}
