//! The stages, from their recipe to their products.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::{
    module::Module,
    nn::LinearConfig,
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    atomic::{self, WriteError},
    contract::Prediction,
    device,
    schedule::SchedulerConfig,
};
use hyperalign_models::{
    clip::{ClipConfig, ClipTextConfig},
    pipeline::{PipelineError, StableDiffusion},
    tokenizer::{Tokenizer, TokenizerError},
    unet::UnetConfig,
    vae::{AutoencoderKl, AutoencoderKlConfig},
    weights::{FileFloat, Folder, LoadError, SaveError, reinit, save},
};
use hyperalign_rewards::emoji::PairSet;
use serde_json::{Value, json};

use super::{
    AutoencoderObjective, DenoiserObjective, LatentSet, PreferenceModel, PreferenceObjective,
    TextToLatent, contents_outputs, fourier::with_fourier_positions, places_outputs, recipe,
};
use crate::{
    data::{
        base_batch,
        drawn::{Annotator, DrawError, Drawing, DrawnFile, DrawnPairs},
    },
    learner::{End, FitError, Outcome, Progress, Resume, Run, Schedule, Settings, Stop, fit},
};

/// Prompts between two lines of progress.
const DRAWN_LINE: usize = 100;

/// Seed of initial values and data.
pub(super) const SEED: u64 = 1;

/// A stage of pretraining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The autoencoder.
    Autoencoder,
    /// The text encoder and the denoiser.
    Denoiser,
    /// The proxy reward.
    Proxy,
    /// The preference model that nothing is trained against.
    HeldOut,
    /// The text encoders and the transformer of emoji-flux.
    Flow,
}

impl Stage {
    /// The stages of emoji-sd and of its judges, in an order in which they can be run.
    pub const EMOJI_SD: [Self; 4] = [Self::Autoencoder, Self::Denoiser, Self::Proxy, Self::HeldOut];
    /// Those of emoji-flux, which has the autoencoder and the judges of emoji-sd.
    pub const EMOJI_FLUX: [Self; 1] = [Self::Flow];

    /// The name on the command line and of the run's folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autoencoder => "autoencoder",
            Self::Denoiser => "denoiser",
            Self::Proxy => "proxy",
            Self::HeldOut => "heldout",
            Self::Flow => "flow",
        }
    }

    /// How the stage is trained unless told otherwise.
    pub fn settings(self) -> Settings {
        match self {
            Self::Autoencoder => Settings {
                schedule: Schedule::Cosine { warmup: 100, floor: 0.02 },
                shards: 1,
                ..recipe::settings(3200, 1.2e-3, 0.995)
            },
            Self::Denoiser => Settings { accumulate: 4, ..recipe::settings(6500, 1.5e-3, 0.998) },
            Self::Flow => recipe::settings(16_000, 1.0e-3, 0.999),
            Self::Proxy | Self::HeldOut => recipe::settings(6000, 7e-4, 0.998),
        }
    }
}

/// Where stages are run, and with what.
#[derive(Debug, Clone)]
pub struct Pretraining {
    /// Folder of the runs: logs and checkpoints.
    pub work: PathBuf,
    /// Folder of the products, `assets`.
    pub out: PathBuf,
    /// The plain device.
    pub device: Device,
    /// Ends the stage after the update at hand.
    pub stop: Stop,
    /// Where progress goes.
    pub progress: Progress,
}

/// Why a stage failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PretrainError {
    /// Training failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A product of an earlier stage cannot be read.
    #[error("an earlier stage's product cannot be read: {0}; run the stages in order")]
    Load(#[from] LoadError),
    /// A product cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A file of the product cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The folder of a product cannot be made.
    #[error("cannot make the folder `{}`: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The base is not there yet.
    #[error("{0}; run the stages in order")]
    Base(#[from] PipelineError),
    /// The base's own pictures cannot be made.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// The world's vocabulary makes no tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl Pretraining {
    /// Runs or continues `stage`, and writes its products once it is finished.
    ///
    /// # Errors
    ///
    /// Fails if training does, or files cannot be read or written.
    pub fn run(&self, stage: Stage, settings: &Settings) -> Result<End, PretrainError> {
        match stage {
            Stage::Autoencoder => self.autoencoder(settings),
            Stage::Denoiser => self.denoiser(settings),
            Stage::Proxy => self.preference(stage, PairSet::Proxy, settings),
            Stage::HeldOut => self.preference(stage, PairSet::HeldOut, settings),
            Stage::Flow => self.flow(settings),
        }
    }

    /// Where emoji-sd is.
    pub(super) fn base(&self) -> PathBuf {
        self.out.join("emoji-sd")
    }

    fn autoencoder(&self, settings: &Settings) -> Result<End, PretrainError> {
        let config: AutoencoderKlConfig = recipe::read(recipe::vae());
        let device = self.device.clone().autodiff();
        let vae = reinit(config.init(&device), SEED);
        let objective = AutoencoderObjective { seed: SEED, batch: 8, kl_weight: 2e-4, device };
        let outcome = fit(Arc::new(objective), vae, settings, &self.fitting(Stage::Autoencoder))?;
        if outcome.end == End::Finished {
            let vae = outcome.learned();
            let sample: Vec<u32> = (0..512).collect();
            let latents = sample.chunks(64).map(|indices| {
                let (images, _) = base_batch(recipe::WORLD, SEED + 1, indices, &self.device);
                vae.encode(images).mean
            });
            let latents = Tensor::cat(latents.collect(), 0);
            let vae = vae.with_normalised_latents(latents);
            self.component(&self.base().join("vae"), &vae, &recipe::vae(), DIFFUSERS)?;
        }
        Ok(outcome.end)
    }

    fn denoiser(&self, settings: &Settings) -> Result<End, PretrainError> {
        let tokenizer = self.tokenizer()?;
        let data = self.latents(&tokenizer)?;
        let scheduler: SchedulerConfig = recipe::read(recipe::scheduler());
        let text: ClipTextConfig = recipe::read(recipe::text_encoder(tokenizer.vocab_size()));
        let unet: UnetConfig = recipe::read(recipe::unet());
        let device = self.device.clone().autodiff();
        let model = TextToLatent {
            text_encoder: reinit(text.init(&device), SEED),
            unet: reinit(unet.init(&device), SEED),
        };
        let empty = tokenizer.encode(&[""])?.ids.swap_remove(0);
        let objective = DenoiserObjective {
            seed: SEED,
            batch: recipe::DENOISER_BATCH,
            caption_dropout: 0.1,
            related: recipe::RELATED_CAPTIONS,
            sides_weight: recipe::SIDES_WEIGHT,
            data,
            empty,
            process: scheduler.process().expect("the recipe's own schedule"),
            prediction: Prediction::VPrediction,
            train_steps: 1000,
            device,
        };
        let outcome = fit(Arc::new(objective), model, settings, &self.fitting(Stage::Denoiser))?;
        if outcome.end == End::Finished {
            self.write_base(&outcome, &tokenizer)?;
        }
        Ok(outcome.end)
    }

    /// The training set of a denoiser.
    pub(super) fn latents(&self, tokenizer: &Tokenizer) -> Result<LatentSet, PretrainError> {
        // A GPU would compile the encoder's kernels for this alone.
        let device = device::open(device::CPU).unwrap_or_else(|_| self.device.clone());
        let vae = AutoencoderKl::from_folder(&Folder::disk(self.base()), "vae", &device)?;
        Ok(LatentSet::build(&vae, tokenizer, SEED, 24_000, &device))
    }

    fn write_base(
        &self,
        outcome: &Outcome<TextToLatent>,
        tokenizer: &Tokenizer,
    ) -> Result<(), PretrainError> {
        let learned = outcome.learned();
        let base = self.base();
        let text = recipe::text_encoder(tokenizer.vocab_size());
        self.component(&base.join("text_encoder"), &learned.text_encoder, &text, TRANSFORMERS)?;
        self.component(&base.join("unet"), &learned.unet, &recipe::unet(), DIFFUSERS)?;
        self.tokenizer_files(&base.join("tokenizer"), tokenizer)?;
        write_json(&base.join("scheduler/scheduler_config.json"), &recipe::scheduler())?;
        let index = json!({
            "_class_name": "StableDiffusionPipeline",
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        });
        write_json(&base.join("model_index.json"), &index)
    }

    fn preference(
        &self,
        stage: Stage,
        pairs: PairSet,
        settings: &Settings,
    ) -> Result<End, PretrainError> {
        let tokenizer = self.tokenizer()?;
        let config = recipe::preference(tokenizer.vocab_size());
        let clip: ClipConfig = recipe::read(config.clone());
        let device = self.device.clone().autodiff();
        let seed = SEED + 10 * stage as u64;
        let readout =
            |outputs| LinearConfig::new(clip.vision_config.hidden_size, outputs).init(&device);
        let model = PreferenceModel {
            clip: clip.init(&device),
            places: readout(places_outputs()),
            contents: readout(contents_outputs()),
        };
        let model = with_fourier_positions(reinit(model, seed), &device);
        let from = recipe::RENDERED_UPDATES;
        let drawn = match settings.updates > from {
            true => match self.drawn(pairs, settings.shards)? {
                Some(drawn) => Some((drawn, from)),
                None => return Ok(End::Interrupted),
            },
            false => None,
        };
        let objective = PreferenceObjective {
            seed,
            pairs,
            captioned: 48,
            preferences: 24,
            drawn,
            places_weight: recipe::PLACES_WEIGHT,
            contents_weight: recipe::CONTENTS_WEIGHT,
            tokenizer: tokenizer.clone(),
            device,
        };
        let outcome = fit(Arc::new(objective), model, settings, &self.fitting(stage))?;
        if outcome.end == End::Finished {
            let out = self.out.join(format!("emoji-{}", stage.name()));
            self.component(&out, &outcome.learned().clip, &config, TRANSFORMERS)?;
            self.tokenizer_files(&out, &tokenizer)?;
            let preprocessor = json!({
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
                "size": {"shortest_edge": 64},
            });
            write_json(&out.join("preprocessor_config.json"), &preprocessor)?;
        }
        Ok(outcome.end)
    }

    /// Pairs of the base's own pictures, for one of the preference models; `None` if stopped.
    fn drawn(&self, pairs: PairSet, threads: usize) -> Result<Option<DrawnPairs>, PretrainError> {
        let base = StableDiffusion::from_folder(&Folder::disk(self.base()), &self.device)?;
        // Other pictures and another person for each of the two.
        let seed = match pairs {
            PairSet::Proxy => 11,
            PairSet::HeldOut => 12,
        };
        let annotator = Annotator { seed, ..Annotator::CAREFUL };
        let drawing = Drawing::new(recipe::WORLD, seed, recipe::DRAWS);
        let drawing = Drawing { predictions: true, ..drawing };
        let count = recipe::DRAWN_PROMPTS;
        let file = DrawnFile::new(&self.work, "pairs", base.hash(), drawing, count);
        let mut told = |done: usize| {
            if done.is_multiple_of(DRAWN_LINE) {
                self.progress.line(&format!("pictures of the base: {done} of {count} prompts"));
            }
        };
        let drawn = file.read_or_draw(&base, threads, &self.stop, &mut told)?;
        Ok(drawn.map(|drawn| DrawnPairs::new(drawn, file.rows(), annotator)))
    }

    pub(super) fn tokenizer(&self) -> Result<Tokenizer, PretrainError> {
        let words = recipe::WORLD.vocabulary();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(Tokenizer::from_words(&words, recipe::CONTEXT_LENGTH)?)
    }

    pub(super) fn tokenizer_files(
        &self,
        dir: &Path,
        tokenizer: &Tokenizer,
    ) -> Result<(), PretrainError> {
        write(&dir.join("tokenizer.json"), tokenizer.to_json()?.as_bytes())?;
        let config = json!({
            "model_max_length": recipe::CONTEXT_LENGTH,
            "tokenizer_class": "PreTrainedTokenizerFast",
        });
        write_json(&dir.join("tokenizer_config.json"), &config)
    }

    pub(super) fn component<M: Module>(
        &self,
        dir: &Path,
        module: &M,
        config: &Value,
        file: &str,
    ) -> Result<(), PretrainError> {
        write_json(&dir.join("config.json"), config)?;
        Ok(save(module, &dir.join(file), FileFloat::F16, &BTreeMap::new())?)
    }

    pub(super) fn fitting(&self, stage: Stage) -> Run {
        Run {
            resume: Resume::Continue,
            stop: self.stop.clone(),
            progress: self.progress.clone(),
            ..Run::new(self.work.join(stage.name()), stage.name())
        }
    }
}

pub(super) const DIFFUSERS: &str = "diffusion_pytorch_model.safetensors";
pub(super) const TRANSFORMERS: &str = "model.safetensors";

pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), PretrainError> {
    let text = serde_json::to_string_pretty(value).expect("plain data") + "\n";
    write(path, text.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PretrainError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)
        .map_err(|source| PretrainError::Folder { path: dir.to_owned(), source })?;
    Ok(atomic::write(path, bytes)?)
}
