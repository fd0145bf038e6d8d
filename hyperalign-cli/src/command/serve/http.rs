//! What is asked where, and what all that ask for pictures have in common.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{
    catalog::Catalog,
    fields::Fields,
    metrics::Metrics,
    openai,
    order::{Order, Wish},
    page,
    progress::Now,
    queue::{Pending, Picture, Queue},
    webui,
};
use crate::server::{Access, Bodies, Refusal, Room, answer};

/// What every request sees.
pub struct App {
    /// What can be ordered.
    pub catalog: Arc<Catalog>,
    /// The way to the thread that makes it.
    pub queue: Arc<Queue>,
    /// What is being made.
    pub now: Arc<Now>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may ask.
    pub access: Access,
    /// Bodies of requests.
    pub bodies: Bodies,
    /// How long a request may take, with the time that it waits.
    pub patience: Duration,
}

impl App {
    /// The routes.
    pub fn router(self) -> Router {
        let app = Arc::new(self);
        Router::new()
            .route("/", get(page::html))
            .route("/page.css", get(page::css))
            .route("/page.js", get(page::js))
            .route("/v1/images/generations", post(openai::generations))
            .route("/v1/models", get(openai::models))
            .route("/sdapi/v1/txt2img", post(webui::txt2img))
            .route("/sdapi/v1/options", get(webui::options).post(webui::set_options))
            .route("/sdapi/v1/samplers", get(webui::samplers))
            .route("/sdapi/v1/sd-models", get(webui::models))
            .route("/sdapi/v1/loras", get(webui::loras))
            .route("/sdapi/v1/upscalers", get(webui::upscalers))
            .route("/sdapi/v1/progress", get(webui::progress))
            .route("/health", get(health))
            .route("/metrics", get(metrics))
            .fallback(nothing_there)
            .method_not_allowed_fallback(other_method)
            .layer(from_fn_with_state(app.clone(), guard))
            .with_state(app)
    }

    /// Reads the fields of a request, which take the room of its body until they are checked.
    ///
    /// # Errors
    ///
    /// Refuses a body that is no JSON object, or too large.
    pub async fn fields(&self, request: Request) -> Result<(Fields, Room), Refusal> {
        let (body, room) = self.bodies.read(request).await?;
        Ok((Fields::read(&body)?, room))
    }

    /// Checks a wish, on a thread that may take its time.
    ///
    /// # Errors
    ///
    /// Refuses what cannot be made.
    pub async fn order(&self, wish: Wish) -> Result<Order, Refusal> {
        let catalog = self.catalog.clone();
        let checked = tokio::task::spawn_blocking(move || catalog.order(&wish)).await;
        checked.unwrap_or_else(|_| Err(failed("checking the request failed; the server goes on")))
    }

    /// All pictures of a request, in order.
    ///
    /// # Errors
    ///
    /// Refuses where one of them cannot be made, and after [`patience`](Self::patience).
    pub async fn pictures(
        &self,
        pending: &mut Pending,
        count: usize,
    ) -> Result<Vec<Picture>, Refusal> {
        let all = async {
            let mut pictures = Vec::with_capacity(count);
            while pictures.len() < count {
                let next = pending.pictures.recv().await;
                pictures.push(next.unwrap_or_else(|| Err(gone()))?);
            }
            Ok(pictures)
        };
        let made = tokio::time::timeout(self.patience, all).await;
        let mut pictures = made.unwrap_or_else(|_| Err(self.late()))?;
        pictures.sort_by_key(|picture| picture.index);
        Ok(pictures)
    }

    /// The refusal of a request that has taken too long.
    pub fn late(&self) -> Refusal {
        let seconds = self.patience.as_secs();
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the pictures were not done within {seconds} seconds; ask for fewer or smaller \
                 ones, or start the server with a longer --timeout"
            ),
        )
    }

    /// Counts what became of a request while its client waits: one that goes away is dropped.
    pub fn watched(&self) -> Watched {
        Watched(Some(self.metrics.clone()))
    }
}

/// The refusal of a request whose pictures never come.
pub fn gone() -> Refusal {
    failed("the pictures were lost; the server goes on")
}

fn failed(reason: &str) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

/// Counts a request as left unless it is told what became of it.
pub struct Watched(Option<Arc<Metrics>>);

impl Watched {
    /// Counts what became of it.
    pub fn ended<T>(mut self, result: &Result<T, Refusal>) {
        let Some(metrics) = self.0.take() else { return };
        match result {
            Ok(_) => metrics.answered.add(1),
            Err(refusal) => metrics.refuse(refusal),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(metrics) = &self.0 {
            metrics.left.add(1);
        }
    }
}

/// Who may not ask is answered here, whatever is asked for.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.access.check(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(request.uri().path(), &refusal),
    }
}

/// A refusal in the shape of the protocol that `path` belongs to.
fn refused(path: &str, refusal: &Refusal) -> Response {
    match path.starts_with("/sdapi/") {
        true => webui::refused(refusal),
        false => openai::refused(refusal),
    }
}

async fn nothing_there(request: Request) -> Response {
    let reason = "there is nothing here; there are POST /v1/images/generations, GET /v1/models, POST \
                  /sdapi/v1/txt2img, GET /sdapi/v1/{options, samplers, sd-models, loras, progress}, \
                  GET /health, GET /metrics and the page at /";
    refused(request.uri().path(), &Refusal::new(StatusCode::NOT_FOUND, reason))
}

async fn other_method(request: Request) -> Response {
    let reason = format!(
        "{} is not asked for in this way; pictures are asked for with POST, all else with GET",
        request.uri().path()
    );
    refused(request.uri().path(), &Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let body = json!({"status": "ok", "waiting": app.queue.held()});
    answer("application/json", body.to_string())
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    answer("text/plain; version=0.0.4", app.metrics.text(app.queue.held())).into_response()
}
