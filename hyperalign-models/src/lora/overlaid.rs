//! A base with LoRA files laid over it.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::{Answer, Conditioning, Decoder, Denoiser, PassStart, Prediction, TextWatch},
    diffusion::Process,
    lora::{LoraSet, LoraTarget},
    noise::Stream,
    schedule::{Scheduler, Solver, SolverChoice},
};

use super::{Layers, LoraError, LoraFile, Part};
use crate::{
    base::{
        Adaptable, Base, BaseError, Cut, Guided, Identity, LatentSpace, Plans, Preset,
        PromptEncoder,
    },
    hypernet::Perception,
    vae::AutoencoderKlConfig,
    weights::{sha256, sha256_of_file},
};

/// A LoRA file, and how strongly it is laid over a base.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Laid {
    /// The file.
    pub file: PathBuf,
    /// What its updates are multiplied by.
    pub scale: f64,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// A base with LoRA files laid over it, which is a base: whoever samples, searches, trains or serves
/// with it need not know.
///
/// No weight is changed. The updates go to the networks beside their input; where a hypernetwork
/// gives one too, both add up. What the hypernetwork sees of a sample, and the autoencoder, are
/// those of the bare base.
pub struct Overlaid {
    base: Arc<dyn Base>,
    /// In the order of their fingerprints.
    laid: Vec<Laid>,
    /// Of the denoiser.
    denoiser: LoraSet,
    /// Of the text encoders, whose names the paths begin with.
    text: LoraSet,
    hash: String,
}

impl Overlaid {
    /// Lays `files`, each with its scale, over `base`, whose networks are on `device`. Their order makes no difference, not even in
    /// rounding.
    ///
    /// # Errors
    ///
    /// Fails for a file that cannot be applied whole.
    pub fn new(
        base: Arc<dyn Base>,
        files: &[(PathBuf, f64)],
        device: &Device,
    ) -> Result<Self, LoraError> {
        let layers = base.lora_layers();
        let layers = layers.ok_or_else(|| LoraError::NoLayers { base: base.name().to_owned() })?;
        let mut read = Vec::new();
        for (path, scale) in files {
            let file = LoraFile::open_for(path, &layers, base.as_ref(), device)?;
            let io = |source| crate::weights::LoadError::Io { path: path.clone(), source };
            let sha256 = sha256_of_file(path).map_err(io)?;
            read.push((Laid { file: path.clone(), scale: *scale, sha256 }, file));
        }
        Self::of(base, read.iter().map(|(laid, file)| (laid.clone(), file)).collect(), device)
    }

    /// [`new`](Self::new) with files that were read for `base` before, for whoever lays the same
    /// ones again and again.
    ///
    /// # Errors
    ///
    /// Fails for a base that no LoRA file names the layers of.
    pub fn of(
        base: Arc<dyn Base>,
        mut read: Vec<(Laid, &LoraFile)>,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let layers = base.lora_layers();
        let layers = layers.ok_or_else(|| LoraError::NoLayers { base: base.name().to_owned() })?;
        read.sort_by(|(a, _), (b, _)| a.sha256.cmp(&b.sha256).then(a.scale.total_cmp(&b.scale)));
        let (mut denoiser, mut text) = (LoraSet::default(), LoraSet::default());
        for (laid, file) in &read {
            let set = |part| file.set(&layers, part, laid.scale, device);
            denoiser = denoiser.stacked(&set(Part::Denoiser));
            for part in [Part::TextEncoder, Part::TextEncoder2] {
                let name = part.name(layers.family());
                text = text.stacked(&LoraSet::new(
                    set(part).iter().map(|(path, delta)| (format!("{name}.{path}"), delta.clone())),
                ));
            }
        }
        let laid: Vec<Laid> = read.into_iter().map(|(laid, _)| laid).collect();
        let parts = laid.iter().map(|laid| format!("{} {}\n", laid.sha256, laid.scale));
        let hash = sha256(format!("{}\n{}", base.hash(), parts.collect::<String>()));
        Ok(Self { base, laid, denoiser, text, hash })
    }

    /// The updates of the files, with those of `lora`.
    fn with(&self, lora: Option<&LoraSet>) -> LoraSet {
        match lora {
            Some(lora) => self.denoiser.stacked(lora),
            None => self.denoiser.clone(),
        }
    }
}

impl Denoiser for Overlaid {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        let lora = self.with(lora);
        self.base.answer(sample, timesteps, conditioning, Some(&lora), watch)
    }

    fn shows_text(&self) -> bool {
        self.base.shows_text()
    }

    fn prediction(&self) -> Prediction {
        self.base.prediction()
    }
}

impl Guided for Overlaid {
    fn guided(&self, unconditional: Conditioning, guidance_scale: f64) -> Box<dyn Denoiser + '_> {
        let denoiser = self.base.guided(unconditional, guidance_scale);
        Box::new(GuidedOverlaid { overlaid: self, denoiser })
    }

    fn reads_unconditional(&self) -> bool {
        self.base.reads_unconditional()
    }
}

/// The base under guidance, with the updates of the files.
struct GuidedOverlaid<'a> {
    overlaid: &'a Overlaid,
    denoiser: Box<dyn Denoiser + 'a>,
}

impl Denoiser for GuidedOverlaid<'_> {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        let lora = self.overlaid.with(lora);
        self.denoiser.answer(sample, timesteps, conditioning, Some(&lora), watch)
    }

    fn shows_text(&self) -> bool {
        self.denoiser.shows_text()
    }

    fn prediction(&self) -> Prediction {
        self.denoiser.prediction()
    }
}

impl Decoder for Overlaid {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.base.decode(latents)
    }
}

impl Identity for Overlaid {
    fn name(&self) -> &str {
        self.base.name()
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn weights_hash(&self) -> &str {
        self.base.weights_hash()
    }

    fn laid(&self) -> &[Laid] {
        &self.laid
    }

    fn passed_over(&self) -> &[String] {
        self.base.passed_over()
    }
}

impl Plans for Overlaid {
    fn process(&self) -> &Process {
        self.base.process()
    }

    fn draw_timestep(&self, stream: &mut Stream) -> f64 {
        self.base.draw_timestep(stream)
    }

    fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
        latents: [usize; 3],
    ) -> Result<Box<dyn Scheduler>, BaseError> {
        self.base.plan(steps, choice, latents)
    }

    fn solver(&self, choice: SolverChoice) -> Result<Solver, BaseError> {
        self.base.solver(choice)
    }

    fn preset(&self) -> Preset {
        self.base.preset()
    }
}

impl PromptEncoder for Overlaid {
    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError> {
        self.base.encode_prompts_with(prompts, &self.text)
    }

    fn encode_prompts_with(
        &self,
        prompts: &[String],
        lora: &LoraSet,
    ) -> Result<Conditioning, BaseError> {
        self.base.encode_prompts_with(prompts, &self.text.stacked(lora))
    }

    /// A base that others hold too keeps its encoders.
    fn read_ahead(&mut self, prompts: &[String], lora: &LoraSet) -> Result<(), BaseError> {
        let lora = self.text.stacked(lora);
        Arc::get_mut(&mut self.base).map_or(Ok(()), |base| base.read_ahead(prompts, &lora))
    }

    fn cut_off(&self, prompts: &[String]) -> Result<Vec<Cut>, BaseError> {
        self.base.cut_off(prompts)
    }

    fn token_places(&self, before: &str, through: &str) -> Range<usize> {
        self.base.token_places(before, through)
    }

    fn context_dim(&self) -> usize {
        self.base.context_dim()
    }
}

impl LatentSpace for Overlaid {
    fn latent_shape(&self) -> [usize; 3] {
        self.base.latent_shape()
    }

    fn downscale(&self) -> usize {
        self.base.downscale()
    }

    fn patch(&self) -> usize {
        self.base.patch()
    }

    fn picture_size(&self) -> [usize; 2] {
        self.base.picture_size()
    }

    fn encode_images(&self, images: Tensor<4>) -> Tensor<4> {
        self.base.encode_images(images)
    }

    fn autoencoder(&self) -> Option<&AutoencoderKlConfig> {
        self.base.autoencoder()
    }
}

impl Perception for Overlaid {
    fn features_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<4> {
        self.base.features_at(depth, sample, timesteps, conditioning)
    }

    fn depths(&self) -> usize {
        self.base.depths()
    }

    fn time_scale(&self) -> f64 {
        self.base.time_scale()
    }
}

impl Adaptable for Overlaid {
    fn lora_targets(&self) -> Vec<LoraTarget> {
        self.base.lora_targets()
    }

    fn text_targets(&self) -> Vec<LoraTarget> {
        self.base.text_targets()
    }

    fn lora_layers(&self) -> Option<Layers> {
        self.base.lora_layers()
    }

    fn save_changed(&self, update: &LoraSet, path: &Path) -> Result<(), BaseError> {
        if !self.text.is_empty() {
            let name = self.base.name().to_owned();
            return Err(BaseError::of(LoraError::OverText { name }));
        }
        self.base.save_changed(&self.denoiser.stacked(update), path)
    }

    fn feature_dim(&self, depth: Option<usize>) -> usize {
        self.base.feature_dim(depth)
    }
}
