//! What the server answers to which request.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyperalign_core::image::{DecodeError, Header};
use hyperalign_rewards::{Prompt, geneval::Row};
use image::RgbImage;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    flow_grpo,
    metrics::Metrics,
    numpy, question,
    queue::{Places, Queue},
};
use crate::{
    rewards::Judges,
    server::{Bodies, Refusal, Room, UNIT, answer},
};

/// Bytes of bodies that are held at once, over all requests.
const BODIES: usize = 1 << 30;
/// Pixels of decoded pictures that are held at once, over all requests: 768 MiB.
const PIXELS: usize = 1 << 28;
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
    bodies: Bodies,
    pixels: Arc<Semaphore>,
}

/// A request for what cannot be scored.
fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
}

impl App {
    /// The state of a server.
    pub fn new(judges: Arc<Judges>, queue: Queue, metrics: Arc<Metrics>, max_body: usize) -> Self {
        let bodies = Bodies::new(max_body, BODIES, "send fewer pictures");
        let pixels = Arc::new(Semaphore::new(PIXELS / UNIT));
        Self { judges, queue, metrics, bodies, pixels }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/score", post(score))
            .route("/", post(flow_grpo_first))
            .route("/flow-grpo/{reward}", post(flow_grpo_named))
            .route("/health", get(health))
            .route("/metrics", get(metrics))
            .fallback(nothing_there)
            .method_not_allowed_fallback(other_method)
            .with_state(Arc::new(self))
    }

    fn reserve(&self, pictures: usize) -> Result<Places, Refusal> {
        if pictures == 0 {
            return Err(bad("there is no picture to score"));
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
            let (files, prompts) = ask().map_err(bad)?;
            let (pictures, room) = decode(&files, budget)?;
            for (k, (picture, prompt)) in pictures.iter().zip(&prompts).enumerate() {
                let refused = |reason| bad(format!("picture {k}: {reason}"));
                judges.check_all(picture, prompt).map_err(refused)?;
            }
            Ok::<_, Refusal>((pictures, prompts, room))
        });
        let failed = |reason: String| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason);
        let gone = || failed("the reward failed on this request".to_owned());
        let (pictures, prompts, room) = checked.await.map_err(|_| gone())??;
        let scores = self.queue.score(places, room, pictures, prompts).await.ok_or_else(gone)?;
        let scores: Result<Vec<Vec<f32>>, String> = scores.into_iter().collect();
        scores.map_err(failed)
    }

    fn count(&self, result: Result<Response, Refusal>) -> Response {
        let counter = match &result {
            Ok(_) => &self.metrics.answered,
            Err(refusal) if refusal.status == StatusCode::TOO_MANY_REQUESTS => {
                &self.metrics.turned_away
            }
            Err(refusal) if refusal.status.is_client_error() => &self.metrics.refused,
            Err(_) => &self.metrics.failed,
        };
        counter.add(1);
        result.unwrap_or_else(IntoResponse::into_response)
    }
}

/// Decodes files, if there is room for all of their pixels.
fn decode(files: &[Bytes], budget: Arc<Semaphore>) -> Result<(Vec<RgbImage>, Room), Refusal> {
    let undecoded = |k: usize, error: DecodeError| bad(format!("picture {k}: {error}"));
    let header = |(k, file)| Header::read(file).map_err(|error| undecoded(k, error));
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
    let pictures = headers.iter().enumerate().map(|(k, h)| h.decode().map_err(|e| undecoded(k, e)));
    Ok((pictures.collect::<Result<_, _>>()?, room))
}

async fn score(State(app): State<Arc<App>>, request: Request) -> Response {
    app.count(score_json(&app, request).await)
}

async fn score_json(app: &App, request: Request) -> Result<Response, Refusal> {
    let (body, room) = app.bodies.read(request).await?;
    let unread = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let question = question::Question::read(&body).map_err(unread)?;
    drop(body);
    let count = question.images.len();
    let places = app.reserve(count)?;
    let prompts: Vec<Prompt> = match (question.prompts, question.prompt, question.metadata) {
        (Some(prompts), None, None) if prompts.len() == count => {
            prompts.into_iter().map(checked).collect::<Result<_, _>>()?
        }
        (None, Some(prompt), None) => vec![checked(prompt)?; count],
        (None, None, Some(rows)) if rows.len() == count => {
            rows.iter().enumerate().map(ruled).collect::<Result<_, _>>()?
        }
        (None, None, None) if !app.judges.need_prompts() => vec![Prompt::default(); count],
        _ => {
            let expected = "expected `prompts` or GenEval's `metadata`, one for each picture, or \
                            one `prompt`";
            return Err(bad(expected));
        }
    };
    let scores = app
        .scores(places, move || {
            let file = |(k, image): (usize, &String)| {
                let file = question::file(image).map(Bytes::from);
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

/// A prompt with its rules.
fn ruled((k, row): (usize, &serde_json::Value)) -> Result<Prompt, Refusal> {
    let row = Row::read_value(row);
    let row = row.map_err(|error| bad(format!("metadata {k}: {error}")))?;
    checked(row.prompt.as_str())?;
    Ok(row.into())
}

/// A prompt that may be copied.
fn checked<'a>(prompt: impl Into<Cow<'a, str>>) -> Result<Prompt, Refusal> {
    let prompt = prompt.into();
    if prompt.len() > PROMPT {
        let length = prompt.len();
        return Err(bad(format!("a prompt has {length} bytes; at most {PROMPT} are taken")));
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
        None => {
            let known: Vec<_> = app.judges.iter().map(|judge| judge.reward.name()).collect();
            let known = known.join(", ");
            let reason = format!("there is no such reward here; there are {known}");
            Err(Refusal::new(StatusCode::NOT_FOUND, reason))
        }
    };
    app.count(result)
}

async fn score_pickle(app: &App, reward: usize, request: Request) -> Result<Response, Refusal> {
    let (body, room) = app.bodies.read(request).await?;
    let unread = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let (places, images, prompts, tasks) = {
        let pickle = numpy::read(&body).map_err(|error| unread(error.to_string()))?;
        let needs =
            flow_grpo::Needs { prompts: app.judges.need_prompts(), rules: app.judges.need_rules() };
        let asked = flow_grpo::Request::read(&pickle, &body, needs);
        let asked = asked.map_err(unread)?;
        let places = app.reserve(asked.images.len())?;
        let rows = asked.rows.into_iter().map(Some).chain(std::iter::repeat(None));
        let prompt = |(text, row)| Ok::<_, Refusal>(Prompt { row, ..checked(text)? });
        let prompts: Result<Vec<Prompt>, _> =
            asked.prompts.into_iter().zip(rows).map(prompt).collect();
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

async fn nothing_there() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "there is nothing here; there are POST /v1/score, POST /, POST /flow-grpo/REWARD, \
         GET /health and GET /metrics"
            .to_owned(),
    )
}

async fn other_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "scores are asked for with POST; /health and /metrics with GET".to_owned(),
    )
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let body = json!({"status": "ok", "rewards": rewards(&app), "waiting": app.queue.waiting()});
    answer("application/json", body.to_string())
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    answer("text/plain; version=0.0.4", app.metrics.text(app.queue.waiting()))
}
