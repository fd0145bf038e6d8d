//! The queue between requests and the one thread that scores: bounded in pictures, and emptied in
//! batches that span requests.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hyperalign_rewards::Prompt;
use image::RgbImage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::metrics::Metrics;
use crate::rewards::Judges;

/// How long a batch waits for company.
const PATIENCE: Duration = Duration::from_millis(5);

/// Scores of one picture, by every reward in order.
pub type Scores = Result<Vec<f32>, String>;

/// The pictures of one request.
struct Job {
    pictures: Vec<RgbImage>,
    prompts: Vec<Prompt>,
    answer: oneshot::Sender<Vec<Scores>>,
    /// Places in the queue and room for pixels, free again when the job is done.
    _held: [OwnedSemaphorePermit; 2],
}

/// The end of the queue that requests see.
pub struct Queue {
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
    capacity: u32,
}

/// Places in the queue; they are free again when this is dropped.
pub struct Places(OwnedSemaphorePermit);

impl Queue {
    /// A queue for `capacity` pictures, and the thread that scores `batch` of them at once. The
    /// thread ends when the queue is dropped and empty.
    pub fn new(
        judges: Arc<Judges>,
        metrics: Arc<Metrics>,
        capacity: u32,
        batch: usize,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, incoming) = channel();
        let builder = std::thread::Builder::new().name("scoring".to_owned());
        let worker = builder.spawn(move || work(&judges, &metrics, &incoming, batch))?;
        let places = Arc::new(Semaphore::new(capacity as usize));
        Ok((Self { jobs, places, capacity }, worker))
    }

    /// Places for `pictures`, if they are free now.
    pub fn reserve(&self, pictures: usize) -> Option<Places> {
        let count = u32::try_from(pictures).ok()?;
        self.places.clone().try_acquire_many_owned(count).ok().map(Places)
    }

    /// How many pictures may wait.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many pictures wait or are being scored.
    pub fn waiting(&self) -> usize {
        self.capacity as usize - self.places.available_permits()
    }

    /// Scores pictures that were checked. None if the thread is gone.
    pub async fn score(
        &self,
        places: Places,
        room: OwnedSemaphorePermit,
        pictures: Vec<RgbImage>,
        prompts: Vec<Prompt>,
    ) -> Option<Vec<Scores>> {
        let (answer, scores) = oneshot::channel();
        let _held = [places.0, room];
        self.jobs.send(Job { pictures, prompts, answer, _held }).ok()?;
        scores.await.ok()
    }
}

fn work(judges: &Judges, metrics: &Metrics, incoming: &Receiver<Job>, batch: usize) {
    while let Ok(first) = incoming.recv() {
        let mut count = first.pictures.len();
        let mut jobs = vec![first];
        let deadline = Instant::now() + PATIENCE;
        while count < batch {
            let left = deadline.saturating_duration_since(Instant::now());
            match incoming.recv_timeout(left) {
                Ok(job) => {
                    count += job.pictures.len();
                    jobs.push(job);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        // Who went away needs no score.
        jobs.retain(|job| !job.answer.is_closed());
        let (mut pictures, mut prompts, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            answers.push((job.answer, job.pictures.len(), job._held));
            pictures.extend(job.pictures);
            prompts.extend(job.prompts);
        }
        let start = Instant::now();
        let mut scores = pictures.chunks(batch).zip(prompts.chunks(batch)).flat_map(|(p, t)| {
            metrics.batches.add(1);
            // A reward that panics fails its batch, not the server.
            let scored = catch_unwind(AssertUnwindSafe(|| judges.score(p, t)));
            scored.unwrap_or_else(|_| vec![Err("the reward failed".to_owned()); p.len()])
        });
        let scores: Vec<Scores> = scores.by_ref().collect();
        metrics.scored(scores.len(), start.elapsed());
        let mut scores = scores.into_iter();
        for (answer, count, _held) in answers {
            // A closed channel: the request is gone.
            let _ = answer.send(scores.by_ref().take(count).collect());
        }
    }
}
