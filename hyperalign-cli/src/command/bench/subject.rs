//! What is timed: a base, a fresh hypernetwork on it, and what a training step needs.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::Prediction,
    noise::{Purpose, Stream, normal},
    resize::{Filter, resize},
    schedule::SchedulerConfig,
};
use hyperalign_models::{
    base::{Adaptable, Base, PromptEncoder},
    clip::{ClipConfig, ClipModel, ClipTextConfig},
    embedded,
    hypernet::{AdapterKind, AdapterMeta, HypernetConfig, Variant},
    pipeline::{Formats, StableDiffusion},
    tokenizer::Tokenizer,
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{Format, reinit, reinit_in},
};
use hyperalign_rewards::{ClipReward, Preprocessing, Prompt, Reward, emoji};
use hyperalign_train::{
    align::AlignSettings,
    data::{EmojiPreferred, PreferredData},
    method::{HyperAlignSettings, TrajectorySettings, Views},
    pretrain::recipe,
};
use miette::IntoDiagnostic;

use crate::base;

/// Seed of all random weights and data.
pub(super) const SEED: u64 = 1;
/// The prompt of every picture.
pub(super) const PROMPT: &str = "a red heart to the left of a dog";
/// Tokens of a prompt of Stable Diffusion 1.5.
const SD15_TOKENS: usize = 77;

/// Calls of a U-Net, which guidance makes of twice the rows.
const UNET_CALLS: [&str; 3] = ["U-Net", "U-Net with an update", "U-Net, guided (twice the rows)"];

/// Everything that one size of model is timed with.
pub(super) struct Subject {
    pub base: Arc<dyn Base>,
    pub device: Device,
    /// Where the weights come from.
    pub weights: String,
    pub adapter: AdapterMeta,
    /// What to call a call of the network, one with an update and one under guidance.
    pub calls: [&'static str; 3],
    pub prompt: String,
    pub method: HyperAlignSettings,
    pub trajectory: TrajectorySettings,
    /// Threads that share a training step.
    pub shards: usize,
    /// What training steps learn from; made when they are timed, for it is as large as the base.
    pub lessons: fn(&dyn Base, &Device) -> miette::Result<Lessons>,
}

/// What a training step learns from.
pub(super) struct Lessons {
    pub reward: Arc<dyn Reward>,
    pub preferred: Arc<dyn PreferredData>,
}

impl Subject {
    /// The hypernetwork whose encoder ends a block sooner, with the layers behind that end alone: the
    /// base's own pass is what it reads.
    pub(super) fn behind(&self) -> Option<AdapterMeta> {
        let AdapterKind::Hypernet(config) = &self.adapter.network else { return None };
        let depth = Some(self.base.depths().checked_sub(1)?);
        let mut config = config.clone();
        config.targets.retain(|target| self.base.comes_behind(depth, &target.path));
        let feature_dim = self.base.feature_dim(depth);
        let config = HypernetConfig { encoder_depth: depth, feature_dim, ..config };
        Some(AdapterMeta { network: AdapterKind::Hypernet(config), ..self.adapter.clone() })
    }

    /// The embedded world's base as `hyperalign train` aligns it; where this program has none,
    /// random weights of the same sizes.
    pub(super) fn emoji(format: Format, device: &Device) -> miette::Result<Self> {
        let tokenizer = words(recipe::CONTEXT_LENGTH)?;
        let (base, base_weights) = match base::embedded_base("emoji-sd") {
            Some(folder) => {
                let base = StableDiffusion::from_folder_in(&folder, &Formats::all(format), device)
                    .into_diagnostic()?;
                (base.named("emoji-sd"), "the embedded base".to_owned())
            }
            None => {
                let base = StableDiffusion::new(
                    "emoji-sd (random)",
                    tokenizer.clone(),
                    random_in(
                        recipe::read::<ClipTextConfig>(recipe::text_encoder(
                            tokenizer.vocab_size(),
                        ))
                        .init(device),
                        format,
                    ),
                    random_in(recipe::read::<UnetConfig>(recipe::unet()).init(device), format),
                    random_in(
                        recipe::read::<AutoencoderKlConfig>(recipe::vae()).init(device),
                        format,
                    ),
                    recipe::read(recipe::scheduler()),
                    device,
                );
                let told = "random weights of emoji-sd's size (this program has no embedded base)";
                (base.into_diagnostic()?, told.to_owned())
            }
        };
        let settings = AlignSettings::default();
        let network = settings.network.kind(&base).into_diagnostic()?;
        Ok(Self {
            adapter: AdapterMeta::new(base.name(), "", Variant::S, network),
            base: Arc::new(base),
            device: device.clone(),
            calls: UNET_CALLS,
            weights: base_weights,
            prompt: PROMPT.to_owned(),
            method: HyperAlignSettings::default(),
            trajectory: settings.trajectory,
            shards: settings.training.shards,
            lessons: Lessons::emoji,
        })
    }

    /// Random weights of the published sizes of Stable Diffusion 1.5, with latents of 64x64, and
    /// of the network of HPSv2 as the reward. A training step supervises one step of one
    /// trajectory after `steps - 1` steps of rollout.
    pub(super) fn sd15(steps: usize, format: Format, device: &Device) -> miette::Result<Self> {
        let base = StableDiffusion::new(
            "sd15 (random)",
            words(SD15_TOKENS)?,
            random_in(ClipTextConfig::sd15().init(device), format),
            random_in(UnetConfig::sd15().init(device), format),
            random_in(AutoencoderKlConfig::sd15().init(device), format),
            SchedulerConfig {
                prediction_type: Prediction::Epsilon,
                ..SchedulerConfig::stable_diffusion()
            },
            device,
        )
        .into_diagnostic()?;
        let targets = base.lora_targets();
        let config = HypernetConfig::new(targets, base.feature_dim(None), base.context_dim());
        let network = AdapterKind::Hypernet(config);
        let steps = steps.max(2);
        Ok(Self {
            adapter: AdapterMeta::new(base.name(), "", Variant::S, network),
            base: Arc::new(base),
            device: device.clone(),
            calls: UNET_CALLS,
            weights: "random weights of Stable Diffusion 1.5's size".to_owned(),
            prompt: PROMPT.to_owned(),
            method: last_step(0.99),
            trajectory: TrajectorySettings {
                steps,
                guidance_scale: 7.5,
                ..TrajectorySettings::default()
            },
            shards: 1,
            lessons: Lessons::published,
        })
    }
}

/// One trajectory, one preferred picture and both losses. Supervised is the last step alone, the only
/// one whose squared signal is `min_signal` or more: its rollout is the same in every repeat.
pub(super) fn last_step(min_signal: f64) -> HyperAlignSettings {
    HyperAlignSettings {
        trajectories: 1,
        supervised_steps: 1,
        updates_per_rollout: Some(1),
        min_signal,
        max_signal: 1.0,
        views: Views { count: 0, ..Views::default() },
        preferred_batch: 1,
        ..HyperAlignSettings::default()
    }
}

impl Lessons {
    /// The embedded proxy, or one with random weights, and renders of the emoji world.
    pub(super) fn emoji(_: &dyn Base, device: &Device) -> miette::Result<Self> {
        let reward = match embedded::folder("emoji-proxy") {
            Some(folder) => {
                ClipReward::from_folder("emoji-proxy", &folder, "", device).into_diagnostic()?
            }
            None => {
                let tokenizer = words(recipe::CONTEXT_LENGTH)?;
                let config: ClipConfig = recipe::read(recipe::preference(tokenizer.vocab_size()));
                let model = random(config.init(device));
                ClipReward::new("random", model, tokenizer, Preprocessing::default())
            }
        };
        let preferred = Arc::new(EmojiPreferred { world: emoji::World::SMALL, seed: SEED });
        Ok(Self { reward: Arc::new(reward), preferred })
    }

    /// A network of HPSv2's size and pictures of noise.
    pub(super) fn published(base: &dyn Base, device: &Device) -> miette::Result<Self> {
        let [edge, _] = base.picture_size();
        let reward = Arc::new(HpsSized::random(device)?);
        Ok(Self { reward, preferred: Arc::new(RandomPictures { edge }) })
    }
}

fn random<M: burn::module::Module>(module: M) -> M {
    reinit(module, SEED)
}

/// A part of a base with random weights in `format`.
pub(super) fn random_in<M: burn::module::Module>(module: M, format: Format) -> M {
    reinit_in(module, SEED, format)
}

/// The embedded world's words, in rows of `tokens`.
pub(super) fn words(tokens: usize) -> miette::Result<Tokenizer> {
    let words = emoji::vocabulary();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Tokenizer::from_words(&words, tokens).into_diagnostic()
}

/// A preference model of the size of HPSv2 behind a resize to its 224 pixels.
struct HpsSized {
    model: ClipModel,
    tokenizer: Tokenizer,
    edge: usize,
}

impl HpsSized {
    fn random(device: &Device) -> miette::Result<Self> {
        let config = ClipConfig::vit_h_14();
        let edge = config.vision_config.image_size;
        Ok(Self { model: random(config.init(device)), tokenizer: words(SD15_TOKENS)?, edge })
    }
}

impl Reward for HpsSized {
    fn name(&self) -> &str {
        "ViT-H/14 (random)"
    }

    fn version(&self) -> String {
        "random".to_owned()
    }

    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let texts: Vec<&str> = prompts.iter().map(|prompt| prompt.text.as_str()).collect();
        let ids = self.tokenizer.encode(&texts).expect("the prompt of the bench itself");
        let ids = ids.to_tensor(&images.device().without_autodiff());
        let images = resize(images, self.edge, self.edge, Filter::Bicubic);
        self.model.score(images, ids)
    }

    fn differentiable(&self) -> bool {
        true
    }
}

/// Noise in place of preferred pictures: a step takes as long on it.
struct RandomPictures {
    edge: usize,
}

impl PreferredData for RandomPictures {
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        let streams = indices.iter().map(|&index| Stream::new(SEED, Purpose::World, 0, index));
        let images = normal([1, 3, self.edge, self.edge], streams, device).clamp(-1.0, 1.0);
        (images, vec![PROMPT.to_owned(); indices.len()])
    }
}
