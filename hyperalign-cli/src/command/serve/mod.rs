//! `hyperalign serve`: pictures over HTTP, and a page to ask for them.
//!
//! One thread makes all pictures; requests that agree in everything but prompt and seed share its
//! batches. A picture has the bytes that `hyperalign sample` would write for the same flags.
//!
//! ```text
//! /v1, /sdapi ─ fields ─ Wish ─ catalog ─ Order ─ queue ─ maker (one thread) ─ Picture ─ answer
//!                                            └─────── Progress, previews ──────┘
//! ```

mod catalog;
mod events;
mod fields;
#[cfg(test)]
mod fuzz;
mod http;
mod maker;
mod metrics;
mod openai;
mod order;
mod page;
mod progress;
mod queue;
mod start;
mod webui;

use std::{path::PathBuf, sync::Arc, time::Duration};

use hyperalign_core::stop::Stop;
use miette::IntoDiagnostic;

use crate::{
    args::{BaseArgs, SolverArgs, StepArgs, VariantChoice, at_least_one},
    context::Context,
    interrupt,
    outcome::Outcome,
    server::{self, Access, Bodies},
};
use http::App;
use metrics::Metrics;
use progress::Now;
use queue::Queue;

/// Bytes of one body: prompts, and what front ends send beside them.
const BODY: usize = 1 << 18;
/// Bytes of bodies that are held at once, over all requests.
const BODIES: usize = 1 << 28;

/// Where the key may stand, for who does not want it in the list of processes.
const KEY: &str = "HYPERALIGN_API_KEY";

/// Flags of `hyperalign serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    // `--lora` lays files over every picture whose request does not name others.
    #[command(flatten)]
    base: BaseArgs,

    /// Trained adapter: the adapter.safetensors of a run, or the name of one that comes with the
    /// program (emoji-sd-s). Default: the program's own for the base, where a request names its variant.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,

    /// How the adapter is used where a request says nothing. Default: as it was trained, if `--adapter`
    /// names one.
    #[arg(long, value_enum)]
    variant: Option<VariantChoice>,

    #[command(flatten)]
    steps: StepArgs,

    #[command(flatten)]
    solver: SolverArgs,

    /// Folder of a small codec (VAEpreview.safetensors) to decode previews with, instead of the
    /// base's autoencoder. Pictures are decoded by the autoencoder.
    #[arg(long, value_name = "DIR")]
    preview_codec: Option<PathBuf>,

    /// Address or name to listen at.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// Port to listen at; 0 takes a free one. The default is where front ends look for a web UI.
    #[arg(long, value_name = "N", default_value_t = 7860)]
    port: u16,

    /// What whoever asks has to show, as `Authorization: Bearer KEY`. Default: the variable
    /// HYPERALIGN_API_KEY, which others of the machine cannot see; without either everybody is let
    /// in who reaches the server.
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,

    /// The most pictures made at once, of one request or several. It changes memory and speed.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    batch: usize,

    /// The most pictures that wait; more are turned away with status 429.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    queue: u32,

    /// The most pictures of one request.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    max_pictures: usize,

    /// The most sampling steps that a request may ask for.
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = at_least_one)]
    max_steps: usize,

    /// The largest height or width that a request may ask for, in pixels. Default: twice the base's
    /// own, if there is memory for it.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_side: Option<usize>,

    /// Seconds that a request may take, with the time that it waits.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// Answers requests until Ctrl-C or SIGTERM; what is being made then is finished, what waits is told
/// to ask elsewhere.
///
/// # Errors
///
/// Fails for a base, an adapter or a LoRA file that cannot be read or do not belong together,
/// settings that the base cannot be sampled with, and an address that cannot be listened at.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    // First of all: a signal may come while the base is opened, too.
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let addresses = server::resolve(&args.host, args.port)?;
    let key = start::key(args.api_key.clone(), std::env::var_os(KEY))?;
    let access = Access::new(key, addresses.iter().all(|address| address.ip().is_loopback()));
    let queue = Arc::new(Queue::new(args.queue));
    let (metrics, now) = (Arc::new(Metrics::default()), Arc::new(Now::default()));
    let (catalog, maker) = start::open(args, context, &queue, &metrics, &now)?;
    if stop.is_requested() {
        return Ok(Outcome::Interrupted);
    }
    let abandoned = maker.abandoned.clone();
    let builder = std::thread::Builder::new().name("making".to_owned());
    let worker = builder.spawn(move || maker.work()).into_diagnostic()?;
    let has_login = access.needs_key();
    let app = App {
        catalog: Arc::new(catalog),
        queue: queue.clone(),
        now,
        metrics,
        access,
        bodies: Bodies::new(BODY, BODIES, "send a shorter prompt"),
        patience: Duration::from_secs(args.timeout),
    };
    let runtime = server::runtime(4)?;
    let served = runtime.block_on(async {
        let closing = stop.clone();
        let closed = queue.clone();
        tokio::spawn(async move {
            server::until(&closing).await;
            closed.close();
        });
        server::run(&addresses, app.router(), has_login, stop).await
    });
    // Nobody waits for what is being made any more, or has been waiting for too long.
    queue.close();
    abandoned.request();
    drop(runtime);
    let _ = worker.join();
    served?;
    Ok(Outcome::Done)
}
