//! The measurements, each through the library's own entry point.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{AdapterSource, Denoiser, NoAdapter},
    noise::{Purpose, Stream, normal},
    sampler::unobserved,
};
use hyperalign_models::{
    base::Base,
    generate::{Generation, Sampling},
    hypernet::{Adapter, AdapterMeta, HypernetInput, Variant},
};
use hyperalign_rewards::Prompt;
use hyperalign_train::{
    align::AlignSettings,
    data::TrainingData,
    learner::{FitError, NonFinite, Run, Settings, fit, log_rows},
    method::{Materials, Method, Setup},
};
use miette::IntoDiagnostic;
use serde::Serialize;

use super::subject::{Lessons, SEED, Subject};
use super::timing::{Repeats, Timing, Work, time, wait};

/// Key steps of P.
const KEY_STEPS: usize = 3;

/// The middle of the times that the hypernetwork's sinusoids are made for.
const MIDDLE: f64 = 500.0;

/// One line of the answer.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// What was done.
    pub what: String,
    /// Seconds.
    pub seconds: Timing,
    /// The median over that of the group's first line.
    pub over_first: f64,
}

/// A training step.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Training {
    /// Seconds of an update, with its share of a rollout.
    pub seconds: Option<Timing>,
    /// The reward.
    pub reward: String,
    /// Why there are no or fewer updates: f16 cannot hold every number of the optimizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The largest amount of memory that the process has held so far, models included, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// What the device's allocator has reserved, in bytes, where it tells.
    pub device_memory_bytes: Option<u64>,
}

/// Sampling of `batch` pictures in `steps` steps without decoding: the base first, then S, P and I, and
/// S of a hypernetwork that adapts what comes behind its encoder alone.
pub(super) fn sampling(
    subject: &Subject,
    steps: usize,
    batch: usize,
    repeats: Repeats,
) -> miette::Result<Vec<Row>> {
    let adapter = fresh(subject, &subject.adapter)?;
    let behind = subject.behind().map(|meta| fresh(subject, &meta)).transpose()?;
    let base = subject.base.as_ref();
    let settings = Sampling::new(steps, subject.trajectory.guidance_scale);
    let prompts = vec![subject.prompt.clone(); batch];
    let seeds: Vec<u64> = (0..batch as u64).collect();
    let mut key_steps: Vec<usize> = (0..KEY_STEPS).map(|k| k * steps / KEY_STEPS).collect();
    key_steps.dedup();
    let mut samplers = vec![("base", None)];
    samplers.extend(
        [Variant::S, Variant::P, Variant::I]
            .map(|variant| (variant.label(), Some((&adapter, variant)))),
    );
    let name = "hyperalign-s, behind its encoder";
    samplers.extend(behind.iter().map(|behind| (name, Some((behind, Variant::S)))));
    let sampling = |(what, adapted): (&'static str, Option<_>)| -> Work {
        let (settings, prompts, seeds) = (&settings, &prompts, &seeds);
        let key_steps = key_steps.clone();
        let work = move || {
            let source: Box<dyn AdapterSource> = match adapted {
                Some((adapter, variant)) => {
                    Adapter::source(adapter, base, variant, key_steps.clone())
                }
                None => Box::new(NoAdapter),
            };
            let generation = Generation::new(base, settings, prompts).into_diagnostic()?;
            wait(generation.run(source.as_ref(), seeds, &mut unobserved).sample);
            Ok(())
        };
        (what, Box::new(work))
    };
    let latents = normal(row(base), streams(batch), &subject.device);
    let decode = || {
        wait(base.decode(latents.clone()));
        Ok(())
    };
    let mut works: Vec<Work> = samplers.into_iter().map(sampling).collect();
    works.push(("decoding (not in the above)", Box::new(decode)));
    Ok(relative(time(repeats, works)?))
}

/// Single calls with `batch` rows, one of the network first.
pub(super) fn calls(subject: &Subject, batch: usize, repeats: Repeats) -> miette::Result<Vec<Row>> {
    let adapter = fresh(subject, &subject.adapter)?;
    let base = subject.base.as_ref();
    let prompts = vec![subject.prompt.clone(); batch];
    let conditioning = base.encode_prompts(&prompts).into_diagnostic()?;
    let sample = normal(row(base), streams(batch), &subject.device);
    let timesteps = Tensor::<1>::full([batch], MIDDLE / base.time_scale(), &subject.device);
    let features = base.features(sample.clone(), timesteps.clone(), &conditioning);
    let context = conditioning.context.clone();
    let lora = adapter.emit(base, sample.clone(), timesteps.clone(), &conditioning).lora;
    let guided = base.guided(base.unconditional(), subject.trajectory.guidance_scale);
    let predict = |denoiser: &dyn Denoiser, lora| {
        wait(denoiser.predict(sample.clone(), timesteps.clone(), &conditioning, lora));
    };
    let hypernet = || {
        if let Some(hypernet) = adapter.hypernet() {
            wait(hypernet.factors(HypernetInput {
                features: features.clone(),
                context: context.clone(),
                timesteps: timesteps.clone(),
            }));
        }
    };
    let emit = || {
        let factors = adapter.emit(base, sample.clone(), timesteps.clone(), &conditioning).factors;
        if let Some(factors) = factors {
            wait(factors);
        }
    };
    let encode = || {
        // Checked above.
        if let Ok(conditioning) = base.encode_prompts(&prompts) {
            wait(conditioning.context);
        }
    };
    let see = || wait(base.features(sample.clone(), timesteps.clone(), &conditioning));
    let [plain, updated, under_guidance] = subject.calls;
    let calls: [(&'static str, &dyn Fn()); 7] = [
        (plain, &|| predict(base, None)),
        (updated, &|| predict(base, Some(&lora))),
        (under_guidance, &|| predict(&guided, None)),
        ("perception encoder", &see),
        ("hypernetwork without its encoder", &hypernet),
        ("hypernetwork with its encoder", &emit),
        ("text encoder", &encode),
    ];
    let works = calls.into_iter().map(|(name, call)| -> Work {
        let work = move || {
            call();
            Ok(())
        };
        (name, Box::new(work))
    });
    Ok(relative(time(repeats, works.collect())?))
}

/// Training steps with the losses of HyperAlign, the rollout included, in a folder that is thrown
/// away.
pub(super) fn training(subject: &Subject, repeats: Repeats) -> miette::Result<Training> {
    let device = subject.device.clone();
    let adapter = subject.adapter.init(SEED, &device.clone().autodiff()).into_diagnostic()?;
    let Lessons { reward, preferred } = (subject.lessons)(subject.base.as_ref(), &device)?;
    let reward_name = reward.name().to_owned();
    let materials = Materials {
        base: subject.base.clone(),
        reward: Some(reward),
        reward_decoder: None,
        prompts: Prompt::of(&[&subject.prompt]),
        data: TrainingData::Pictures(preferred),
        sample_prompts: Vec::new(),
        held_out: None,
        attribution: None,
        device: device.clone(),
    };
    let trajectory = subject.trajectory.clone();
    let objective = subject.method.objective(Setup {
        seed: SEED,
        materials,
        trajectory,
        threads: subject.shards,
        micro_steps: 1,
    });
    // A repeat is a rollout with all updates that learn from it.
    let span = subject.method.updates_of_a_rollout() as usize;
    let updates = ((repeats.warmup + repeats.timed) * span) as u64;
    let AlignSettings { network, training, .. } = AlignSettings::default();
    let settings = Settings {
        updates,
        checkpoint_every: updates,
        shards: subject.shards,
        ..network.rates(training)
    };
    let dir = tempfile::tempdir().into_diagnostic()?;
    let outcome = fit(Arc::new(objective), adapter, &settings, &Run::new(dir.path(), "bench"));
    let stopped = match outcome {
        Ok(_) => None,
        Err(FitError::NonFinite(NonFinite { update, part, quantity, value })) => {
            Some(format!("the {quantity} of `{part}` is {value} in update {update}"))
        }
        Err(error) => return Err(error).into_diagnostic(),
    };
    let rows = log_rows(dir.path()).into_diagnostic()?;
    let seconds: Vec<f64> = rows.iter().filter_map(|row| row["seconds"].as_f64()).collect();
    let spans = seconds.chunks_exact(span).skip(repeats.warmup);
    let mean = spans.map(|seconds| seconds.iter().sum::<f64>() / span as f64);
    Ok(Training {
        seconds: Timing::of(mean.collect()),
        reward: reward_name,
        stopped,
        peak_memory_bytes: rows.last().and_then(|row| row["peak_memory_bytes"].as_u64()),
        device_memory_bytes: device.memory_pool_usage().map(|usage| usage.bytes_reserved),
    })
}

/// The hypernetwork before training: its update is nothing, and takes as long.
fn fresh(subject: &Subject, meta: &AdapterMeta) -> miette::Result<Adapter> {
    let device = subject.device.clone().autodiff();
    Ok(meta.init(SEED, &device).into_diagnostic()?.valid())
}

fn row(base: &dyn Base) -> [usize; 4] {
    let [channels, height, width] = base.latent_shape();
    [1, channels, height, width]
}

fn streams(batch: usize) -> impl Iterator<Item = Stream> {
    (0..batch as u32).map(|k| Stream::new(SEED, Purpose::Start, 0, k))
}

fn relative(rows: Vec<(&'static str, Timing)>) -> Vec<Row> {
    let first = rows.first().map_or(1.0, |(_, timing)| timing.median);
    rows.into_iter()
        .map(|(what, seconds)| Row {
            what: what.to_owned(),
            seconds,
            over_first: seconds.median / first,
        })
        .collect()
}
