//! FLUX.1 of random weights, as what is timed.

use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_core::schedule::FlowSchedulerConfig;
use hyperalign_models::{
    base::{Base, Preset},
    clip::ClipTextConfig,
    flux::FluxConfig,
    hypernet::{AdapterKind, AdapterMeta, HypernetConfig, Variant},
    pipeline::{Flux, FluxParts},
    t5::T5Config,
    vae::AutoencoderKlConfig,
    weights::Format,
};
use hyperalign_train::method::TrajectorySettings;
use miette::IntoDiagnostic;

use super::subject::{Lessons, PROMPT, Subject, last_step, random_in, words};

/// The sizes of the networks, and the tokens that each text encoder reads.
pub(super) struct FluxSizes {
    pub transformer: FluxConfig,
    pub text_encoder: ClipTextConfig,
    pub text_encoder_2: T5Config,
    pub vae: AutoencoderKlConfig,
    pub tokens: [usize; 2],
}

impl FluxSizes {
    /// Those of FLUX.1-dev.
    pub(super) fn dev() -> Self {
        Self {
            transformer: FluxConfig::dev(),
            text_encoder: ClipTextConfig::sd15(),
            text_encoder_2: T5Config::xxl(),
            vae: AutoencoderKlConfig::flux1(),
            tokens: [77, 512],
        }
    }
}

impl Subject {
    /// Random weights of `sizes`, whose pictures are those that the autoencoder is made for, and of
    /// the network of HPSv2 as the reward. A training step supervises the last step of one
    /// trajectory.
    pub(super) fn flux(
        sizes: &FluxSizes,
        steps: usize,
        format: Format,
        device: &Device,
    ) -> miette::Result<Self> {
        let parts = FluxParts {
            tokenizer: words(sizes.tokens[0])?,
            tokenizer_2: words(sizes.tokens[1])?,
            text_encoder: random_in(sizes.text_encoder.init(device), format),
            text_encoder_2: random_in(sizes.text_encoder_2.init(device), format),
            transformer: random_in(sizes.transformer.init(device), format),
            vae: random_in(sizes.vae.init(device), format),
            scheduler_config: FlowSchedulerConfig::flux_dev(),
        };
        let base = Flux::new("flux1-dev (random)", parts, device).into_diagnostic()?;
        let base: Arc<dyn Base> = Arc::new(base);
        let targets = base.lora_targets();
        let config = HypernetConfig::new(targets, base.feature_dim(None), base.context_dim());
        let network = AdapterKind::Hypernet(config);
        let steps = steps.max(2);
        let plan = base.scheduler(steps).into_diagnostic()?;
        let last = plan.level(plan.steps() - 1).signal.powi(2);
        Ok(Self {
            adapter: AdapterMeta::new(base.name(), "", Variant::S, network),
            base,
            device: device.clone(),
            weights: "random weights of FLUX.1-dev's size".to_owned(),
            calls: ["transformer", "transformer with an update", "transformer, guided (told so)"],
            prompt: PROMPT.to_owned(),
            method: last_step(last * 0.999),
            trajectory: TrajectorySettings {
                steps,
                guidance_scale: Preset::FLUX_DEV.guidance_scale,
                ..TrajectorySettings::default()
            },
            shards: 1,
            lessons: Lessons::published,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure;
    use super::super::timing::Repeats;
    use super::*;
    use hyperalign_core::testing;

    /// FLUX.1-dev's forms with all sizes cut down.
    fn small() -> FluxSizes {
        let dev = FluxSizes::dev();
        FluxSizes {
            transformer: FluxConfig {
                in_channels: 8,
                num_layers: 2,
                num_single_layers: 1,
                attention_head_dim: 8,
                num_attention_heads: 2,
                joint_attention_dim: 10,
                pooled_projection_dim: 6,
                axes_dims_rope: [2, 2, 4],
                ..dev.transformer
            },
            text_encoder: ClipTextConfig {
                vocab_size: 200,
                hidden_size: 6,
                intermediate_size: 8,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                ..dev.text_encoder
            },
            text_encoder_2: T5Config {
                vocab_size: 200,
                d_model: 10,
                d_kv: 4,
                d_ff: 12,
                num_layers: 2,
                num_heads: 2,
                ..dev.text_encoder_2
            },
            vae: AutoencoderKlConfig {
                sample_size: 64,
                latent_channels: 2,
                layers_per_block: 1,
                block_out_channels: vec![4, 4, 4, 4],
                norm_num_groups: 2,
                ..dev.vae
            },
            tokens: dev.tokens,
        }
    }

    #[test]
    fn a_flux_is_timed_in_every_part() {
        let device = testing::device();
        let format = "q8-f32".parse().unwrap();
        let mut subject = Subject::flux(&small(), 1, format, &device).unwrap();
        let repeats = Repeats { warmup: 0, timed: 1 };
        let names = |rows: Vec<measure::Row>| -> Vec<String> {
            rows.into_iter().map(|row| row.what).collect()
        };
        let sampling = names(measure::sampling(&subject, 2, 1, repeats).unwrap());
        assert_eq!(sampling[..4], ["base", "hyperalign-s", "hyperalign-p", "hyperalign-i"]);
        let calls = names(measure::calls(&subject, 1, repeats).unwrap());
        assert_eq!(calls[..2], ["transformer", "transformer with an update"]);
        // The reward of the published size takes gigabytes.
        subject.lessons = Lessons::emoji;
        let training = measure::training(&subject, repeats).unwrap();
        assert!(training.stopped.is_none() && training.seconds.is_some(), "{training:?}");
    }

    #[test]
    fn the_sizes_are_the_published_ones() {
        let device = testing::device();
        let sizes = FluxSizes::dev();
        let transformer = sizes.transformer.init(&device);
        assert_eq!(hyperalign_models::weights::parameters(&transformer), 11_901_408_320);
        assert_eq!(sizes.vae.sample_size / sizes.vae.downscale(), 128);
    }
}
