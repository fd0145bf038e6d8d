//! Writing a pipeline as a folder that diffusers reads too.

use std::{collections::BTreeMap, path::Path};

use hyperalign_core::{atomic, lora::LoraSet};
use serde_json::json;

use super::{PipelineError, StableDiffusion, stable_diffusion::CLASS};
use crate::{
    lora::merged,
    weights::{FileFloat, save},
};

impl StableDiffusion {
    /// Writes the folder `path` in the diffusers layout. It is there whole or not at all; one
    /// that was there before is replaced.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be written, or if a weight cannot be represented in `float`.
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
            let write = |name: &str, value: &serde_json::Value| {
                let text = format!("{value:#}\n");
                atomic::write(&folder.join(name), text.as_bytes()).map_err(PipelineError::Write)
            };
            let weights = |name: &str| folder.join(name);
            write("model_index.json", &index)?;
            write("scheduler/scheduler_config.json", &to_json(&self.scheduler_config))?;
            let tokenizer = self.tokenizer.to_json()?;
            atomic::write(&folder.join("tokenizer/tokenizer.json"), tokenizer.as_bytes())?;
            write("tokenizer/tokenizer_config.json", &self.tokenizer.config_json())?;
            write("text_encoder/config.json", &to_json(self.text_encoder.config()))?;
            write("unet/config.json", &to_json(self.unet.config()))?;
            write("vae/config.json", &to_json(self.vae.config()))?;
            let none = BTreeMap::new();
            let diffusers = "diffusion_pytorch_model.safetensors";
            save(&self.text_encoder, &weights("text_encoder/model.safetensors"), float, &none)?;
            save(&unet, &weights(&format!("unet/{diffusers}")), float, &none)?;
            save(&self.vae, &weights(&format!("vae/{diffusers}")), float, &none)?;
            Ok(())
        })
    }
}

/// Configurations are plain numbers, names and lists.
pub(super) fn to_json(config: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(config).expect("a configuration can always be written as JSON")
}
