//! A closed list of words as a `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::TokenizerError;

const PAD: &str = "<pad>";
const BEGIN: &str = "<bos>";
const END: &str = "<eos>";

/// What is in the vocabulary and is no word.
pub(super) const MARKS: [&str; 3] = [PAD, BEGIN, END];

/// The `tokenizer.json` of a world that has `words` only.
pub(super) fn tokenizer_json(
    words: &[&str],
    context_length: usize,
) -> Result<String, TokenizerError> {
    let mut vocab = Map::new();
    vocab.insert(PAD.to_owned(), json!(0));
    vocab.insert(BEGIN.to_owned(), json!(1));
    for word in words {
        let failed = |reason| Err(TokenizerError::Word { word: (*word).to_owned(), reason });
        let word = word.to_lowercase();
        if word.is_empty() || word.contains(char::is_whitespace) || MARKS.contains(&&*word) {
            return failed("it is empty, has a space, or is one of the marks");
        }
        if word.chars().any(is_punctuation) && word.chars().count() > 1 {
            return failed("a mark inside a word would split it");
        }
        if vocab.insert(word, json!(vocab.len())).is_some() {
            return failed("it is listed twice");
        }
    }
    let end = vocab.len();
    vocab.insert(END.to_owned(), json!(end));

    let keeps_marks = words.iter().any(|word| word.chars().any(is_punctuation));
    let special = |content: &str, id: usize| {
        json!({
            "id": id, "content": content, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {
            "max_length": context_length, "strategy": "LongestFirst", "stride": 0,
            "direction": "Right",
        },
        "padding": {
            "strategy": {"Fixed": context_length}, "direction": "Right",
            "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": PAD,
        },
        "added_tokens": [special(PAD, 0), special(BEGIN, 1), special(END, end)],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Punctuation", "behavior": if keeps_marks { "Isolated" } else { "Removed" }},
        ]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": BEGIN, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": END, "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                BEGIN: {"id": BEGIN, "ids": [1], "tokens": [BEGIN]},
                END: {"id": END, "ids": [end], "tokens": [END]},
            },
        },
        "decoder": null,
        // Absent from the vocabulary on purpose: an unknown word must not become a token.
        "model": {"type": "WordLevel", "vocab": Value::Object(vocab), "unk_token": "<unk>"},
    });
    Ok(tokenizer.to_string())
}

/// What the pre-tokenizer takes for a mark, as far as words of ours are concerned.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
}
