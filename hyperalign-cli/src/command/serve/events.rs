//! Bodies of answers that are sent piece by piece.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};
use serde_json::Value;
use tokio::sync::mpsc;

use super::queue::Places;

/// Bytes of one piece: what is not yet sent stays with us, and its places stay taken.
const PIECE: usize = 64 << 10;
/// Events that wait for a client that reads slowly.
const EVENTS: usize = 4;

/// Events as a server sends them (the `text/event-stream` of the HTML standard).
pub struct Events(mpsc::Receiver<Bytes>);

impl Events {
    /// A stream, and the end that events go in at. It is closed when the client is gone.
    pub fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(EVENTS);
        (sender, Self(receiver))
    }
}

/// An event of a kind, with its data in one line of JSON.
pub fn event(kind: &str, data: &Value) -> Bytes {
    format!("event: {kind}\ndata: {data}\n\n").into()
}

/// A comment, which shows that somebody is still there.
pub fn alive() -> Bytes {
    Bytes::from_static(b": the server is alive\n\n")
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::new(self));
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("text/event-stream");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A whole body that holds places in the queue until it has gone out, but for what the connection
/// buffers.
pub struct Held {
    rest: Bytes,
    _places: Places,
}

impl Held {
    /// JSON that holds `places`.
    pub fn json(body: &Value, places: Places) -> Response {
        let body = Self { rest: body.to_string().into(), _places: places };
        let mut response = Response::new(Body::new(body));
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = self.rest.len().min(PIECE);
        let piece = (size > 0).then(|| self.rest.split_to(size));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
