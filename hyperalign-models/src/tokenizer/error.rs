//! What can be wrong with a tokenizer or its input.

/// Why a tokenizer could not be read, or a text not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A `tokenizer.json` is not one.
    #[error("the tokenizer cannot be read: {0}")]
    Json(tokenizers::Error),
    /// Another file is not the JSON that it should be.
    #[error("a file of the tokenizer is not the JSON that was expected: {0}")]
    Config(#[from] serde_json::Error),
    /// A file exists and cannot be read.
    #[error("cannot read {name} of the tokenizer: {source}")]
    File {
        /// Its name.
        name: &'static str,
        /// What the system says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There are no files of a tokenizer.
    #[error(
        "the tokenizer's folder has neither `tokenizer.json`, nor `vocab.json` with `merges.txt`, \
         nor `vocab.txt`"
    )]
    NoFiles,
    /// Nothing says how long a row is, or what fills it up.
    #[error("neither tokenizer_config.json nor tokenizer.json sets `{key}`; add it to the former")]
    Unset {
        /// The missing key of `tokenizer_config.json`.
        key: &'static str,
    },
    /// Rows that hold nothing but marks, or that no model reads.
    #[error("rows of {length} tokens are of no use: {marks} are taken by the marks of a text")]
    ContextLength {
        /// Tokens of a row.
        length: usize,
        /// Tokens that every text gets.
        marks: usize,
    },
    /// A special token is not in the vocabulary.
    #[error("`{token}`, named as {role}, is not in the tokenizer's vocabulary")]
    NoToken {
        /// The token.
        token: String,
        /// What it should be.
        role: &'static str,
    },
    /// A line of `merges.txt` is not a pair.
    #[error("line {line} of merges.txt is `{text}`, not two tokens with a space between")]
    Merge {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// A list of words cannot be a closed world.
    #[error("`{word}` cannot be a word of a closed vocabulary: {reason}")]
    Word {
        /// The word.
        word: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Words that a closed world does not have.
    #[error("unknown words: {}; the words known here are {}", unknown.join(", "), known.join(", "))]
    UnknownWords {
        /// The words, each once, in their order.
        unknown: Vec<String>,
        /// All words of the world.
        known: Vec<String>,
    },
    /// A text cannot be encoded.
    #[error("cannot encode `{text}`: {source}")]
    Encode {
        /// The text.
        text: String,
        /// What the tokenizer says.
        source: tokenizers::Error,
    },
    /// Ids cannot be decoded.
    #[error("cannot decode token ids: {0}")]
    Decode(tokenizers::Error),
}
