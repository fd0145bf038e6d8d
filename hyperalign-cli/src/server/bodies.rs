//! Bodies of requests, of which only so many bytes are held at once.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;

/// What a permit of a budget stands for, in its unit.
pub const UNIT: usize = 1 << 10;
/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);

/// A part of a budget, until it is dropped.
pub type Room = OwnedSemaphorePermit;

/// A budget of bytes for the bodies of all requests.
#[derive(Debug)]
pub struct Bodies {
    most: usize,
    advice: &'static str,
    budget: Arc<Semaphore>,
}

impl Bodies {
    /// A budget of `all` bytes, for bodies of at most `most`; `advice` is for who sends more.
    pub fn new(most: usize, all: usize, advice: &'static str) -> Self {
        Self { most, advice, budget: Arc::new(Semaphore::new(all.max(most) / UNIT + 1)) }
    }

    /// The whole body, if there is room for it.
    ///
    /// # Errors
    ///
    /// Refuses a body that is too large, that there is no room for now, or that does not arrive.
    pub async fn read(&self, request: Request) -> Result<(Bytes, Room), Refusal> {
        let declared = length(request.headers());
        let Self { most, advice, .. } = *self;
        let too_large =
            || Refusal::too_large(format!("the body has more than {most} bytes; {advice}"));
        if declared.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let units = declared.unwrap_or(most) / UNIT + 1;
        let Ok(room) = self.budget.clone().try_acquire_many_owned(units as u32) else {
            return Err(Refusal::busy());
        };
        let body = tokio::time::timeout(ARRIVAL, to_bytes(request.into_body(), most)).await;
        let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive");
        let body = body.map_err(late)?.map_err(|_| too_large())?;
        Ok((body, room))
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
