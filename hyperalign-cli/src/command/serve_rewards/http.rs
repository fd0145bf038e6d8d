//! What the server answers to which request.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyperalign_core::image::{DecodeError, Header};
use hyperalign_rewards::Prompt;
use image::RgbImage;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    flow_grpo,
    metrics::Metrics,
    numpy,
    queue::{Places, Queue},
};
use crate::rewards::Judges;

/// Bytes of bodies that are held at once, over all requests.
const BODIES: usize = 1 << 30;
/// Pixels of decoded pictures that are held at once, over all requests: 768 MiB.
const PIXELS: usize = 1 << 28;
/// What a permit of either budget stands for, in bytes or pixels.
const UNIT: usize = 1 << 10;
/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);
/// The most bytes of a prompt. A request may give one for all of its pictures, and each gets a copy.
const PROMPT: usize = 1 << 16;

/// What every request sees.
pub struct App {
    /// Who scores.
    pub judges: Arc<Judges>,
    /// The way to them.
    pub queue: Queue,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The most bytes of one body.
    pub max_body: usize,
    bodies: Arc<Semaphore>,
    pixels: Arc<Semaphore>,
}

/// A part of a budget, until it is dropped.
type Room = OwnedSemaphorePermit;

/// A request that is not answered with scores.
struct Refusal(StatusCode, String);

impl Refusal {
    fn busy() -> Self {
        Self(StatusCode::TOO_MANY_REQUESTS, "the queue is full; try again in a second".to_owned())
    }

    fn bad(reason: impl Into<String>) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, reason.into())
    }

    fn too_large(reason: String) -> Self {
        Self(StatusCode::PAYLOAD_TOO_LARGE, reason)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = answer("application/json", json!({"error": self.1}).to_string());
        *response.status_mut() = self.0;
        if self.0 == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(1));
        }
        response
    }
}

/// Pictures as base64 of their files, with a prompt each or one for all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    images: Vec<String>,
    prompts: Option<Vec<String>>,
    prompt: Option<String>,
}

impl App {
    /// The state of a server.
    pub fn new(judges: Arc<Judges>, queue: Queue, metrics: Arc<Metrics>, max_body: usize) -> Self {
        let bodies = Arc::new(Semaphore::new(BODIES.max(max_body) / UNIT + 1));
        let pixels = Arc::new(Semaphore::new(PIXELS / UNIT));
        Self { judges, queue, metrics, max_body, bodies, pixels }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/score", post(score))
            .route("/", post(flow_grpo_first))
            .route("/flow-grpo/{reward}", post(flow_grpo_named))
            .route("/health", get(health))
            .route("/metrics", get(metrics))
            .with_state(Arc::new(self))
    }

    /// The whole body, if there is room for it.
    async fn body(&self, request: Request) -> Result<(Bytes, Room), Refusal> {
        let declared = length(request.headers());
        let most = self.max_body;
        let too_large = || {
            Refusal::too_large(format!("the body has more than {most} bytes; send fewer pictures"))
        };
        if declared.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let units = declared.unwrap_or(most) / UNIT + 1;
        let Ok(room) = self.bodies.clone().try_acquire_many_owned(units as u32) else {
            return Err(Refusal::busy());
        };
        let body = tokio::time::timeout(ARRIVAL, to_bytes(request.into_body(), most)).await;
        let late = |_| Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive".to_owned());
        let body = body.map_err(late)?.map_err(|_| too_large())?;
        Ok((body, room))
    }

    fn reserve(&self, pictures: usize) -> Result<Places, Refusal> {
        if pictures == 0 {
            return Err(Refusal::bad("there is no picture to score"));
        }
        if pictures > self.queue.capacity() as usize {
            let most = self.queue.capacity();
            return Err(Refusal::too_large(format!(
                "{pictures} pictures; at most {most} are taken"
            )));
        }
        self.queue.reserve(pictures).ok_or_else(Refusal::busy)
    }

    /// Decodes and checks the pictures on a thread of their own, then scores them. `ask` makes
    /// files and prompts of what came.
    async fn scores(
        &self,
        places: Places,
        ask: impl FnOnce() -> Result<(Vec<Bytes>, Vec<Prompt>), String> + Send + 'static,
    ) -> Result<Vec<Vec<f32>>, Refusal> {
        let (judges, budget) = (self.judges.clone(), self.pixels.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let (files, prompts) = ask().map_err(Refusal::bad)?;
            let (pictures, room) = decode(&files, budget)?;
            for (k, (picture, prompt)) in pictures.iter().zip(&prompts).enumerate() {
                let refused = |reason| Refusal::bad(format!("picture {k}: {reason}"));
                judges.check(picture, prompt).map_err(refused)?;
            }
            Ok::<_, Refusal>((pictures, prompts, room))
        });
        let failed = |reason: String| Refusal(StatusCode::INTERNAL_SERVER_ERROR, reason);
        let gone = || failed("the reward failed on this request".to_owned());
        let (pictures, prompts, room) = checked.await.map_err(|_| gone())??;
        let scores = self.queue.score(places, room, pictures, prompts).await.ok_or_else(gone)?;
        let scores: Result<Vec<Vec<f32>>, String> = scores.into_iter().collect();
        scores.map_err(failed)
    }

    fn count(&self, result: Result<Response, Refusal>) -> Response {
        let counter = match &result {
            Ok(_) => &self.metrics.answered,
            Err(Refusal(StatusCode::TOO_MANY_REQUESTS, _)) => &self.metrics.turned_away,
            Err(Refusal(status, _)) if status.is_client_error() => &self.metrics.refused,
            Err(_) => &self.metrics.failed,
        };
        counter.add(1);
        result.unwrap_or_else(IntoResponse::into_response)
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn answer(kind: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

/// Decodes files, if there is room for all of their pixels.
fn decode(files: &[Bytes], budget: Arc<Semaphore>) -> Result<(Vec<RgbImage>, Room), Refusal> {
    let bad = |k: usize, error: DecodeError| Refusal::bad(format!("picture {k}: {error}"));
    let header = |(k, file)| Header::read(file).map_err(|error| bad(k, error));
    let headers: Vec<Header> =
        files.iter().map(Bytes::as_ref).enumerate().map(header).collect::<Result<_, _>>()?;
    let pixels: u64 = headers.iter().map(Header::pixels).sum();
    if pixels > PIXELS as u64 {
        return Err(Refusal::too_large(format!("{pixels} pixels; at most {PIXELS} are taken")));
    }
    // A picture has at least a part of a unit.
    let units = pixels as usize / UNIT + 1;
    let units = units.min(PIXELS / UNIT) as u32;
    let room = budget.try_acquire_many_owned(units).map_err(|_| Refusal::busy())?;
    let pictures = headers.iter().enumerate().map(|(k, h)| h.decode().map_err(|e| bad(k, e)));
    Ok((pictures.collect::<Result<_, _>>()?, room))
}

async fn score(State(app): State<Arc<App>>, request: Request) -> Response {
    app.count(score_json(&app, request).await)
}

async fn score_json(app: &App, request: Request) -> Result<Response, Refusal> {
    let (body, room) = app.body(request).await?;
    let question: Question = serde_json::from_slice(&body).map_err(|error| {
        let expected = "{\"images\": [base64 of files], \"prompts\": [..] or \"prompt\": \"..\"}";
        Refusal(StatusCode::BAD_REQUEST, format!("{error}; expected {expected}"))
    })?;
    drop(body);
    let count = question.images.len();
    let places = app.reserve(count)?;
    let prompts = match (question.prompts, question.prompt) {
        (Some(prompts), None) if prompts.len() == count => {
            prompts.into_iter().map(checked).collect::<Result<_, _>>()?
        }
        (None, Some(prompt)) => vec![checked(prompt)?; count],
        (None, None) if !app.judges.need_prompts() => vec![Prompt::default(); count],
        _ => return Err(Refusal::bad("expected `prompts`, one for each picture, or one `prompt`")),
    };
    let scores = app
        .scores(places, move || {
            let file = |(k, image): (usize, &String)| {
                let image = image.split_once(";base64,").map_or(image.as_str(), |(_, data)| data);
                let file = BASE64_STANDARD.decode(image).map(Bytes::from);
                file.map_err(|error| format!("picture {k}: {error}"))
            };
            let files: Result<_, String> = question.images.iter().enumerate().map(file).collect();
            drop(room);
            Ok((files?, prompts))
        })
        .await?;
    let mut by_name = serde_json::Map::new();
    for (k, judge) in app.judges.iter().enumerate() {
        let column: Vec<f32> = scores.iter().map(|row| row[k]).collect();
        by_name.insert(judge.reward.name().to_owned(), json!(column));
    }
    let body = json!({"scores": by_name, "rewards": rewards(app)});
    Ok(answer("application/json", body.to_string()))
}

/// A prompt that may be copied.
fn checked<'a>(prompt: impl Into<Cow<'a, str>>) -> Result<Prompt, Refusal> {
    let prompt = prompt.into();
    if prompt.len() > PROMPT {
        let length = prompt.len();
        return Err(Refusal::bad(format!(
            "a prompt has {length} bytes; at most {PROMPT} are taken"
        )));
    }
    Ok(prompt.as_ref().into())
}

fn rewards(app: &App) -> serde_json::Value {
    let reward = |judge: &crate::rewards::Judge| {
        let (name, version) = (judge.reward.name(), judge.reward.version());
        json!({"name": name, "version": version, "role": judge.role})
    };
    app.judges.iter().map(reward).collect()
}

async fn flow_grpo_first(State(app): State<Arc<App>>, request: Request) -> Response {
    app.count(score_pickle(&app, 0, request).await)
}

async fn flow_grpo_named(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let known = app.judges.iter().position(|judge| judge.reward.name() == name);
    let result = match known {
        Some(index) => score_pickle(&app, index, request).await,
        None => Err(Refusal(StatusCode::NOT_FOUND, format!("there is no reward `{name}` here"))),
    };
    app.count(result)
}

async fn score_pickle(app: &App, reward: usize, request: Request) -> Result<Response, Refusal> {
    let (body, room) = app.body(request).await?;
    let bad = |reason: String| Refusal(StatusCode::BAD_REQUEST, reason);
    let (places, images, prompts, tasks) = {
        let pickle = numpy::read(&body).map_err(|error| bad(error.to_string()))?;
        let asked = flow_grpo::Request::read(&pickle, &body, app.judges.need_prompts());
        let asked = asked.map_err(bad)?;
        let places = app.reserve(asked.images.len())?;
        let prompts: Result<Vec<Prompt>, _> = asked.prompts.into_iter().map(checked).collect();
        (places, asked.images, prompts?, asked.tasks)
    };
    let ask = move || {
        let _until_here = room;
        Ok((images, prompts))
    };
    let scores = app.scores(places, ask).await?;
    let scores: Vec<f32> = scores.iter().map(|row| row[reward]).collect();
    let body = flow_grpo::answer(tasks.as_deref(), &scores);
    Ok(answer("application/octet-stream", body))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let body = json!({"status": "ok", "rewards": rewards(&app), "waiting": app.queue.waiting()});
    answer("application/json", body.to_string())
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    answer("text/plain; version=0.0.4", app.metrics.text(app.queue.waiting()))
}
