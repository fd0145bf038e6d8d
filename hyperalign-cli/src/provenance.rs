//! What pictures are made by, and what their files say about it: the same words and the same bytes,
//! whoever makes them.

use std::path::PathBuf;

use hyperalign_core::image::{Metadata, Parameters};
use hyperalign_core::schedule::Solver;
use hyperalign_models::base::Base;
use hyperalign_models::generate::{Adapted, AdapterFile, Plain, Sampling, Shot, Sought, Way};
use hyperalign_models::hypernet::Variant;
use hyperalign_rewards::emoji;
use serde_json::{Value, json};

use crate::args::VariantChoice;

/// What pictures are made by that are made together.
pub struct Making<'a> {
    /// The base, with the LoRA files that are laid over it.
    pub base: &'a dyn Base,
    /// How they are sampled.
    pub sampling: Sampling,
    /// The solver that this comes to.
    pub solver: Solver,
    /// The adapter, if one is used, and how.
    pub adapter: Option<(&'a AdapterFile, Adapted<'a>)>,
    /// The method that works at sampling time, if one does.
    pub sought: Option<Sought<'a>>,
    /// What their files say about all that: [`settings`](Self::settings), once it is known.
    pub settings: Value,
}

/// What else the pictures depend on, for the words of their files.
#[derive(Debug)]
pub struct Surroundings {
    /// The device, as the user wrote it.
    pub device: String,
    /// The number formats, as the user wrote them.
    pub dtype: Option<String>,
    /// SHA-256 of the adapter's file, where there is one.
    pub adapter_sha256: Option<String>,
    /// The folder of the small codec that decodes, and a hash of its weights.
    pub codec: Option<(PathBuf, String)>,
}

impl Making<'_> {
    /// The way in which they are made.
    pub fn way(&self) -> &dyn Way {
        match (&self.sought, &self.adapter) {
            (Some(sought), _) => sought,
            (None, Some((_, adapted))) => adapted,
            (None, None) => &Plain,
        }
    }

    /// What the file of a picture of this size says about how it was made, with what the method notes
    /// about it.
    pub fn metadata(&self, shot: &Shot, size: (u32, u32), note: Option<&Value>) -> Metadata {
        let Self { base, sampling, solver, adapter, sought, settings } = self;
        let mut extra = Vec::new();
        if let Some(sought) = sought {
            extra.push(("Method".to_owned(), sought.method.name().to_owned()));
            extra.push(("Reward".to_owned(), sought.reward.name().to_owned()));
        }
        if let Some((file, adapted)) = adapter {
            extra.push(("Variant".to_owned(), adapted.variant.label().to_owned()));
            extra.push(("Adapter".to_owned(), file.place.to_string()));
            if !adapted.dose.is_whole() {
                extra.push(("Dose".to_owned(), adapted.dose.label().trim().to_owned()));
            }
        }
        for laid in base.laid() {
            extra.push(("Lora".to_owned(), format!("{}: {}", laid.file.display(), laid.scale)));
        }
        let parameters = Parameters {
            prompt: shot.prompt.text.clone(),
            negative_prompt: sampling.negative_prompt.clone(),
            steps: sampling.steps,
            sampler: solver.label().to_owned(),
            cfg_scale: sampling.guidance_scale,
            seed: shot.seed,
            size,
            model_hash: base.weights_hash().chars().take(10).collect(),
            model: base.name().to_owned(),
            extra,
        };
        let mut everything = settings.clone();
        everything["prompt"] = shot.prompt.text.as_str().into();
        everything["seed"] = shot.seed.into();
        if let Some(note) = note {
            everything["found"] = note.clone();
        }
        if hyperalign_models::embedded::folder(base.name()).is_some() {
            everything["attribution"] = emoji::ATTRIBUTION.into();
        }
        Metadata { parameters: Some(parameters), hyperalign: Some(everything) }
    }

    /// What all of them have in common, in the words of the flags.
    pub fn settings(&self, around: &Surroundings) -> Value {
        let Self { base, sampling, solver, adapter, sought, .. } = self;
        let variant = match adapter {
            Some((_, adapted)) => json!(adapted.variant),
            None => json!(VariantChoice::None.to_string()),
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
            "adapter_sha256": adapter.as_ref().and(around.adapter_sha256.as_ref()),
            "key_steps": keyed.map(|(_, adapted)| &adapted.key_steps),
            "sampler": solver.name(),
            "steps": sampling.steps,
            "guidance_scale": sampling.guidance_scale,
            "negative_prompt": sampling.negative_prompt,
            "eta": sampling.solver.eta.or(solver.default_eta()),
            "size": sampling.size.unwrap_or(base.picture_size()),
        });
        if let Some((_, adapted)) = adapter.as_ref().filter(|(_, used)| !used.dose.is_whole()) {
            settings["dose"] = json!(adapted.dose);
        }
        if !base.laid().is_empty() {
            settings["loras"] = json!(base.laid());
        }
        settings["device"] = around.device.as_str().into();
        settings["dtype"] = around.dtype.as_deref().unwrap_or("f32").into();
        settings["preview_codec"] = json!(around.codec.as_ref().map(|(folder, _)| folder));
        settings["preview_codec_hash"] = json!(around.codec.as_ref().map(|(_, hash)| hash));
        settings
    }
}
