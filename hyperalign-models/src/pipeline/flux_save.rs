//! Writing a FLUX pipeline as a folder that diffusers reads too.

use std::path::Path;

use hyperalign_core::{atomic, lora::LoraSet};
use serde_json::{Value, json};

use super::{
    Flux, PipelineError,
    flux::CLASS,
    save::{DIFFUSION_MODEL, MODEL, Written, check_whole},
};
use crate::{lora::merged, weights::FileFloat};

impl Flux {
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
        check_whole("text_encoder_2", &self.text_encoder_2)?;
        check_whole("transformer", &self.transformer)?;
        let transformer = merged(self.transformer.clone(), update);
        atomic::write_folder(path, |folder| {
            let written = Written { folder, float };
            written.json("model_index.json", &index())?;
            written.json("scheduler/scheduler_config.json", &self.scheduler_config)?;
            written.tokenizer("tokenizer", &self.tokenizer)?;
            written.tokenizer("tokenizer_2", &self.tokenizer_2)?;
            let (first, second) = (&self.text_encoder, &self.text_encoder_2);
            written.part("text_encoder", MODEL, first.config(), first)?;
            written.part("text_encoder_2", MODEL, second.config(), second)?;
            let config = self.transformer.config();
            written.part("transformer", DIFFUSION_MODEL, config, &transformer)?;
            written.part("vae", DIFFUSION_MODEL, self.vae.config(), &self.vae)
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
