//! Pictures are made, and written with what they were made by.

use hyperalign_core::contract::Decoder;
use hyperalign_core::image::{self, Metadata, Parameters};
use hyperalign_core::schedule::Solver;
use hyperalign_core::stop::Stop;
use hyperalign_models::base::Base;
use hyperalign_models::generate::{
    Adapted, AdapterFile, Cost, Job, Meter, Plain, Sampling, Shot, Sought, Way, generate,
};
use hyperalign_models::hypernet::Variant;
use hyperalign_rewards::emoji;
use indicatif::ProgressBar;
use miette::IntoDiagnostic;
use serde_json::{Value, json};

use super::SampleError;
use super::pictures::Picture;
use crate::args::VariantChoice;

/// What all pictures of the call are made by.
pub(super) struct Making<'a> {
    pub base: &'a dyn Base,
    pub sampling: Sampling,
    pub solver: Solver,
    pub adapter: Option<(&'a AdapterFile, Adapted<'a>)>,
    pub sought: Option<Sought<'a>>,
    /// What their files say about that.
    pub settings: Value,
}

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
    let way: &dyn Way = match (&making.sought, &making.adapter) {
        (Some(sought), _) => sought,
        (None, Some((_, adapted))) => adapted,
        (None, None) => &Plain,
    };
    let (mut written, mut left) = (Written::default(), pictures.iter());
    let is_all = generate(way, &job, stop, &mut |_, batch| -> Result<(), SampleError> {
        written.cost += batch.cost;
        for (k, image) in image::to_images(batch.images).iter().enumerate() {
            let Some(picture) = left.next() else { break };
            let note = batch.notes.get(k);
            let metadata = metadata(picture, image.dimensions(), making, note);
            image::write_png(&picture.file, image, &metadata)?;
            written.pictures += 1;
            written.notes.extend(note.cloned());
        }
        Ok(())
    })?;
    Ok(Written { is_all, ..written })
}

/// What the picture's file says about how it was made.
fn metadata(
    picture: &Picture,
    size: (u32, u32),
    making: &Making<'_>,
    note: Option<&Value>,
) -> Metadata {
    let Making { base, sampling, solver, adapter, sought, settings } = making;
    let mut extra = Vec::new();
    if let Some(sought) = sought {
        extra.push(("Method".to_owned(), sought.method.name().to_owned()));
        extra.push(("Reward".to_owned(), sought.reward.name().to_owned()));
    }
    if let Some((file, adapted)) = adapter {
        extra.push(("Variant".to_owned(), adapted.variant.label().to_owned()));
        extra.push(("Adapter".to_owned(), file.place.to_string()));
    }
    for laid in base.laid() {
        extra.push(("Lora".to_owned(), format!("{}: {}", laid.file.display(), laid.scale)));
    }
    let parameters = Parameters {
        prompt: picture.prompt.clone(),
        negative_prompt: sampling.negative_prompt.clone(),
        steps: sampling.steps,
        sampler: solver.label().to_owned(),
        cfg_scale: sampling.guidance_scale,
        seed: picture.seed,
        size,
        model_hash: base.weights_hash().chars().take(10).collect(),
        model: base.name().to_owned(),
        extra,
    };
    let mut everything = settings.clone();
    everything["prompt"] = picture.prompt.as_str().into();
    everything["seed"] = picture.seed.into();
    if let Some(note) = note {
        everything["found"] = note.clone();
    }
    if hyperalign_models::embedded::folder(base.name()).is_some() {
        everything["attribution"] = emoji::ATTRIBUTION.into();
    }
    Metadata { parameters: Some(parameters), hyperalign: Some(everything) }
}

/// What all pictures of the call have in common, in the words of the flags.
///
/// # Errors
///
/// Fails if the adapter's file cannot be read.
pub(super) fn settings(making: &Making<'_>) -> miette::Result<Value> {
    let Making { base, sampling, solver, adapter, sought, .. } = making;
    let variant = match adapter {
        Some((_, adapted)) => json!(adapted.variant),
        None => json!(VariantChoice::None.to_string()),
    };
    let sha256 = match adapter {
        Some((file, _)) => Some(file.place.sha256().into_diagnostic()?),
        None => None,
    };
    let keyed = adapter.as_ref().filter(|(_, adapted)| adapted.variant == Variant::P);
    let mut settings = json!({
        "program": concat!("hyperalign ", env!("CARGO_PKG_VERSION")),
        "base": base.name(),
        "base_hash": base.weights_hash(),
        "variant": variant,
        "method": sought.as_ref().map(|sought| &sought.method),
        "reward": sought.as_ref().map(|sought| sought.reward.name()),
        "reward_version": sought.as_ref().map(|sought| sought.reward.version()),
        "budget": sought.as_ref().map(|sought| sought.budget),
        "adapter": adapter.as_ref().map(|(file, _)| file.place.to_string()),
        "adapter_sha256": sha256,
        "key_steps": keyed.map(|(_, adapted)| &adapted.key_steps),
        "sampler": solver.name(),
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "negative_prompt": sampling.negative_prompt,
        "eta": sampling.solver.eta.or(solver.default_eta()),
        "size": sampling.size.unwrap_or(base.picture_size()),
    });
    if !base.laid().is_empty() {
        settings["loras"] = json!(base.laid());
    }
    Ok(settings)
}
