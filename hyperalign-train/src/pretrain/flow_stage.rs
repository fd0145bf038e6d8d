//! The stage of emoji-flux, from its recipe to its products.

use std::sync::Arc;

use hyperalign_models::{
    clip::ClipTextConfig,
    flux::FluxConfig,
    t5::T5Config,
    tokenizer::Tokenizer,
    vae::AutoencoderKl,
    weights::{Folder, reinit},
};
use serde_json::json;

use super::{
    FlowObjective, PretrainError, Pretraining, Stage, TextToVelocity, recipe,
    stage::{DIFFUSERS, SEED, TRANSFORMERS, write_json},
};
use crate::learner::{End, Settings, fit};

impl Pretraining {
    /// Trains the flow on the latents of emoji-sd's autoencoder.
    pub(super) fn flow(&self, settings: &Settings) -> Result<End, PretrainError> {
        let tokenizer = self.tokenizer()?;
        let vae = AutoencoderKl::from_folder(&Folder::disk(self.base()), "vae", &self.device)?;
        let data = self.latents(&tokenizer)?;
        let words = tokenizer.vocab_size();
        let text: ClipTextConfig = recipe::read(recipe::pooled_text_encoder(words));
        let t5: T5Config = recipe::read(recipe::t5(words));
        let transformer: FluxConfig = recipe::read(recipe::transformer());
        let device = self.device.clone().autodiff();
        let model = TextToVelocity {
            text_encoder: reinit(text.init(&device), SEED),
            text_encoder_2: reinit(t5.init(&device), SEED),
            transformer: reinit(transformer.init(&device), SEED),
        };
        let empty = tokenizer.encode(&[""])?.ids.swap_remove(0);
        let objective = FlowObjective {
            seed: SEED,
            batch: 48,
            caption_dropout: 0.1,
            related: recipe::RELATED_CAPTIONS,
            sides_weight: recipe::SIDES_WEIGHT,
            data,
            empty,
            device,
        };
        let outcome = fit(Arc::new(objective), model, settings, &self.fitting(Stage::Flow))?;
        if outcome.end == End::Finished {
            self.write_flux(&outcome.learned(), &vae, &tokenizer)?;
        }
        Ok(outcome.end)
    }

    fn write_flux(
        &self,
        learned: &TextToVelocity,
        vae: &AutoencoderKl,
        tokenizer: &Tokenizer,
    ) -> Result<(), PretrainError> {
        let base = self.out.join("emoji-flux");
        let words = tokenizer.vocab_size();
        let TextToVelocity { text_encoder, text_encoder_2, transformer } = learned;
        let part = |name: &str| base.join(name);
        let clip = recipe::pooled_text_encoder(words);
        self.component(&part("text_encoder"), text_encoder, &clip, TRANSFORMERS)?;
        self.component(&part("text_encoder_2"), text_encoder_2, &recipe::t5(words), TRANSFORMERS)?;
        self.component(&part("transformer"), transformer, &recipe::transformer(), DIFFUSERS)?;
        let mut config = recipe::vae();
        // Python's pipeline wants one of a flow's autoencoder.
        config["shift_factor"] = 0.0.into();
        self.component(&part("vae"), vae, &config, DIFFUSERS)?;
        self.tokenizer_files(&part("tokenizer"), tokenizer)?;
        self.tokenizer_files(&part("tokenizer_2"), tokenizer)?;
        let scheduler = recipe::flow_scheduler();
        write_json(&part("scheduler/scheduler_config.json"), &scheduler)?;
        let index = json!({
            "_class_name": "FluxPipeline",
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "text_encoder_2": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
            "tokenizer_2": ["transformers", "PreTrainedTokenizerFast"],
            "transformer": ["diffusers", "FluxTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        });
        write_json(&base.join("model_index.json"), &index)
    }
}
