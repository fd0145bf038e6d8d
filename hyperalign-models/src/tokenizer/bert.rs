//! BERT's word-piece tokenizer as a `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::TokenizerError;

/// The token that fills rows up.
pub(super) const PAD: &str = "[PAD]";
const UNKNOWN: &str = "[UNK]";
const BEGIN: &str = "[CLS]";
const END: &str = "[SEP]";
const MASK: &str = "[MASK]";

/// The `tokenizer.json` of an uncased BERT (Devlin et al. 2019, arXiv:1810.04805), given the text
/// of its `vocab.txt`: a token a line, its number its id.
pub(super) fn tokenizer_json(vocab: &str) -> Result<String, TokenizerError> {
    let vocab: Map<String, Value> =
        vocab.lines().enumerate().map(|(id, token)| (token.to_owned(), id.into())).collect();
    let id = |token: &'static str| {
        let missing =
            || TokenizerError::NoToken { token: token.to_owned(), role: "a mark of BERT" };
        vocab.get(token).cloned().ok_or_else(missing)
    };
    let marks: Vec<Value> = [PAD, UNKNOWN, BEGIN, END, MASK]
        .into_iter()
        .map(|content| {
            Ok(json!({
                "id": id(content)?, "content": content, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            }))
        })
        .collect::<Result<_, TokenizerError>>()?;
    let token = |name: &str, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let special = |name: &'static str| -> Result<Value, TokenizerError> {
        Ok(json!({"id": name, "ids": [id(name)?], "tokens": [name]}))
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": marks,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token(BEGIN, 0), text("A", 0), token(END, 0)],
            "pair": [token(BEGIN, 0), text("A", 0), token(END, 0), text("B", 1), token(END, 1)],
            "special_tokens": {BEGIN: special(BEGIN)?, END: special(END)?},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": UNKNOWN, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    });
    Ok(tokenizer.to_string())
}
