//! A way of making pictures that keeps the first ones as files.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hyperalign_core::{
    image::{ImageError, Metadata, to_images, write_png},
    stop::Stop,
};
use hyperalign_models::generate::{Adapted, GenerateError, Job, Made, Sampling, Shot, Way};
use serde_json::Value;

/// Where the picture `k` of `row` lies in the folder of a run.
pub fn path_of(folder: &Path, row: usize, k: usize) -> PathBuf {
    folder.join("pictures").join(format!("{row}-{k}.png"))
}

/// The pictures of `way`, those of the first rows written to a folder.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    /// What makes the pictures.
    pub way: Arc<dyn Way + 'a>,
    /// The folder of the run.
    pub folder: PathBuf,
    /// Rows that are kept.
    pub rows: usize,
    /// Pictures of each row.
    pub seeds: usize,
    /// The seed of the first picture.
    pub first_seed: u64,
    /// Why one could not be written.
    pub failed: Arc<Mutex<Option<ImageError>>>,
}

impl Keeping<'_> {
    fn keep(&self, shots: &[Shot], made: &Made) -> Result<(), ImageError> {
        let at = |shot: &Shot| shot.seed.wrapping_sub(self.first_seed) as usize;
        if shots.iter().all(|shot| at(shot) >= self.rows * self.seeds) {
            return Ok(());
        }
        for (shot, picture) in shots.iter().zip(to_images(made.images.clone().clamp(-1.0, 1.0))) {
            let (row, k) = (at(shot) / self.seeds, at(shot) % self.seeds);
            if row < self.rows {
                write_png(&path_of(&self.folder, row, k), &picture, &Metadata::default())?;
            }
        }
        Ok(())
    }
}

impl Way for Keeping<'_> {
    fn name(&self) -> String {
        self.way.name()
    }

    fn identity(&self) -> Value {
        self.way.identity()
    }

    fn adapted(&self) -> Option<&Adapted<'_>> {
        self.way.adapted()
    }

    fn shots_at_once(&self, sampling: &Sampling) -> usize {
        self.way.shots_at_once(sampling)
    }

    fn settles_for_less(&self) -> bool {
        self.way.settles_for_less()
    }

    fn make(&self, job: &Job, stop: &Stop) -> Result<Option<Made>, GenerateError> {
        let Some(made) = self.way.make(job, stop)? else { return Ok(None) };
        if let Err(error) = self.keep(job.shots, &made) {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            // A full disk stays full: the work ends here rather than at its end.
            stop.request();
            return Ok(None);
        }
        Ok(Some(made))
    }
}
