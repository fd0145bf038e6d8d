//! What is asked where. Nothing that is answered tells which method made a picture, or which items are
//! checks.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyperalign_core::input;
use hyperalign_models::weights::sha256;
use hyperalign_train::study::{Answer, Study, Vote, Voter, VoterError};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::{ballot_box::BallotBox, page};
use crate::server::{Access, Bodies, Refusal, answer};

/// What every request sees.
pub struct App {
    /// Where votes go.
    pub votes: Arc<BallotBox>,
    /// The files of pictures, once they were asked for: the left and the right one of each item.
    pub pictures: Vec<[OnceCell<Bytes>; 2]>,
    /// The folder of the study.
    pub folder: PathBuf,
    /// Who may ask.
    pub access: Access,
    /// Bodies of requests.
    pub bodies: Bodies,
}

impl App {
    /// The routes.
    pub fn router(self) -> Router {
        let app = Arc::new(self);
        Router::new()
            .route("/", get(page::html))
            .route("/page.css", get(page::css))
            .route("/page.js", get(page::js))
            .route("/study", get(study))
            .route("/voters/{voter}", get(voter))
            .route("/pictures/{item}/{side}", get(picture))
            .route("/votes", post(cast))
            .route("/health", get(health))
            .fallback(nothing_there)
            .method_not_allowed_fallback(other_method)
            .layer(from_fn_with_state(app.clone(), guard))
            .with_state(app)
    }
}

fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

fn failed(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

/// Who may not ask is answered here, whatever is asked for.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.access.check(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn study(State(app): State<Arc<App>>) -> Response {
    let Study { title, questions, attribution, items, .. } = app.votes.study();
    let body = json!({
        "study": app.votes.id(),
        "title": title,
        "questions": questions,
        "items": items.len(),
        "attribution": attribution,
    });
    fresh("application/json", body.to_string())
}

/// What a voter is shown, in their own order, and what they have said.
async fn voter(
    State(app): State<Arc<App>>,
    Path(voter): Path<String>,
) -> Result<Response, Refusal> {
    let voter: Voter = voter.parse().map_err(|error: VoterError| bad(error.to_string()))?;
    let (study, said) = (app.votes.study(), app.votes.answers(voter));
    let item = |k: usize| {
        let answers: Map<String, Value> = study
            .questions
            .iter()
            .enumerate()
            .filter_map(|(q, question)| Some((question.name.clone(), json!(said.get(k, q)?))))
            .collect();
        json!({"item": k, "prompt": study.items[k].subject.prompt, "answers": answers})
    };
    let items: Vec<Value> = order(study.items.len(), voter).map(item).collect();
    Ok(fresh("application/json", json!({"items": items}).to_string()))
}

/// The items in the order of the study, from another one on for each voter: of voters who leave early
/// not all leave out the same.
fn order(items: usize, voter: Voter) -> impl Iterator<Item = usize> {
    let first = (voter.0 % items as u128) as usize;
    (0..items).map(move |k| (first + k) % items)
}

async fn picture(
    State(app): State<Arc<App>>,
    Path((item, side)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let side = match side.as_str() {
        "left" => Answer::Left,
        "right" => Answer::Right,
        _ => return Err(nowhere()),
    };
    let item: usize = item.parse().map_err(|_| nowhere())?;
    let of_item = app.pictures.get(item).ok_or_else(nowhere)?;
    let cell = &of_item[usize::from(side == Answer::Right)];
    // Read once, and shared by all who are sent it: slow clients hold no copies.
    let bytes = cell
        .get_or_try_init(|| async {
            let (path, shared) = (Study::picture(&app.folder, item, side), app.clone());
            let read = tokio::task::spawn_blocking(move || {
                let bytes = input::read(&path).map_err(|error| failed(error.to_string()))?;
                let shown = shared.votes.study().items[item].shown(side);
                match shown.is_some_and(|shown| shown.sha256 == sha256(&bytes)) {
                    true => Ok(Bytes::from(bytes)),
                    false => Err(failed("the picture is not the one that the study was made with")),
                }
            });
            read.await.unwrap_or_else(|_| Err(failed("reading the picture failed")))
        })
        .await?;
    let mut response = answer("image/png", bytes.clone());
    let keep = HeaderValue::from_static("private, max-age=86400");
    response.headers_mut().insert(header::CACHE_CONTROL, keep);
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    Ok(response)
}

async fn cast(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let (body, room) = app.bodies.read(request).await?;
    let vote = read_vote(&body)?;
    drop((body, room));
    let votes = app.votes.clone();
    let kept = tokio::task::spawn_blocking(move || votes.cast(&vote)).await;
    kept.unwrap_or_else(|_| Err(failed("the vote could not be kept and does not count")))?;
    Ok(fresh("application/json", json!({"kept": true}).to_string()))
}

/// The vote in a body.
pub fn read_vote(body: &[u8]) -> Result<Vote, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        bad(format!(
            "that is no vote: {error}; expected {{\"study\": \"..\", \"voter\": \"..\", \"item\": 0, \
             \"question\": \"overall\", \"answer\": \"left\", \"right\" or \"neither\"}}"
        ))
    })
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let (voters, votes) = app.votes.counts();
    fresh("application/json", json!({"status": "ok", "voters": voters, "votes": votes}).to_string())
}

fn nowhere() -> Refusal {
    let reason = "there is nothing here; there are the page at /, GET /study, GET /voters/VOTER, GET \
                  /pictures/ITEM/left and right, POST /votes and GET /health";
    Refusal::new(StatusCode::NOT_FOUND, reason)
}

async fn nothing_there() -> Refusal {
    nowhere()
}

async fn other_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "votes are sent with POST, all else is asked for with GET",
    )
}

/// An answer that is another one after the next vote, or with the next study.
fn fresh(kind: &'static str, body: String) -> Response {
    let mut response = answer(kind, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_begin_in_different_places_and_see_everything() {
        let of = |voter| order(5, Voter(voter)).collect::<Vec<_>>();
        assert_eq!(of(0), [0, 1, 2, 3, 4]);
        assert_eq!(of(8), [3, 4, 0, 1, 2]);
    }
}
