//! How a base reads prompts.

use std::ops::Range;

use hyperalign_core::{contract::Conditioning, lora::LoraSet};

use super::BaseError;
use crate::tokenizer::Tokenizer;

/// The text encoders of a base.
pub trait PromptEncoder {
    /// Encodes prompts.
    ///
    /// # Errors
    ///
    /// Fails for words that the model does not know, where its vocabulary is closed.
    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError>;

    /// [`encode_prompts`](Self::encode_prompts) with the layers of the text encoders shifted that
    /// `lora` names, by the encoder's name and the layer's path in it:
    /// `text_encoder.text_model.encoder.layers.0.self_attn.q_proj`. Only a base that
    /// [has them](super::Adaptable::lora_layers) is asked for more than none.
    ///
    /// # Errors
    ///
    /// Fails where [`encode_prompts`](Self::encode_prompts) does.
    fn encode_prompts_with(
        &self,
        prompts: &[String],
        lora: &LoraSet,
    ) -> Result<Conditioning, BaseError> {
        assert!(lora.is_empty(), "updates of text encoders that this base does not have");
        self.encode_prompts(prompts)
    }

    /// Encodes `prompts` now, with the layers shifted that `lora` names, and lets go of the text
    /// encoders, whose memory the rest of the work can have: from then on these prompts and the
    /// empty one alone can be encoded, with those updates, and the base is not written any more. A
    /// base that cannot let go of them keeps them.
    ///
    /// # Errors
    ///
    /// Fails where [`encode_prompts`](Self::encode_prompts) does.
    fn read_ahead(&mut self, prompts: &[String], lora: &LoraSet) -> Result<(), BaseError> {
        self.encode_prompts_with(prompts, lora).map(drop)
    }

    /// The conditioning of the empty prompt, one row.
    fn unconditional(&self) -> Conditioning {
        self.encode_prompts(&[String::new()]).expect("an empty text has no unknown word")
    }

    /// The ends of prompts that do not fit into what the model's text encoders read, in the order
    /// of the prompts.
    ///
    /// # Errors
    ///
    /// Fails where [`encode_prompts`](Self::encode_prompts) does.
    fn cut_off(&self, _: &[String]) -> Result<Vec<Cut>, BaseError> {
        Ok(Vec::new())
    }

    /// The places of the tokens of a part of a prompt in the context: of what follows `before` up to
    /// the end of `through`, which begins with `before`. Empty where that is not known, and for
    /// what is cut off.
    fn token_places(&self, before: &str, through: &str) -> Range<usize> {
        let _ = (before, through);
        0..0
    }

    /// Channels of the text encoder's token states.
    fn context_dim(&self) -> usize;
}

/// The end of a prompt that a text encoder does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Which of the prompts.
    pub prompt: usize,
    /// The encoder, for people.
    pub encoder: &'static str,
    /// Tokens that it reads, with those that mark the ends.
    pub tokens: usize,
    /// What is lost.
    pub text: String,
}

impl Cut {
    /// What `encoder` loses of `prompts`, whose tokens are those of `tokenizer`.
    ///
    /// # Errors
    ///
    /// Fails if the tokenizer has a closed vocabulary and a prompt has a word outside of it.
    pub(crate) fn of(
        prompts: &[String],
        tokenizer: &Tokenizer,
        encoder: &'static str,
    ) -> Result<Vec<Self>, BaseError> {
        let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let cut = tokenizer.encode(&texts).map_err(BaseError::of)?.cut;
        let tokens = tokenizer.context_length();
        let cuts = cut.into_iter().enumerate();
        Ok(cuts
            .filter_map(|(prompt, text)| Some(Self { prompt, encoder, tokens, text: text? }))
            .collect())
    }
}

/// [`PromptEncoder::token_places`] by the tokenizer of the context. Words do not share tokens, so a
/// text has as many as its parts.
pub(crate) fn token_places(tokenizer: &Tokenizer, before: &str, through: &str) -> Range<usize> {
    // Without the mark at the end.
    let tokens = |text: &str| {
        let encoded = tokenizer.encode(&[text.trim_end()]).ok()?;
        Some(encoded.lengths.first()?.saturating_sub(1))
    };
    let most = tokenizer.context_length().saturating_sub(1);
    match (tokens(before), tokens(through)) {
        (Some(start), Some(end)) => start.min(most)..end.min(most),
        _ => 0..0,
    }
}
