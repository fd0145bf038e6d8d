//! Writing a FLUX pipeline as a folder that diffusers reads too.

use std::{collections::BTreeMap, path::Path};

use hyperalign_core::{atomic, lora::LoraSet};
use serde_json::{Value, json};

use super::{Flux, PipelineError, flux::CLASS, save::to_json};
use crate::{
    lora::merged,
    tokenizer::Tokenizer,
    weights::{FileFloat, save},
};

impl Flux {
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
        let transformer = merged(self.transformer.clone(), update);
        atomic::write_folder(path, |folder| {
            let write = |name: &str, value: &Value| {
                let text = format!("{value:#}\n");
                atomic::write(&folder.join(name), text.as_bytes()).map_err(PipelineError::Write)
            };
            let write_tokenizer = |name: &str, tokenizer: &Tokenizer| {
                let text = tokenizer.to_json()?;
                atomic::write(&folder.join(name).join("tokenizer.json"), text.as_bytes())?;
                write(&format!("{name}/tokenizer_config.json"), &tokenizer.config_json())
            };
            write("model_index.json", &index())?;
            write("scheduler/scheduler_config.json", &to_json(&self.scheduler_config))?;
            write_tokenizer("tokenizer", &self.tokenizer)?;
            write_tokenizer("tokenizer_2", &self.tokenizer_2)?;
            write("text_encoder/config.json", &to_json(self.text_encoder.config()))?;
            write("text_encoder_2/config.json", &to_json(self.text_encoder_2.config()))?;
            write("transformer/config.json", &to_json(self.transformer.config()))?;
            write("vae/config.json", &to_json(self.vae.config()))?;
            let at = |name: &str| folder.join(name);
            let none = BTreeMap::new();
            let diffusers = "diffusion_pytorch_model.safetensors";
            save(&self.text_encoder, &at("text_encoder/model.safetensors"), float, &none)?;
            save(&self.text_encoder_2, &at("text_encoder_2/model.safetensors"), float, &none)?;
            save(&transformer, &at(&format!("transformer/{diffusers}")), float, &none)?;
            save(&self.vae, &at(&format!("vae/{diffusers}")), float, &none)?;
            Ok(())
        })
    }
}

fn index() -> Value {
    json!({
        "_class_name": CLASS,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "tokenizer_2": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    })
}
