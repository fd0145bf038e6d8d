//! The line of requests before the one thread that makes pictures: bounded in pictures, first come
//! first served, and emptied in batches that span requests.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use hyperalign_models::generate::Shot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::{
    order::{Order, Recipe},
    progress::Progress,
};
use crate::server::Refusal;

/// How long a batch waits for company.
const PATIENCE: Duration = Duration::from_millis(5);

/// A picture that is done.
#[derive(Debug)]
pub struct Picture {
    /// Which of its request.
    pub index: usize,
    /// Its seed.
    pub seed: u64,
    /// The file.
    pub png: Vec<u8>,
    /// How it was made, as other programs write it.
    pub parameters: String,
}

/// The end that the thread sees of a request.
#[derive(Debug)]
pub struct Client {
    pictures: mpsc::UnboundedSender<Result<Picture, Refusal>>,
    progress: watch::Sender<Progress>,
    /// Previews that it wants of each picture.
    pub previews: usize,
}

impl Client {
    /// Whether nobody waits any more.
    pub fn is_gone(&self) -> bool {
        self.pictures.is_closed()
    }

    /// Hands a picture over, or says why there is none.
    pub fn answer(&self, picture: Result<Picture, Refusal>) {
        if picture.is_ok() {
            self.progress.send_modify(|progress| progress.done += 1);
        }
        // A closed channel: the request is gone.
        let _ = self.pictures.send(picture);
    }

    /// Tells how far it is.
    pub fn tell(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }
}

/// The end that the request sees; when it is dropped, the work is not done.
#[derive(Debug)]
pub struct Pending {
    /// The pictures, as they are done.
    pub pictures: mpsc::UnboundedReceiver<Result<Picture, Refusal>>,
    /// How far it is.
    pub progress: watch::Receiver<Progress>,
    /// Free again once the answer has gone out: pictures that nobody fetches take room too.
    pub places: Places,
}

/// Places in the queue; they are free again when this is dropped.
pub type Places = OwnedSemaphorePermit;

/// A request, with the pictures of it that have not been begun.
struct Ticket {
    client: Arc<Client>,
    recipe: Arc<Recipe>,
    shots: VecDeque<(usize, Shot)>,
}

/// One picture of a batch.
#[derive(Debug)]
pub struct Row {
    /// Whose it is.
    pub client: Arc<Client>,
    /// Which of its request.
    pub index: usize,
    /// What it is.
    pub shot: Shot,
}

/// Pictures that are made together.
#[derive(Debug)]
pub struct Batch {
    /// How.
    pub recipe: Arc<Recipe>,
    /// The pictures.
    pub rows: Vec<Row>,
}

#[derive(Default)]
struct Line {
    tickets: VecDeque<Ticket>,
    is_closed: bool,
}

/// The queue.
pub struct Queue {
    line: Mutex<Line>,
    news: Condvar,
    places: Arc<Semaphore>,
    capacity: u32,
}

impl Queue {
    /// A queue for `capacity` pictures.
    pub fn new(capacity: u32) -> Self {
        let places = Arc::new(Semaphore::new(capacity as usize));
        Self { line: Mutex::default(), news: Condvar::new(), places, capacity }
    }

    /// How many pictures wait, are being made, or have not been fetched.
    pub fn held(&self) -> usize {
        self.capacity as usize - self.places.available_permits()
    }

    /// Puts an order in line.
    ///
    /// # Errors
    ///
    /// Refuses it where there is no room, now or ever, and at the server's end.
    pub fn join(&self, order: &Order) -> Result<Pending, Refusal> {
        let count = order.shots.len();
        if count > self.capacity as usize {
            let most = self.capacity;
            return Err(Refusal::too_large(format!(
                "{count} pictures were asked for; at most {most} are taken"
            )));
        }
        let places = self.places.clone().try_acquire_many_owned(count as u32);
        let places = places.map_err(|_| Refusal::busy())?;
        let (pictures, receiver) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress::default());
        let client = Arc::new(Client { pictures, progress, previews: order.previews });
        let shots = order.shots.iter().cloned().enumerate().collect();
        let mut line = self.lock();
        if line.is_closed {
            return Err(ending());
        }
        line.tickets.push_back(Ticket { client, recipe: order.recipe.clone(), shots });
        line.renumber();
        drop(line);
        self.news.notify_one();
        Ok(Pending { pictures: receiver, progress: seen, places })
    }

    /// Forgets who is gone, and tells the others their places.
    pub fn renumber(&self) {
        self.lock().renumber();
    }

    /// Waits for the next batch: what the first request in line has in common with others, `most` of
    /// it. `None` after the end.
    pub fn next(&self, most: impl Fn(&Recipe) -> usize) -> Option<Batch> {
        let (mut line, mut until) = (self.lock(), None);
        loop {
            line.renumber();
            if line.is_closed {
                return None;
            }
            let Some(first) = line.tickets.front() else {
                until = None;
                line = self.news.wait(line).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let most = most(&first.recipe).max(1);
            let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || line.alike() >= most {
                return line.take(most);
            }
            let waited = self.news.wait_timeout(line, left);
            line = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes no more orders, and refuses those that wait.
    pub fn close(&self) {
        let mut line = self.lock();
        line.is_closed = true;
        for ticket in line.tickets.drain(..) {
            ticket.client.answer(Err(ending()));
        }
        drop(line);
        self.news.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ending() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the server is being stopped; ask another one")
}

impl Line {
    fn renumber(&mut self) {
        self.tickets.retain(|ticket| !ticket.client.is_gone());
        for (k, ticket) in self.tickets.iter().enumerate() {
            let is_begun = ticket.shots.front().is_none_or(|(index, _)| *index > 0);
            let place = if is_begun { 0 } else { k + 1 };
            ticket.client.progress.send_if_modified(|progress| {
                std::mem::replace(&mut progress.place, place) != place
            });
        }
    }

    /// Pictures that can be made together with the first.
    fn alike(&self) -> usize {
        let Some(first) = self.tickets.front() else { return 0 };
        let alike = self.tickets.iter().filter(|ticket| ticket.recipe == first.recipe);
        alike.map(|ticket| ticket.shots.len()).sum()
    }

    fn take(&mut self, most: usize) -> Option<Batch> {
        let recipe = self.tickets.front()?.recipe.clone();
        let mut rows = Vec::new();
        for ticket in self.tickets.iter_mut().filter(|ticket| ticket.recipe == recipe) {
            let count = ticket.shots.len().min(most - rows.len());
            rows.extend(ticket.shots.drain(..count).map(|(index, shot)| Row {
                client: ticket.client.clone(),
                index,
                shot,
            }));
        }
        self.tickets.retain(|ticket| !ticket.shots.is_empty());
        for row in &rows {
            row.client.tell(|progress| progress.place = 0);
        }
        self.renumber();
        Some(Batch { recipe, rows })
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_models::generate::Sampling;

    use super::*;

    fn order(steps: usize, pictures: u64) -> Order {
        let recipe =
            Recipe { sampling: Sampling::new(steps, 1.0), variant: None, loras: Vec::new() };
        let shots = (0..pictures).map(|seed| Shot::new("a dog", seed)).collect();
        Order { recipe: recipe.into(), shots, size: [8, 8], previews: 0, warnings: Vec::new() }
    }

    fn next(queue: &Queue) -> Vec<(usize, u64)> {
        let batch = queue.next(|_| 4).unwrap();
        let steps = batch.recipe.sampling.steps;
        batch.rows.iter().map(|row| (steps, row.shot.seed)).collect()
    }

    #[test]
    fn batches_span_requests_that_agree_and_nobody_is_overtaken_for_long() {
        let queue = Queue::new(16);
        let [a, b, c] = [(2, 3), (5, 1), (2, 3)].map(|(s, n)| queue.join(&order(s, n)).unwrap());
        let place = |pending: &Pending| pending.progress.borrow().place;
        assert_eq!([place(&a), place(&b), place(&c)], [1, 2, 3]);
        assert_eq!(next(&queue), [(2, 0), (2, 1), (2, 2), (2, 0)]);
        assert_eq!([place(&a), place(&b), place(&c)], [0, 1, 0]);
        assert_eq!(next(&queue), [(5, 0)]);
        assert_eq!(next(&queue), [(2, 1), (2, 2)]);
        assert_eq!(queue.held(), 7);
    }

    #[test]
    fn who_is_gone_is_forgotten_and_leaves_room() {
        let queue = Queue::new(2);
        let (a, b) = (queue.join(&order(2, 1)).unwrap(), queue.join(&order(3, 1)).unwrap());
        assert_eq!(queue.join(&order(2, 1)).unwrap_err(), Refusal::busy());
        drop(a);
        let c = queue.join(&order(4, 1)).unwrap();
        assert_eq!((b.progress.borrow().place, c.progress.borrow().place), (1, 2));
        assert_eq!(next(&queue), [(3, 0)]);
        assert_eq!(queue.join(&order(2, 3)).unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn at_the_end_who_waits_is_told() {
        let queue = Queue::new(2);
        let mut pending = queue.join(&order(2, 1)).unwrap();
        queue.close();
        let answer = pending.pictures.blocking_recv().unwrap();
        assert_eq!(answer.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(queue.next(|_| 4).is_none());
        let refusal = queue.join(&order(2, 1)).unwrap_err();
        assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
