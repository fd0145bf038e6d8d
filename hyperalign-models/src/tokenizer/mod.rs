//! Text to token ids, by the crate `tokenizers`.
//!
//! Everything is read as, or first turned into, one `tokenizer.json`: the byte-pair vocabulary of
//! CLIP ([`Tokenizer::from_vocab_and_merges`]), the word pieces of BERT
//! ([`Tokenizer::from_word_pieces`]) as well as a closed list of words
//! ([`Tokenizer::from_words`]); T5's unigrams are published as one. Cutting and padding are done
//! here, because models that share a vocabulary differ in them: Stable Diffusion pads with the end
//! token, open_clip with 0.
//!
//! Texts go in as they stand, as `transformers` has it. OpenAI's CLIP and open_clip put damaged
//! characters right and undo HTML entities first; their models ask for that by
//! [`Tokenizer::as_open_clip`].

mod bert;
mod clean;
mod clip;
mod encoded;
mod error;
mod words;

use std::{borrow::Cow, path::Path};

pub use encoded::Encoded;
pub use error::TokenizerError;
use tokenizers::{
    AddedToken, ModelWrapper, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PaddingParams, PaddingStrategy, PostProcessor, PreTokenizedString, PreTokenizer,
    TruncationParams,
};

/// A row of more tokens is no length that a model was made with.
const LONGEST: usize = 1 << 20;

/// A tokenizer with the length and the padding of one model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    context_length: usize,
    pad: u32,
    /// Whether texts are cleaned first.
    cleans: bool,
}

impl Tokenizer {
    /// Reads the text of a `tokenizer.json` and, where there is one, of the
    /// `tokenizer_config.json` beside it. The length and the padding are taken from the latter
    /// (`model_max_length`, `pad_token`), or else from the former.
    ///
    /// # Errors
    ///
    /// Fails if a text cannot be read, or neither gives the length and the padding.
    pub fn from_json(tokenizer: &str, config: Option<&str>) -> Result<Self, TokenizerError> {
        let inner: tokenizers::Tokenizer = tokenizer.parse().map_err(TokenizerError::Json)?;
        let config = match config {
            Some(text) => serde_json::from_str(text)?,
            None => serde_json::Value::Null,
        };
        let context_length = config
            .get("model_max_length")
            .and_then(serde_json::Value::as_u64)
            .map(|length| length as usize)
            // `transformers` writes 1e30 where no length was set.
            .filter(|length| *length <= LONGEST)
            .or(inner.get_truncation().map(|truncation| truncation.max_length))
            .ok_or(TokenizerError::Unset { key: "model_max_length" })?;
        let pad = match token_text(config.get("pad_token")) {
            Some(token) => inner.token_to_id(token).ok_or_else(|| TokenizerError::NoToken {
                token: token.to_owned(),
                role: "pad_token",
            })?,
            None => inner.get_padding().ok_or(TokenizerError::Unset { key: "pad_token" })?.pad_id,
        };
        Self::new(inner, context_length, pad)
    }

    /// Reads the text of a `tokenizer.json` for rows of `context_length`, filled up by the token
    /// `pad_token` (`<pad>` of T5, `[PAD]` of BERT).
    ///
    /// # Errors
    ///
    /// Fails if the text cannot be read, or has no such token.
    pub fn from_json_with(
        tokenizer: &str,
        context_length: usize,
        pad_token: &str,
    ) -> Result<Self, TokenizerError> {
        let inner: tokenizers::Tokenizer = tokenizer.parse().map_err(TokenizerError::Json)?;
        let pad = inner.token_to_id(pad_token).ok_or_else(|| TokenizerError::NoToken {
            token: pad_token.to_owned(),
            role: "padding",
        })?;
        Self::new(inner, context_length, pad)
    }

    /// Reads the files of a tokenizer, each by its name, through `read`, which gives `None` for a
    /// file that does not exist: `tokenizer.json`, or else `vocab.json` with `merges.txt` (CLIP),
    /// or else `vocab.txt` (BERT); and `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// Fails if files are missing, cannot be read or contradict each other.
    pub fn from_files<E>(
        mut read: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<Self, TokenizerError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut read = |name: &'static str| {
            read(name).map_err(|error| TokenizerError::File { name, source: Box::new(error) })
        };
        let config = read("tokenizer_config.json")?;
        if let Some(tokenizer) = read("tokenizer.json")? {
            return Self::from_json(&tokenizer, config.as_deref());
        }
        if let (Some(vocab), Some(merges)) = (read("vocab.json")?, read("merges.txt")?) {
            return Self::from_json(&clip::tokenizer_json(&vocab, &merges)?, config.as_deref());
        }
        match read("vocab.txt")? {
            Some(vocab) => Self::from_json(&bert::tokenizer_json(&vocab)?, config.as_deref()),
            None => Err(TokenizerError::NoFiles),
        }
    }

    /// Reads the files of the folder `dir`, as [`from_files`](Self::from_files) does.
    ///
    /// # Errors
    ///
    /// Fails if files are missing, cannot be read or contradict each other.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        Self::from_files(|name| match hyperalign_core::input::read_text(&dir.as_ref().join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// CLIP's byte-pair tokenizer from the texts of its `vocab.json` and `merges.txt`, padding
    /// with its end token as Stable Diffusion does.
    ///
    /// # Errors
    ///
    /// Fails if a text cannot be read.
    pub fn from_vocab_and_merges(
        vocab: &str,
        merges: &str,
        context_length: usize,
    ) -> Result<Self, TokenizerError> {
        let json = clip::tokenizer_json(vocab, merges)?;
        let inner: tokenizers::Tokenizer = json.parse().map_err(TokenizerError::Json)?;
        let pad = inner.token_to_id(clip::END).ok_or_else(|| TokenizerError::NoToken {
            token: clip::END.to_owned(),
            role: "end token",
        })?;
        Self::new(inner, context_length, pad)
    }

    /// BERT's uncased word pieces from the text of its `vocab.txt`, padding with `[PAD]`.
    ///
    /// # Errors
    ///
    /// Fails if the list lacks one of BERT's marks.
    pub fn from_word_pieces(vocab: &str, context_length: usize) -> Result<Self, TokenizerError> {
        Self::from_json_with(&bert::tokenizer_json(vocab)?, context_length, bert::PAD)
    }

    /// The same tokenizer with more marks, which get the ids after the last one and are found in a
    /// text as they stand. BLIP reads BERT's word pieces with two of them
    /// ([`BLIP_MARKS`](crate::blip::BLIP_MARKS)).
    ///
    /// # Errors
    ///
    /// Fails if the crate `tokenizers` refuses a mark.
    pub fn with_marks(mut self, marks: &[&str]) -> Result<Self, TokenizerError> {
        let marks = marks.iter().map(|&mark| AddedToken::from(mark, true));
        self.inner.add_special_tokens(marks).map_err(TokenizerError::Json)?;
        Ok(self)
    }

    /// A tokenizer of a closed world: every one of `words` is a token, and any other word is an
    /// error of [`encode`](Self::encode). Case does not matter, and neither does punctuation
    /// unless a mark is itself one of `words`.
    ///
    /// Id 0 pads, 1 begins a text, the words follow in their order, and the highest id ends a
    /// text: CLIP's pooled state is read at the highest id.
    ///
    /// # Errors
    ///
    /// Fails if a word is listed twice or is not one word.
    pub fn from_words(words: &[&str], context_length: usize) -> Result<Self, TokenizerError> {
        Self::from_json(&words::tokenizer_json(words, context_length)?, None)
    }

    fn new(
        mut inner: tokenizers::Tokenizer,
        context_length: usize,
        pad: u32,
    ) -> Result<Self, TokenizerError> {
        // The marks alone have to fit.
        let marks = inner.get_post_processor().map_or(0, |marks| marks.added_tokens(false));
        if context_length <= marks || context_length > LONGEST {
            return Err(TokenizerError::ContextLength { length: context_length, marks });
        }
        inner.with_padding(None);
        let truncation = TruncationParams { max_length: context_length, ..Default::default() };
        inner.with_truncation(Some(truncation)).map_err(TokenizerError::Json)?;
        Ok(Self { inner, context_length, pad, cleans: false })
    }

    /// The same vocabulary as OpenAI's CLIP and open_clip use it (HPSv2): 0 fills rows up, damaged
    /// characters and HTML entities are put right first, and a special token that is spelt out in
    /// a text is text.
    #[must_use]
    pub fn as_open_clip(mut self) -> Self {
        self.inner.set_encode_special_tokens(true);
        Self { pad: 0, cleans: true, ..self }
    }

    /// Ids in a row.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// The id that fills rows up.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Number of tokens: the `vocab_size` of a text encoder.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The words of a closed world in alphabetical order, without its marks of beginning, end
    /// and padding; nothing if any text can be encoded.
    pub fn words(&self) -> Vec<String> {
        if !matches!(self.inner.get_model(), ModelWrapper::WordLevel(_)) {
            return Vec::new();
        }
        let mut words: Vec<String> = self.inner.get_vocab(false).into_keys().collect();
        words.retain(|word| !words::MARKS.contains(&word.as_str()));
        words.sort();
        words
    }

    /// Encodes texts, each cut and padded to the context length.
    ///
    /// # Errors
    ///
    /// Fails if a closed world does not know a word; all such words of all texts are named.
    pub fn encode(&self, texts: &[&str]) -> Result<Encoded, TokenizerError> {
        self.check_words(texts)?;
        let mut encoded = Encoded { ids: Vec::new(), lengths: Vec::new(), cut: Vec::new() };
        for text in texts {
            let text: Cow<'_, str> =
                if self.cleans { clean::clean(text).into() } else { (*text).into() };
            let encoding = self.inner.encode(text.as_ref(), true).map_err(|source| {
                TokenizerError::Encode { text: text.clone().into_owned(), source }
            })?;
            // Special tokens of the overflowing piece have the empty offsets (0, 0).
            let cut = encoding.get_overflowing().first().and_then(|rest| {
                rest.get_offsets().iter().find(|(start, end)| start < end).map(|(start, _)| *start)
            });
            let mut ids = encoding.get_ids().to_vec();
            encoded.lengths.push(ids.len());
            ids.resize(self.context_length, self.pad);
            encoded.ids.push(ids);
            // A token may begin in the middle of a character that takes several bytes.
            let rest = cut.map(|start| text[text.floor_char_boundary(start)..].to_owned());
            encoded.cut.push(rest);
        }
        Ok(encoded)
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    ///
    /// Fails if the tokenizer cannot decode.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(TokenizerError::Decode)
    }

    /// The text of a `tokenizer.json` that [`from_json`](Self::from_json) reads back.
    ///
    /// # Errors
    ///
    /// Fails if the tokenizer cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        let padding = PaddingParams {
            strategy: PaddingStrategy::Fixed(self.context_length),
            pad_id: self.pad,
            pad_token: self.inner.id_to_token(self.pad).unwrap_or_default(),
            ..Default::default()
        };
        let mut inner = self.inner.clone();
        inner.with_padding(Some(padding));
        inner.to_string(true).map_err(TokenizerError::Json)
    }

    /// The `tokenizer_config.json` to go beside [`to_json`](Self::to_json): what `transformers`
    /// needs to know to treat texts in the same way.
    pub fn config_json(&self) -> serde_json::Value {
        serde_json::json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.context_length,
            "pad_token": self.inner.id_to_token(self.pad),
        })
    }

    /// Fails if this is a closed world and a text has a word that is not in it.
    fn check_words(&self, texts: &[&str]) -> Result<(), TokenizerError> {
        if !matches!(self.inner.get_model(), ModelWrapper::WordLevel(_)) {
            return Ok(());
        }
        let mut unknown: Vec<String> = Vec::new();
        for text in texts {
            for word in self.split(text)? {
                if self.inner.token_to_id(&word).is_none() && !unknown.contains(&word) {
                    unknown.push(word);
                }
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        Err(TokenizerError::UnknownWords { unknown, known: self.words() })
    }

    /// The words of `text` as the model will see them.
    fn split(&self, text: &str) -> Result<Vec<String>, TokenizerError> {
        let failed = |source| TokenizerError::Encode { text: text.to_owned(), source };
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer.normalize(&mut normalized).map_err(failed)?;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(failed)?;
        }
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(splits.into_iter().map(|(word, _, _)| word.to_owned()).collect())
    }
}

/// A token as `tokenizer_config.json` writes it: a string, or an object with its `content`.
fn token_text(value: Option<&serde_json::Value>) -> Option<&str> {
    let value = value?;
    value.as_str().or_else(|| value.get("content")?.as_str())
}

#[cfg(test)]
mod tests;
