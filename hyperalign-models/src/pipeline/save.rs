//! Writing a pipeline as a folder that diffusers reads too.

use std::{collections::BTreeMap, path::Path};

use burn::module::Module;
use hyperalign_core::{atomic, lora::LoraSet};
use serde::Serialize;
use serde_json::json;

use super::{PipelineError, StableDiffusion, stable_diffusion::CLASS};
use crate::{
    lora::merged,
    tokenizer::Tokenizer,
    weights::{FileFloat, is_eight_bit, save},
};

impl StableDiffusion {
    /// Writes the folder `path` in the diffusers layout. It is there whole or not at all; one
    /// that was there before is replaced.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be written, if a weight cannot be represented in `float`, and for
    /// weights that are held in 8 bits.
    pub fn save(&self, path: &Path, float: FileFloat) -> Result<(), PipelineError> {
        self.save_with(path, float, &LoraSet::default())
    }

    /// [`save`](Self::save) with `update` laid into the weights of the denoiser.
    pub(super) fn save_with(
        &self,
        path: &Path,
        float: FileFloat,
        update: &LoraSet,
    ) -> Result<(), PipelineError> {
        if self.read_ahead.is_some() {
            return Err(PipelineError::LetGo { base: self.name().to_owned() });
        }
        check_whole("text_encoder", &self.text_encoder)?;
        check_whole("unet", &self.unet)?;
        let unet = merged(self.unet.clone(), update);
        let index = json!({
            "_class_name": CLASS,
            "scheduler": ["diffusers", self.scheduler_config.class_name],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "safety_checker": [null, null],
            "feature_extractor": [null, null],
            "requires_safety_checker": false,
        });
        atomic::write_folder(path, |folder| {
            let written = Written { folder, float };
            written.json("model_index.json", &index)?;
            written.json("scheduler/scheduler_config.json", &self.scheduler_config)?;
            written.tokenizer("tokenizer", &self.tokenizer)?;
            written.part("text_encoder", MODEL, self.text_encoder.config(), &self.text_encoder)?;
            written.part("unet", DIFFUSION_MODEL, self.unet.config(), &unet)?;
            written.part("vae", DIFFUSION_MODEL, self.vae.config(), &self.vae)
        })
    }
}

/// Fails for the network of the part `part` if its weights are held in 8 bits: others would take
/// what is rounded for the model, and an update is never added to such a weight.
pub(super) fn check_whole<M: Module>(part: &'static str, network: &M) -> Result<(), PipelineError> {
    if is_eight_bit(network) { Err(PipelineError::EightBit { part }) } else { Ok(()) }
}

/// What transformers calls a file of weights.
pub(super) const MODEL: &str = "model.safetensors";
/// What diffusers calls one.
pub(super) const DIFFUSION_MODEL: &str = "diffusion_pytorch_model.safetensors";

/// The folder of a pipeline while it is written.
pub(super) struct Written<'a> {
    pub(super) folder: &'a Path,
    /// Number format of the weights.
    pub(super) float: FileFloat,
}

impl Written<'_> {
    /// Writes a configuration: plain numbers, names and lists.
    pub(super) fn json(&self, name: &str, value: &impl Serialize) -> Result<(), PipelineError> {
        let value =
            serde_json::to_value(value).expect("a configuration can always be written as JSON");
        let text = format!("{value:#}\n");
        atomic::write(&self.folder.join(name), text.as_bytes()).map_err(PipelineError::Write)
    }

    /// Writes a tokenizer into the folder `name`.
    pub(super) fn tokenizer(&self, name: &str, tokenizer: &Tokenizer) -> Result<(), PipelineError> {
        let text = tokenizer.to_json()?;
        atomic::write(&self.folder.join(name).join("tokenizer.json"), text.as_bytes())?;
        self.json(&format!("{name}/tokenizer_config.json"), &tokenizer.config_json())
    }

    /// Writes a network into the folder `name`: its configuration, and its weights in `file`.
    pub(super) fn part<M: Module>(
        &self,
        name: &str,
        file: &str,
        config: &impl Serialize,
        network: &M,
    ) -> Result<(), PipelineError> {
        self.json(&format!("{name}/config.json"), config)?;
        let path = self.folder.join(name).join(file);
        Ok(save(network, &path, self.float, &BTreeMap::new())?)
    }
}
