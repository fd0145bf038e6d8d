//! The one thread that makes pictures.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use axum::http::StatusCode;
use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::Decoder,
    image::{Metadata, encode_png, to_images},
    resize::{Filter, resize},
    rows::select_rows,
    sampler::StepState,
    stop::Stop,
};
use hyperalign_models::{
    base::Base,
    generate::{AdapterFile, GenerateError, Job, Meter, Sampling, Shot, generate},
    lora::{Laid, LoraError, LoraFile, Overlaid},
    tiny_codec::TinyDecoder,
};
use serde_json::Value;

use super::{
    metrics::Metrics,
    order::Recipe,
    progress::{Now, Preview, Work, due},
    queue::{Batch, Picture, Queue, Row},
};
use crate::{
    provenance::{Making, Surroundings},
    server::Refusal,
};

/// The largest side of the latents that a preview is decoded from: decoding takes most of its time.
const PREVIEW_SIDE: usize = 24;
/// Previews for who looks on without having ordered any.
const LOOKS: usize = 4;

/// A LoRA file that was read at the start, and what pictures say of it.
pub type Offered = (Laid, LoraFile);

/// What pictures are made with.
pub struct Maker {
    /// The base, without LoRA files.
    pub base: Arc<dyn Base>,
    /// Where it computes.
    pub device: Device,
    /// The adapter, if there is one.
    pub adapter: Option<AdapterFile>,
    /// LoRA files, in the order of the catalog's.
    pub loras: Vec<Offered>,
    /// What decodes previews in place of the base.
    pub codec: Option<TinyDecoder>,
    /// What pictures say of the circumstances.
    pub around: Surroundings,
    /// The most pictures of the base's own size that are made at once.
    pub batch: usize,
    /// Where they are ordered.
    pub queue: Arc<Queue>,
    /// What is being made.
    pub now: Arc<Now>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Ends the batch at hand.
    pub abandoned: Stop,
}

/// Why a batch is not there.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Lora(#[from] LoraError),
    #[error(transparent)]
    Base(#[from] hyperalign_models::base::BaseError),
    #[error("the server is being stopped, and could not wait; ask another one")]
    Stopped,
}

impl Maker {
    /// Makes pictures until the queue is closed.
    pub fn work(&self) {
        while let Some(batch) = self.queue.next(|recipe| self.batch_of(recipe)) {
            self.metrics.batches.add(1);
            let start = Instant::now();
            // A network that panics fails its batch, not the server.
            let made = catch_unwind(AssertUnwindSafe(|| self.make(&batch)));
            let refusal = match made {
                Ok(Ok(pictures)) => {
                    self.metrics.made(pictures, start.elapsed());
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("making the pictures failed; the server goes on".to_owned()),
            };
            self.now.change(|now| *now = Work::default());
            let Some(reason) = refusal else { continue };
            let status = match self.abandoned.is_requested() {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::INTERNAL_SERVER_ERROR,
            };
            for row in &batch.rows {
                row.client.answer(Err(Refusal::new(status, reason.as_str())));
            }
        }
    }

    /// How many pictures are made at once: as many pixels as of the base's own size.
    fn batch_of(&self, recipe: &Recipe) -> usize {
        let pixels = |[height, width]: [usize; 2]| height * width;
        let own = pixels(self.base.picture_size());
        let wanted = recipe.sampling.size.map_or(own, pixels).max(1);
        (self.batch * own / wanted).clamp(1, self.batch)
    }

    /// Makes a batch and hands its pictures over; returns their number, which is 0 where everybody
    /// left.
    fn make(&self, batch: &Batch) -> Result<usize, MakeError> {
        let Batch { recipe, rows } = batch;
        let base = self.base_of(recipe)?;
        let sampling = Sampling { batch: rows.len(), ..recipe.sampling.clone() };
        let solver = base.solver(sampling.solver)?;
        let latents =
            sampling.size.map_or(Ok(base.latent_shape()), |size| base.latents_of(size))?;
        let steps = base.plan(sampling.steps, sampling.solver, latents)?.steps();
        let used = self.adapter.as_ref().zip(recipe.variant);
        let adapter =
            used.map(|(file, variant)| (file, file.adapted(Some(variant), sampling.steps)));
        let settings = Value::Null;
        let base = base.as_ref();
        let mut making = Making { base, sampling, solver, adapter, sought: None, settings };
        making.settings = making.settings(&self.around);

        self.now.change(|now| *now = Work { pictures: rows.len(), steps, ..Work::default() });
        let (stop, start) = (Stop::default(), Instant::now());
        let on_step = |state: &StepState| {
            self.metrics.steps.add(1);
            self.tell(rows, state, steps, start);
            self.queue.renumber();
            if self.abandoned.is_requested() || rows.iter().all(|row| row.client.is_gone()) {
                stop.request();
            }
        };
        let meter = Meter::default().showing(&on_step);
        let shots: Vec<Shot> = rows.iter().map(|row| row.shot.clone()).collect();
        let sampling = &making.sampling;
        let job = Job { base, sampling, shots: &shots, decoder: None, meter: &meter };
        let mut count = 0;
        let is_all = generate(making.way(), &job, &stop, &mut |shots, made| {
            for (image, (shot, row)) in to_images(made.images).iter().zip(shots.iter().zip(rows)) {
                let metadata = making.metadata(shot, image.dimensions(), None);
                let parameters = metadata.parameters.as_ref().map(ToString::to_string);
                row.client.answer(Ok(Picture {
                    index: row.index,
                    seed: shot.seed,
                    png: encode_png(image, &metadata),
                    parameters: parameters.unwrap_or_default(),
                }));
                count += 1;
            }
            Ok::<_, MakeError>(())
        })?;
        match is_all || !self.abandoned.is_requested() {
            true => Ok(count),
            false => Err(MakeError::Stopped),
        }
    }

    /// The base with the LoRA files of a recipe.
    fn base_of(&self, recipe: &Recipe) -> Result<Arc<dyn Base>, LoraError> {
        if recipe.loras.is_empty() {
            return Ok(self.base.clone());
        }
        let laid = recipe.loras.iter().map(|&(place, scale)| {
            let (laid, file) = &self.loras[place];
            (Laid { scale, ..laid.clone() }, file)
        });
        Ok(Arc::new(Overlaid::of(self.base.clone(), laid.collect(), &self.device)?))
    }

    /// Tells all who wait for a batch how far it is, and shows previews to those who want one.
    fn tell(&self, rows: &[Row], state: &StepState, steps: usize, start: Instant) {
        let step = state.i + 1;
        let of =
            |row: &Row| due(row.client.previews, step, steps).filter(|_| !row.client.is_gone());
        let shown: Vec<usize> = (0..rows.len()).filter(|k| of(&rows[*k]).is_some()).collect();
        let is_looked_at = self.now.is_looked_at() && due(LOOKS, step, steps).is_some();
        // Of a batch that nobody has asked to see, the first picture is enough.
        let decoded = if shown.is_empty() && is_looked_at { vec![0] } else { shown.clone() };
        let mut files = match decoded.is_empty() {
            true => Vec::new(),
            false => self.previews(select_rows(state.pred_original.clone(), &decoded)),
        };
        self.now.change(|now| {
            now.step = step;
            now.seconds = start.elapsed().as_secs_f64();
            now.preview = files.first().cloned().or(now.preview.take());
        });
        let mut files = shown.into_iter().zip(files.drain(..)).peekable();
        // The rows of a client stand side by side.
        for rows in rows.chunk_by(|a, b| Arc::ptr_eq(&a.client, &b.client)) {
            let client = &rows[0].client;
            let number = of(&rows[0]);
            let pictures = match number {
                Some(_) => {
                    rows.iter().filter_map(|row| Some((row.index, files.next()?.1))).collect()
                }
                None => Vec::new(),
            };
            client.tell(|progress| {
                (progress.step, progress.steps) = (step, steps);
                if let Some(number) = number {
                    progress.preview = Some(Arc::new(Preview { number, pictures }));
                }
            });
        }
    }

    /// PNG files of one-step estimates.
    fn previews(&self, estimates: Tensor<4>) -> Vec<Vec<u8>> {
        let [_, _, height, width] = estimates.dims();
        let largest = height.max(width);
        // Whole patches: a network may read several latents as one.
        let patch = self.base.patch();
        let small = |side: usize| match largest > PREVIEW_SIDE {
            true => (side * PREVIEW_SIDE / largest / patch).max(1) * patch,
            false => side,
        };
        let estimates = resize(estimates, small(height), small(width), Filter::Bilinear);
        let pictures = match &self.codec {
            Some(codec) => codec.decode(estimates),
            None => self.base.decode(estimates),
        };
        let encode = |image| encode_png(image, &Metadata::default());
        to_images(pictures).iter().map(encode).collect()
    }
}
