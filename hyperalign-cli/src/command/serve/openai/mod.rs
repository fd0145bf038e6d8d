//! Pictures in the shape of OpenAI's images API, with the fields of our own beside its.
//!
//! What that API has and this server has not is refused with a word about what there is, and so is a
//! field that nobody knows: a misspelt one would make another picture than was asked for.

mod answer;
mod stream;
mod wish;

#[cfg(test)]
pub use self::wish::read;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{events::Held, http::App};
use crate::server::{self, Refusal};

/// `POST /v1/images/generations`.
pub async fn generations(State(app): State<Arc<App>>, request: Request) -> Response {
    let watched = app.watched();
    match begin(&app, request).await {
        Ok(Begun::Whole(answer)) => {
            watched.ended(&Ok(()));
            answer
        }
        // The stream itself tells what became of it.
        Ok(Begun::Stream(streaming)) => streaming.run(watched).into_response(),
        Err(refusal) => {
            watched.ended::<()>(&Err(refusal.clone()));
            refused(&refusal)
        }
    }
}

/// A request that is not refused.
enum Begun {
    /// All of its answer.
    Whole(Response),
    /// The beginning of it.
    Stream(stream::Streaming),
}

async fn begin(app: &Arc<App>, request: Request) -> Result<Begun, Refusal> {
    let (fields, room) = app.fields(request).await?;
    let (wish, is_stream) = wish::read(fields, app.catalog.base.name())?;
    let order = app.order(wish).await?;
    drop(room);
    let mut pending = app.queue.join(&order)?;
    if is_stream {
        return Ok(Begun::Stream(stream::Streaming { app: app.clone(), order, pending }));
    }
    let pictures = app.pictures(&mut pending, order.shots.len()).await?;
    let body = answer::whole(app, &order, &pictures);
    Ok(Begun::Whole(Held::json(&body, pending.places)))
}

/// `GET /v1/models`: the base, and what can be chosen.
pub async fn models(State(app): State<Arc<App>>) -> Response {
    server::answer("application/json", answer::models(&app).to_string())
}

/// A refusal in the shape of OpenAI's errors.
pub fn refused(refusal: &Refusal) -> Response {
    refusal.with_body(&error(refusal))
}

fn error(refusal: &Refusal) -> Value {
    let (kind, code) = match refusal.status {
        StatusCode::UNAUTHORIZED => ("invalid_request_error", Some("invalid_api_key")),
        StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", Some("queue_full")),
        status if status.is_client_error() => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    json!({"error": {"message": refusal.short(), "type": kind, "param": null, "code": code}})
}

/// Seconds since 1970.
fn created() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
