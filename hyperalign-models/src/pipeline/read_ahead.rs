//! Prompts that are encoded before anything else, so that the text encoders can be let go of.

use std::collections::HashMap;

use hyperalign_core::{contract::Conditioning, lora::LoraSet};

use super::{Flux, PipelineError, StableDiffusion};
use crate::tokenizer::TokenizerError;

/// What the text encoders said of each prompt before they were let go of.
#[derive(Debug)]
pub(super) struct ReadAhead(HashMap<String, Conditioning>);

impl ReadAhead {
    /// Encodes `prompts`, each once and by itself, and the empty one, which guidance is led away
    /// from.
    fn new(
        prompts: &[String],
        encode: impl Fn(&[&str]) -> Result<Conditioning, TokenizerError>,
    ) -> Result<Self, TokenizerError> {
        let mut read = HashMap::new();
        for prompt in prompts.iter().map(String::as_str).chain([""]) {
            if !read.contains_key(prompt) {
                read.insert(prompt.to_owned(), encode(&[prompt])?);
            }
        }
        Ok(Self(read))
    }

    /// What was said of `prompts`, a row for each.
    ///
    /// # Errors
    ///
    /// Fails for a prompt that was not among them, and for no prompt at all.
    pub(super) fn rows(&self, prompts: &[String]) -> Result<Conditioning, PipelineError> {
        let mut all: Option<Conditioning> = None;
        for prompt in prompts {
            let row = self.0.get(prompt).cloned();
            let row = row.ok_or_else(|| PipelineError::NotRead { prompt: prompt.clone() })?;
            all = Some(match all {
                Some(all) => all.concat(row),
                None => row,
            });
        }
        all.ok_or_else(|| PipelineError::NotRead { prompt: String::new() })
    }
}

impl Flux {
    /// Encodes `prompts` and lets go of the weights of both text encoders.
    pub(super) fn read_prompts_ahead(
        &mut self,
        prompts: &[String],
        lora: &LoraSet,
    ) -> Result<(), TokenizerError> {
        // Of all weights, so as long as they are there.
        self.hash();
        let read = ReadAhead::new(prompts, |prompts| self.encode_with(prompts, lora))?;
        // Networks whose weights were never looked at have none.
        self.text_encoder = self.text_encoder.config().init(self.device());
        self.text_encoder_2 = self.text_encoder_2.config().init(self.device());
        self.device().memory_cleanup();
        self.read_ahead = Some(read);
        Ok(())
    }
}

impl StableDiffusion {
    /// Encodes `prompts` and lets go of the weights of the text encoder.
    pub(super) fn read_prompts_ahead(
        &mut self,
        prompts: &[String],
        lora: &LoraSet,
    ) -> Result<(), TokenizerError> {
        self.hash();
        let read = ReadAhead::new(prompts, |prompts| self.encode_with(prompts, lora))?;
        self.text_encoder = self.text_encoder.config().init(self.device());
        self.device().memory_cleanup();
        self.read_ahead = Some(read);
        Ok(())
    }
}
