//! CLIP's byte-pair tokenizer as a `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::TokenizerError;

/// The token that ends a text.
pub(super) const END: &str = "<|endoftext|>";
const START: &str = "<|startoftext|>";

/// How CLIP cuts a text into pieces before merging bytes: contractions, words, single digits,
/// runs of other marks (Radford et al. 2021, arXiv:2103.00020; the pattern of their release).
const PIECES: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The `tokenizer.json` of a CLIP vocabulary, given the texts of `vocab.json` and `merges.txt`.
pub(super) fn tokenizer_json(vocab: &str, merges: &str) -> Result<String, TokenizerError> {
    let vocab: Map<String, Value> = serde_json::from_str(vocab)?;
    let id = |token: &'static str| {
        vocab
            .get(token)
            .cloned()
            .ok_or_else(|| TokenizerError::NoToken { token: token.to_owned(), role: "a mark" })
    };
    let (start, end) = (id(START)?, id(END)?);
    let special = |content: &str, id: &Value| {
        json!({
            "id": id, "content": content, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(START, &start), special(END, &end)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PIECES}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "cls": [START, start], "sep": [END, end],
            "trim_offsets": false, "add_prefix_space": false,
        },
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
            "vocab": vocab, "merges": pairs(merges)?,
        },
    });
    Ok(tokenizer.to_string())
}

/// The pairs of `merges.txt`, whose first line may be a version.
fn pairs(merges: &str) -> Result<Vec<[&str; 2]>, TokenizerError> {
    let lines = merges.lines().enumerate();
    lines
        .filter(|(i, line)| {
            let is_version = *i == 0 && line.starts_with("#version");
            !line.is_empty() && !is_version
        })
        .map(|(i, line)| {
            let (left, right) = line
                .split_once(' ')
                .ok_or_else(|| TokenizerError::Merge { line: i + 1, text: line.to_owned() })?;
            Ok([left, right])
        })
        .collect()
}
