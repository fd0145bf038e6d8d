//! Pictures are made and written, batch by batch.

use hyperalign_core::contract::Decoder;
use hyperalign_core::image;
use hyperalign_core::stop::Stop;
use hyperalign_models::generate::{Cost, Job, Meter, Shot, generate};
use indicatif::ProgressBar;
use serde_json::Value;

use super::SampleError;
use super::pictures::Picture;
use crate::provenance::Making;

/// What was written before the end.
#[derive(Default)]
pub(super) struct Written {
    pub pictures: usize,
    pub cost: Cost,
    /// What a method says of each picture.
    pub notes: Vec<Value>,
    pub is_all: bool,
}

/// Makes and writes the pictures, batch by batch.
///
/// # Errors
///
/// Fails if a picture cannot be made or written.
pub(super) fn make(
    pictures: &[Picture],
    making: &Making<'_>,
    decoder: Option<&dyn Decoder>,
    bar: &ProgressBar,
    stop: &Stop,
) -> miette::Result<Written> {
    let shots: Vec<Shot> =
        pictures.iter().map(|picture| Shot::new(picture.prompt.as_str(), picture.seed)).collect();
    let progress = |best: Option<f64>| {
        if let Some(best) = best {
            bar.set_message(format!("best score {best:.4}"));
        }
        bar.inc(1);
    };
    let meter = Meter::with_progress(&progress);
    let Making { base, sampling, .. } = making;
    let job = Job { base: *base, sampling, shots: &shots, decoder, meter: &meter };
    let (mut written, mut left) = (Written::default(), pictures.iter());
    let is_all =
        generate(making.way(), &job, stop, &mut |shots, batch| -> Result<(), SampleError> {
            written.cost += batch.cost;
            for (k, image) in image::to_images(batch.images).iter().enumerate() {
                let Some(picture) = left.next() else { break };
                let note = batch.notes.get(k);
                let metadata = making.metadata(&shots[k], image.dimensions(), note);
                image::write_png(&picture.file, image, &metadata)?;
                written.pictures += 1;
                written.notes.extend(note.cloned());
            }
            Ok(())
        })?;
    Ok(Written { is_all, ..written })
}
