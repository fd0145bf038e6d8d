//! A request that is answered while it is made.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, timeout},
};

use super::{answer, created, error};
use crate::{
    command::serve::{
        events::{Events, alive, event},
        http::{App, Watched, gone},
        order::Order,
        progress::Progress,
        queue::{Pending, Picture},
    },
    server::Refusal,
};

/// How often a client hears of us at least.
const SILENCE: Duration = Duration::from_secs(10);

/// A request that waits.
pub struct Streaming {
    /// What every request sees.
    pub app: Arc<App>,
    /// What it has ordered.
    pub order: Order,
    /// Its end of the queue.
    pub pending: Pending,
}

/// The client went away.
struct Left;

impl Streaming {
    /// Sends what happens, until the end.
    pub fn run(self, watched: Watched) -> Events {
        let (sender, events) = Events::new();
        tokio::spawn(async move {
            // Whoever left is not counted as answered: `watched` is dropped.
            let Ok(result) = self.tell(&sender).await else { return };
            watched.ended(&result);
            if let Err(refusal) = result {
                let mut data = error(&refusal);
                data["type"] = "error".into();
                let _ = sender.send(event("error", &data)).await;
            }
        });
        events
    }

    async fn tell(mut self, sender: &Sender<Bytes>) -> Result<Result<(), Refusal>, Left> {
        let end = Instant::now() + self.app.patience;
        let (mut told, mut left) = (Told::default(), self.order.shots.len());
        let mut is_over = false;
        if !self.order.warnings.is_empty() {
            let data = json!({"warnings": self.order.warnings});
            self.send(sender, "hyperalign.warnings", object(data)).await?;
        }
        while left > 0 {
            if Instant::now() >= end {
                return Ok(Err(self.app.late()));
            }
            let next = (end - Instant::now()).min(SILENCE);
            tokio::select! {
                biased;
                () = sender.closed() => return Err(Left),
                changed = timeout(next, self.pending.progress.changed()), if !is_over => match changed {
                    Ok(Ok(())) => self.progress(sender, &mut told).await?,
                    // The thread is done with it; its pictures are there.
                    Ok(Err(_)) => is_over = true,
                    Err(_) => sender.send(alive()).await.map_err(|_| Left)?,
                },
                picture = self.pending.pictures.recv() => {
                    match picture.unwrap_or_else(|| Err(gone())) {
                        Ok(picture) => self.completed(sender, &picture).await?,
                        Err(refusal) => return Ok(Err(refusal)),
                    }
                    left -= 1;
                }
            }
        }
        Ok(Ok(()))
    }

    /// Tells what of the progress has not been told.
    async fn progress(&mut self, sender: &Sender<Bytes>, told: &mut Told) -> Result<(), Left> {
        let now = self.pending.progress.borrow_and_update().clone();
        if now.place > 0 && told.place != now.place {
            let data = json!({"position": now.place});
            self.send(sender, "hyperalign.queued", object(data)).await?;
        }
        if now.steps > 0 && told.step != (now.done, now.step) {
            let data = json!({"step": now.step, "steps": now.steps, "done": now.done});
            self.send(sender, "hyperalign.progress", object(data)).await?;
        }
        if let Some(preview) = now
            .preview
            .as_ref()
            .filter(|preview| !told.preview.as_ref().is_some_and(|told| Arc::ptr_eq(told, preview)))
        {
            for (index, png) in &preview.pictures {
                let mut data = answer::common(&self.app, &self.order);
                data.insert("b64_json".to_owned(), BASE64_STANDARD.encode(png).into());
                data.insert("partial_image_index".to_owned(), preview.number.into());
                data.insert("index".to_owned(), (*index).into());
                self.send(sender, "image_generation.partial_image", data).await?;
            }
        }
        *told = Told::of(&now);
        Ok(())
    }

    async fn completed(&self, sender: &Sender<Bytes>, picture: &Picture) -> Result<(), Left> {
        let mut data = answer::common(&self.app, &self.order);
        data.extend(answer::picture_of(picture));
        data.insert("index".to_owned(), picture.index.into());
        self.send(sender, "image_generation.completed", data).await
    }

    async fn send(
        &self,
        sender: &Sender<Bytes>,
        kind: &str,
        data: Map<String, Value>,
    ) -> Result<(), Left> {
        let mut object = Map::new();
        object.insert("type".to_owned(), kind.into());
        object.insert("created_at".to_owned(), created().into());
        object.extend(data);
        sender.send(event(kind, &object.into())).await.map_err(|_| Left)
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}

/// What of the progress was told.
#[derive(Default)]
struct Told {
    place: usize,
    step: (usize, usize),
    preview: Option<Arc<crate::command::serve::progress::Preview>>,
}

impl Told {
    fn of(progress: &Progress) -> Self {
        Self {
            place: progress.place,
            step: (progress.done, progress.step),
            preview: progress.preview.clone(),
        }
    }
}
