//! Pictures that the base itself makes of training prompts, judged by the gold scorer: what a
//! preference model has to tell apart later, and cannot learn from renders alone.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    thread,
};

use hyperalign_core::{
    atomic::{self, WriteError},
    noise::{Purpose, Stream},
};
use hyperalign_models::{
    base::{Base, BaseError},
    generate::{Generation, Sampling},
};
use hyperalign_rewards::{
    emoji::{CHANNELS, FLIPPED_LABELS, Picture, PreferencePair, SIZE, Split, gold_batch, pictures},
    geneval::{Row, Task},
};
use serde::{Deserialize, Serialize};

use super::recipe;

/// Pictures of each prompt, made in one batch.
const SEEDS: usize = 8;
/// Steps of the sampler and weight of guidance: those that the base is used with.
const STEPS: usize = 10;
const GUIDANCE_SCALE: f64 = 4.0;
/// Steps whose one-step predictions are kept beside the finished pictures, one for each prompt:
/// the later three quarters, where alignment asks the reward too.
const PREDICTED: std::ops::Range<usize> = 3..10;

/// Judged pictures of the prompts that came out both right and wrong.
#[derive(Debug)]
pub struct SampleSet {
    by_task: Vec<Vec<Judged>>,
}

/// The pictures of one prompt.
#[derive(Debug)]
struct Judged {
    prompt: String,
    right: Vec<Sampled>,
    wrong: Vec<Sampled>,
}

/// A finished picture, and the one-step prediction that was made of it on the way.
#[derive(Debug)]
struct Sampled {
    finished: Vec<u8>,
    predicted: Vec<u8>,
}

/// What the file of a set is checked by.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    base: String,
    seed: u64,
    prompts: usize,
    sampler: (usize, usize, f64),
}

/// Why a set cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The base refuses a prompt or the number of steps.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The pictures cannot be kept.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The folder of the file cannot be made.
    #[error("cannot make the folder of `{}`: {source}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The pictures of one prompt as they are kept: finished and predicted in turn.
type Made = Vec<u8>;

const PICTURE: usize = CHANNELS * SIZE * SIZE;

impl SampleSet {
    /// Makes the pictures of `prompts` training prompts on `threads` threads, or reads them from
    /// `file` if they were made before from the same base and seed.
    ///
    /// # Errors
    ///
    /// Fails if the base refuses the prompts or `file` cannot be written.
    pub fn build(
        base: &dyn Base,
        seed: u64,
        prompts: usize,
        threads: usize,
        file: &Path,
    ) -> Result<Self, SampleError> {
        let rows = recipe::WORLD.prompts(Split::Train, prompts, seed);
        let origin = Origin {
            base: base.hash().to_owned(),
            seed,
            prompts,
            sampler: (SEEDS, STEPS, GUIDANCE_SCALE),
        };
        if let Some(made) = read(file, &origin) {
            return Ok(Self::judge(&rows, &made));
        }
        let threads = threads.clamp(1, rows.len().max(1));
        // Each thread has a pool of its own: in a shared one small matrix products wait for the
        // other threads' work.
        let made: Result<Vec<Vec<Made>>, BaseError> = thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|part| {
                    let rows =
                        &rows[part * rows.len() / threads..(part + 1) * rows.len() / threads];
                    let first = part * prompts / threads;
                    scope.spawn(move || {
                        let work = || {
                            rows.iter()
                                .zip(first..)
                                .map(|(row, k)| make(base, row, seed, k))
                                .collect()
                        };
                        match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
                            Ok(pool) => pool.install(work),
                            Err(_) => work(),
                        }
                    })
                })
                .collect();
            let join = |handle: thread::ScopedJoinHandle<_>| {
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            handles.into_iter().map(join).collect()
        });
        let made: Vec<Made> = made?.into_iter().flatten().collect();
        write(file, &origin, &made)?;
        Ok(Self::judge(&rows, &made))
    }

    fn judge(rows: &[Row], made: &[Made]) -> Self {
        let mut by_task: Vec<Vec<Judged>> = Task::ALL.iter().map(|_| Vec::new()).collect();
        for (row, made) in rows.iter().zip(made) {
            let samples: Vec<Sampled> = made
                .chunks_exact(2 * PICTURE)
                .map(|both| {
                    let (finished, predicted) = both.split_at(PICTURE);
                    Sampled { finished: finished.to_vec(), predicted: predicted.to_vec() }
                })
                .collect();
            let finished: Vec<Picture> = samples.iter().map(|s| picture(&s.finished)).collect();
            let verdicts = gold_batch(&finished, &vec![row.clone(); finished.len()]);
            let mut judged =
                Judged { prompt: row.prompt.clone(), right: Vec::new(), wrong: Vec::new() };
            for (sample, verdict) in samples.into_iter().zip(verdicts) {
                let side = if verdict.correct { &mut judged.right } else { &mut judged.wrong };
                side.push(sample);
            }
            if !judged.right.is_empty() && !judged.wrong.is_empty() {
                let task = Task::ALL.iter().position(|&task| task == row.tag);
                by_task[task.expect("a task is one of all")].push(judged);
            }
        }
        by_task.retain(|prompts| !prompts.is_empty());
        Self { by_task }
    }

    /// Whether no prompt came out both right and wrong.
    pub fn is_empty(&self) -> bool {
        self.by_task.is_empty()
    }

    /// How many prompts came out both right and wrong.
    pub fn len(&self) -> usize {
        self.by_task.iter().map(Vec::len).sum()
    }

    /// A right and a wrong picture of one prompt, finished both or one-step predictions of the
    /// same step both; the tasks come equally often, and a share [`FLIPPED_LABELS`] of the labels
    /// is the wrong way round, as in the pairs of renders.
    ///
    /// # Panics
    ///
    /// Panics if the set is empty.
    pub fn pair(&self, stream: &mut Stream) -> PreferencePair {
        let task = stream.pick(&self.by_task);
        let judged = stream.pick(task);
        let (right, wrong) = (stream.pick(&judged.right), stream.pick(&judged.wrong));
        let [right, wrong] = if stream.chance(0.5) {
            [&right.finished, &wrong.finished]
        } else {
            [&right.predicted, &wrong.predicted]
        }
        .map(|bytes| picture(bytes));
        let flipped = stream.chance(FLIPPED_LABELS);
        let (image_win, image_lose) = if flipped { (wrong, right) } else { (right, wrong) };
        PreferencePair { image_win, image_lose, prompt: judged.prompt.clone(), flipped }
    }
}

/// Samples one prompt [`SEEDS`] times.
fn make(base: &dyn Base, row: &Row, seed: u64, index: usize) -> Result<Made, BaseError> {
    let sampling = Sampling::new(STEPS, GUIDANCE_SCALE);
    let generation = Generation::new(base, &sampling, &vec![row.prompt.clone(); SEEDS])?;
    let stream = |k: usize| Stream::new(seed, Purpose::Start, index as u32, k as u32);
    let kept = PREDICTED.start + stream(SEEDS).below(PREDICTED.len());
    let sampler = generation.sampler();
    let start = sampler.start(generation.noise((0..SEEDS).map(stream)));
    let mut predicted = None;
    let end = sampler.run(start, sampler.scheduler().steps(), None, &mut |state| {
        if state.i == kept {
            predicted = Some(state.pred_original.clone());
        }
        ControlFlow::Continue(())
    });
    let finished = end.sample;
    let predicted = predicted.unwrap_or_else(|| finished.clone());
    let [finished, predicted] =
        [finished, predicted].map(|latents| pictures(&base.decode(latents).clamp(-1.0, 1.0)));
    Ok(finished.iter().zip(&predicted).flat_map(|(a, b)| [bytes(a), bytes(b)]).flatten().collect())
}

fn bytes(picture: &Picture) -> Vec<u8> {
    picture.pixels.iter().map(|value| (value * 255.0).round() as u8).collect()
}

fn picture(bytes: &[u8]) -> Picture {
    Picture { pixels: bytes.iter().map(|&value| f32::from(value) / 255.0).collect() }
}

/// One line of JSON, then the pictures of all prompts, all of the same size.
fn write(file: &Path, origin: &Origin, made: &[Made]) -> Result<(), SampleError> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)
            .map_err(|source| SampleError::Folder { path: file.to_owned(), source })?;
    }
    let mut content = serde_json::to_vec(origin).expect("plain data");
    content.push(b'\n');
    content.extend(made.iter().flatten());
    Ok(atomic::write(file, &content)?)
}

/// What [`write`] wrote for the same `origin`.
fn read(file: &Path, origin: &Origin) -> Option<Vec<Made>> {
    let content = fs::read(file).ok()?;
    let end = content.iter().position(|&byte| byte == b'\n')?;
    let found: Origin = serde_json::from_slice(&content[..end]).ok()?;
    let size = SEEDS * 2 * PICTURE;
    let whole = content.len() - end - 1 == size * origin.prompts;
    (found == *origin && whole)
        .then(|| content[end + 1..].chunks_exact(size).map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use hyperalign_rewards::emoji::{Caption, World, gold, parse};

    use super::*;
    use crate::eval::toy::ToyBase;

    /// As if the base had drawn `captions` when it was asked for the first.
    fn made(captions: [&str; 2]) -> Made {
        let mut stream = Stream::new(1, Purpose::World, 99, 0);
        let mut of = |caption: &str| {
            let caption = Caption::parse(caption).expect("a caption of the world");
            bytes(&Picture::render(&World::SMALL.scene(&caption, &mut stream)))
        };
        (0..SEEDS).flat_map(|k| [of(captions[k % 2]), of(captions[k % 2])]).flatten().collect()
    }

    #[test]
    fn pairs_put_the_right_picture_first_but_for_the_noise() {
        let rows = ["a dog", "a red heart"].map(|prompt| parse(prompt).unwrap());
        // The second prompt came out right every time: there is nothing to compare.
        let made = [made(["a dog", "a car"]), made(["a red heart", "a red heart"])];
        let set = SampleSet::judge(&rows, &made);
        assert_eq!(set.len(), 1);
        let n = 400;
        let flipped = (0..n)
            .filter(|&k| {
                let pair = set.pair(&mut Stream::new(2, Purpose::World, 98, k));
                assert_eq!(pair.prompt, "a dog");
                let [win, lose] =
                    [&pair.image_win, &pair.image_lose].map(|image| gold(image, &rows[0]).correct);
                assert_eq!((win, lose), (!pair.flipped, pair.flipped));
                pair.flipped
            })
            .count();
        let share = flipped as f64 / f64::from(n);
        assert!((share - FLIPPED_LABELS).abs() < 0.07, "{share}");
    }

    #[test]
    fn pictures_are_made_once_for_a_base_and_a_seed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("work/samples.bin");
        let build = |seed| {
            SampleSet::build(&ToyBase::new(), seed, 3, 2, &file).unwrap();
            fs::read(&file).unwrap()
        };
        let first = build(1);
        assert_eq!(first.len() - first.iter().position(|&b| b == b'\n').unwrap() - 1, {
            3 * SEEDS * 2 * PICTURE
        });
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(build(1), first);
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written, "made again");
        assert_ne!(build(2), first);
        // A file that was cut short is no set.
        fs::write(&file, &first[..first.len() - 1]).unwrap();
        assert_eq!(build(1), first);
    }
}
