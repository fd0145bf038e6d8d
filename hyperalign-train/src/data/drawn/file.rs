//! Drawn pictures in a file that an interrupted command goes on with.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
};

use hyperalign_core::{input, stop::Stop};
use hyperalign_models::base::{Base, BaseError};
use hyperalign_rewards::geneval::Row;
use serde::{Deserialize, Serialize};

use super::{Drawing, DrawnPrompt, Impression, draw::PICTURE};

/// Changes with the layout of the file and with what an [`Impression`] means.
const FORMAT: u32 = 1;

/// Why pictures cannot be drawn or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// The base refuses a prompt or the number of steps.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The file cannot be written, or its folder not made.
    #[error(
        "cannot keep the base's pictures in `{}`: {source}; set HYPERALIGN_CACHE to a folder that \
         can be written and has room", path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there and cannot be read.
    #[error("cannot read the base's pictures in `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "`{}` holds {found}, and {expected} was expected; delete it, and it is drawn anew",
        path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// Another process draws it.
    #[error("another process is drawing `{}`; wait until it is done", path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error(
        "the pictures that `{base}` should learn from are not drawn yet; `hyperalign pairs --base \
         {base} --data {data}` draws them, once, in some minutes"
    )]
    Missing {
        /// The base.
        base: String,
        /// The set.
        data: String,
    },
}

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Origin {
    format: u32,
    base: String,
    world: String,
    seed: u64,
    draws: usize,
    predictions: bool,
    steps: usize,
    guidance: [f64; 2],
}

/// Where pictures of a [`Drawing`] by a base are kept.
#[derive(Debug, Clone)]
pub struct DrawnFile {
    path: PathBuf,
    drawing: Drawing,
    count: usize,
    origin: Origin,
}

impl DrawnFile {
    /// The file of the first `count` prompts of `drawing` by the base of this name and hash, in
    /// `folder`.
    pub fn new(folder: &Path, name: &str, hash: &str, drawing: Drawing, count: usize) -> Self {
        let Drawing { world, seed, draws, predictions, steps, guidance } = drawing;
        let (base, world) = (hash.to_owned(), world.to_string());
        let origin =
            Origin { format: FORMAT, base, world, seed, draws, predictions, steps, guidance };
        let short = hash.get(..12).unwrap_or(hash);
        let file = format!("{name}-{short}-seed{seed}-{count}x{draws}.drawn");
        Self { path: folder.join(file), drawing, count, origin }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows of its prompts.
    pub fn rows(&self) -> Vec<Row> {
        self.drawing.prompts(self.count)
    }

    /// Reads the finished file; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or holds something else.
    pub fn read(&self) -> Result<Option<Vec<DrawnPrompt>>, DrawError> {
        let drawn = self.read_from(&self.path)?;
        match drawn {
            Some(drawn) if drawn.len() != self.count => {
                let path = self.path.clone();
                let [found, expected] =
                    [drawn.len(), self.count].map(|count| format!("pictures of {count} prompts"));
                Err(DrawError::Other { path, found, expected })
            }
            drawn => Ok(drawn),
        }
    }

    /// Reads the file, or draws what is not there yet on `threads` threads; `drawn` is told how
    /// many prompts are done. `None` if it was stopped: what is finished is kept, and the next call
    /// goes on from there.
    ///
    /// # Errors
    ///
    /// Fails if the base refuses the prompts, or the file cannot be read or written.
    pub fn read_or_draw(
        &self,
        base: &dyn Base,
        threads: usize,
        stop: &Stop,
        drawn: &mut dyn FnMut(usize),
    ) -> Result<Option<Vec<DrawnPrompt>>, DrawError> {
        if let Some(all) = self.read()? {
            return Ok(Some(all));
        }
        let part = self.path.with_extension("drawn.part");
        let unwritable = |source| DrawError::Write { path: part.clone(), source };
        let mut file = open(&part).map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DrawError::Busy { path: part }),
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        let mut done = self.read_from(&part)?.unwrap_or_default();
        self.cut(&mut file, done.len()).map_err(unwritable)?;
        let rows = self.rows();
        let group = self.drawing.group();
        done.truncate(done.len() / group * group);
        while done.len() < self.count {
            if stop.is_requested() {
                return Ok(None);
            }
            drawn(done.len());
            let first = done.len() / group;
            for prompt in self.wave(base, &rows, first, threads)? {
                file.write_all(&encoded(&prompt)).map_err(unwritable)?;
                done.push(prompt);
            }
            file.flush().map_err(unwritable)?;
        }
        drawn(done.len());
        file.sync_all().map_err(unwritable)?;
        fs::rename(&part, &self.path).map_err(unwritable)?;
        Ok(Some(done))
    }

    /// Draws the next groups, one on each thread.
    fn wave(
        &self,
        base: &dyn Base,
        rows: &[Row],
        first: usize,
        threads: usize,
    ) -> Result<Vec<DrawnPrompt>, BaseError> {
        let groups: Vec<(usize, &[Row])> = rows
            .chunks(self.drawing.group())
            .enumerate()
            .skip(first)
            .take(threads.max(1))
            .collect();
        let drawing = self.drawing;
        let drawn: Result<Vec<Vec<DrawnPrompt>>, BaseError> = thread::scope(|scope| {
            let handles: Vec<_> = groups
                .into_iter()
                .map(|(group, rows)| {
                    scope.spawn(move || {
                        let work = || drawing.draw(base, rows, group);
                        // Each thread has a pool of its own: in a shared one small matrix products
                        // wait for the other threads' work.
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
        Ok(drawn?.into_iter().flatten().collect())
    }

    /// Cuts the unfinished file off behind its first `done` prompts in whole groups.
    fn cut(&self, file: &mut File, done: usize) -> io::Result<()> {
        let mut header = serde_json::to_vec(&self.origin).expect("plain data");
        header.push(b'\n');
        let group = self.drawing.group();
        let kept = header.len() + done / group * group * self.record();
        if done == 0 {
            file.write_all(&header)?;
        }
        file.set_len(kept as u64)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(())
    }

    /// The whole records of a file of this origin; `None` where there is none, or no more than the
    /// beginning of its first line.
    fn read_from(&self, path: &Path) -> Result<Option<Vec<DrawnPrompt>>, DrawError> {
        let unreadable = |source| DrawError::Read { path: path.to_owned(), source };
        let file = match input::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(unreadable(source)),
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(unreadable)?;
        if line.last() != Some(&b'\n') {
            return Ok(None);
        }
        let found = serde_json::from_slice::<Origin>(&line).ok();
        if found.as_ref() != Some(&self.origin) {
            let told = |origin: &Origin| serde_json::to_string(origin).expect("plain data");
            let found = found.as_ref().map_or_else(|| "no drawn pictures".to_owned(), told);
            let (path, expected) = (path.to_owned(), told(&self.origin));
            return Err(DrawError::Other { path, found, expected });
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(Some(bytes.chunks_exact(self.record()).map(|record| self.decoded(record)).collect()))
    }

    /// Bytes of one prompt.
    fn record(&self) -> usize {
        let kinds = 1 + usize::from(self.drawing.predictions);
        self.drawing.draws * (kinds * PICTURE + IMPRESSION)
    }

    fn decoded(&self, record: &[u8]) -> DrawnPrompt {
        let draws = self.drawing.draws;
        let (pictures, impressions) = record.split_at(record.len() - draws * IMPRESSION);
        let mut pictures: Vec<Vec<u8>> =
            pictures.chunks_exact(PICTURE).map(<[u8]>::to_vec).collect();
        let predicted = pictures.split_off(draws);
        let impressions = impressions
            .chunks_exact(IMPRESSION)
            .map(|bytes| Impression {
                right: bytes[0] != 0,
                ugliness: f32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]),
            })
            .collect();
        DrawnPrompt { finished: pictures, predicted, impressions }
    }
}

fn open(part: &Path) -> io::Result<File> {
    if let Some(folder) = part.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).truncate(false).write(true).open(part)
}

/// Bytes of an impression: whether it is right, and a float.
const IMPRESSION: usize = 5;

fn encoded(prompt: &DrawnPrompt) -> Vec<u8> {
    let pictures = prompt.finished.iter().chain(&prompt.predicted).flatten().copied();
    let impression =
        |one: &Impression| std::iter::once(u8::from(one.right)).chain(one.ugliness.to_le_bytes());
    pictures.chain(prompt.impressions.iter().flat_map(impression)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::toy;
    use hyperalign_rewards::emoji::World;

    fn file(folder: &Path, count: usize, seed: u64) -> DrawnFile {
        let drawing = Drawing { predictions: true, ..Drawing::new(World::SMALL, seed, 2) };
        DrawnFile::new(folder, "toy", "0123456789abcdef", Drawing { steps: 4, ..drawing }, count)
    }

    fn drawn(file: &DrawnFile) -> Vec<DrawnPrompt> {
        let (base, stop) = (toy::base(), Stop::default());
        file.read_or_draw(&base, 2, &stop, &mut |_| ()).unwrap().unwrap()
    }

    #[test]
    fn pictures_are_drawn_once_and_read_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir.path().join("cache"), 20, 1);
        assert_eq!(file.read().unwrap(), None);
        let first = drawn(&file);
        assert_eq!((first.len(), first[0].finished.len(), first[0].predicted.len()), (20, 2, 2));
        assert_ne!(first[0].finished[0], first[0].finished[1]);
        let written = fs::metadata(file.path()).unwrap().modified().unwrap();
        assert_eq!(drawn(&file), first);
        assert_eq!(fs::metadata(file.path()).unwrap().modified().unwrap(), written, "drawn again");
        assert_ne!(drawn(&self::file(dir.path(), 20, 2)), first);
    }

    #[test]
    fn an_interrupted_drawing_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let whole = drawn(&file(&dir.path().join("whole"), 20, 1));
        let file = file(dir.path(), 20, 1);
        let (base, stop) = (toy::base(), Stop::default());
        let stopped = file.read_or_draw(&base, 1, &stop, &mut |done| {
            if done > 0 {
                stop.request();
            }
        });
        assert_eq!(stopped.unwrap(), None);
        // Killed in the middle of a record.
        let part = file.path().with_extension("drawn.part");
        let length = fs::metadata(&part).unwrap().len();
        OpenOptions::new().write(true).open(&part).unwrap().set_len(length - 7).unwrap();
        assert_eq!(drawn(&file), whole);
        assert!(!part.exists());

        // A file of which no more was written than the beginning of its first line.
        let file = self::file(&dir.path().join("new"), 20, 1);
        for beginning in ["", "{\"format\":1,"] {
            fs::create_dir_all(dir.path().join("new")).unwrap();
            let _ = fs::remove_file(file.path());
            fs::write(file.path().with_extension("drawn.part"), beginning).unwrap();
            assert_eq!(drawn(&file), whole);
        }
    }

    #[test]
    fn one_process_draws_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path(), 8, 1);
        let part = file.path().with_extension("drawn.part");
        let held = open(&part).unwrap();
        held.try_lock().unwrap();
        let (base, stop) = (toy::base(), Stop::default());
        let error = file.read_or_draw(&base, 1, &stop, &mut |_| ()).unwrap_err();
        assert!(matches!(error, DrawError::Busy { .. }), "{error}");
        drop(held);
        assert_eq!(drawn(&file).len(), 8);
    }

    #[test]
    fn files_of_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mine = file(dir.path(), 8, 1);
        drawn(&mine);
        let other =
            DrawnFile { origin: Origin { base: "x".into(), ..mine.origin.clone() }, ..mine };
        let error = other.read().unwrap_err().to_string();
        assert!(error.contains("0123456789abcdef") && error.contains("drawn anew"), "{error}");
        fs::write(other.path(), "not mine\n").unwrap();
        assert!(other.read().unwrap_err().to_string().contains("no drawn pictures"));
        let blocked = file(&dir.path().join("file"), 8, 1);
        fs::write(dir.path().join("file"), "in the way").unwrap();
        let (base, stop) = (toy::base(), Stop::default());
        let error = blocked.read_or_draw(&base, 1, &stop, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains("HYPERALIGN_CACHE") || error.contains("cannot read"), "{error}");
    }
}
