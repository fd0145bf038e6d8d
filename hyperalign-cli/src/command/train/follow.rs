//! A run that is looked at while it goes on: the page of its report, in a file and from a server, and
//! an event file of TensorBoard.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hyperalign_core::{atomic, stop::Stop};
use hyperalign_train::{
    learner::log_path,
    report::{EventFile, RunLog, html, of_training, run_log},
};
use miette::IntoDiagnostic;

use crate::output;

/// How often the page is made anew.
const PERIOD: Duration = Duration::from_secs(20);
/// How soon the end of the run is noticed.
const TICK: Duration = Duration::from_millis(100);
/// The page, in the folder of the run.
const PAGE: &str = "report/live.html";
/// The event file's folder, in that of the run.
const EVENTS: &str = "tensorboard";

/// Flags of who looks on.
#[derive(Debug, Clone, clap::Args)]
pub struct FollowArgs {
    /// Show the run while it goes on, in the browser: curves, sample grids, what the watch sees. The
    /// page is also kept as `report/live.html` in the folder of the run. Default of the port: 6100; 0
    /// for any that is free.
    #[cfg(feature = "serve")]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "6100")]
    serve_report: Option<u16>,

    /// Write the log as an event file of TensorBoard too, to `tensorboard` in the folder of the run.
    #[arg(long)]
    tensorboard: bool,
}

impl FollowArgs {
    #[cfg(feature = "serve")]
    fn port(&self) -> Option<u16> {
        self.serve_report
    }

    #[cfg(not(feature = "serve"))]
    fn port(&self) -> Option<u16> {
        None
    }
}

/// Who looks on at a run; gone with it.
pub struct Follower {
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

impl Follower {
    /// Begins to look at the run in `run`, if that is asked for. Its folder is not touched yet.
    ///
    /// # Errors
    ///
    /// Fails if the port cannot be had, or the log of a run that goes on cannot be read.
    pub fn begin(args: &FollowArgs, run: &Path) -> miette::Result<Self> {
        let mut follower = Self { stop: Stop::default(), threads: Vec::new() };
        let (port, run) = (args.port(), run.to_owned());
        if port.is_none() && !args.tensorboard {
            return Ok(follower);
        }
        let page = port.map(|_| Arc::new(Mutex::new(String::new())));
        let mut view =
            View { run, page: page.clone(), events: None, tensorboard: args.tensorboard };
        view.show()?;
        #[cfg(feature = "serve")]
        if let (Some(port), Some(page)) = (port, page) {
            follower.threads.push(server::begin(port, page, follower.stop.clone())?);
        }
        let stop = follower.stop.clone();
        follower.threads.push(std::thread::spawn(move || view.keep(&stop)));
        Ok(follower)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.request();
        for thread in self.threads.drain(..) {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

struct View {
    run: PathBuf,
    /// What the server shows.
    page: Option<Arc<Mutex<String>>>,
    events: Option<EventFile>,
    tensorboard: bool,
}

impl View {
    /// Looks again and again, and once more at the end.
    fn keep(&mut self, stop: &Stop) {
        let mut last = Instant::now();
        loop {
            let ends = stop.is_requested();
            if ends || last.elapsed() >= PERIOD {
                last = Instant::now();
                if let Err(error) = self.renew() {
                    output::warn(&format!("the run cannot be shown: {error}"));
                    return;
                }
            }
            if ends {
                return;
            }
            std::thread::sleep(TICK);
        }
    }

    /// What there is, as it is shown.
    fn show(&self) -> miette::Result<RunLog> {
        // The log is there from the first update on.
        let log = match log_path(&self.run).is_file() {
            true => run_log(&self.run).into_diagnostic()?,
            false => RunLog::default(),
        };
        if let Some(shown) = &self.page {
            let title = format!("Training in {}", self.run.display());
            let page = html(&of_training(&title, log.clone()));
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = page;
        }
        Ok(log)
    }

    /// Shows it anew, and keeps it.
    fn renew(&mut self) -> miette::Result<()> {
        let log = self.show()?;
        if self.tensorboard {
            let events = match &mut self.events {
                Some(events) => events,
                None => {
                    let folder = self.run.join(EVENTS);
                    self.events.insert(EventFile::create(&folder, log.began()).into_diagnostic()?)
                }
            };
            events.add(&log).into_diagnostic()?;
        }
        if let Some(shown) = &self.page {
            let page = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            atomic::write(&self.run.join(PAGE), page.as_bytes()).into_diagnostic()?;
        }
        Ok(())
    }
}

#[cfg(feature = "serve")]
mod server {
    use std::{
        sync::{Arc, Mutex, PoisonError},
        thread::JoinHandle,
    };

    use axum::{
        Router,
        http::{HeaderMap, HeaderValue, header::REFRESH},
        response::{IntoResponse, Response},
        routing::get,
    };
    use hyperalign_core::stop::Stop;
    use miette::IntoDiagnostic;

    use super::PERIOD;
    use crate::server::{self, Access, page as page_of};

    /// All of the page is in it.
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// Shows `page` to browsers of this machine until `stop`.
    pub(super) fn begin(
        port: u16,
        page: Arc<Mutex<String>>,
        stop: Stop,
    ) -> miette::Result<JoinHandle<()>> {
        let addresses = server::resolve("127.0.0.1", port).into_diagnostic()?;
        let show = move |headers: HeaderMap| {
            let page = page.lock().unwrap_or_else(PoisonError::into_inner).clone();
            async move { answer(page, &headers) }
        };
        let router = Router::new().route("/", get(show));
        let runtime = server::runtime(1)?;
        let listening = runtime.block_on(async { server::listening(&addresses, false) })?;
        Ok(std::thread::spawn(move || runtime.block_on(server::serve(listening, router, stop))))
    }

    fn answer(page: String, headers: &HeaderMap) -> Response {
        if let Err(refusal) = Access::new(None, true).check("/", headers) {
            return refusal.into_response();
        }
        let mut response = page_of("text/html; charset=utf-8", POLICY, page);
        response.headers_mut().insert(REFRESH, HeaderValue::from(PERIOD.as_secs()));
        response
    }
}
