use super::*;
use hyperalign_core::testing;

const WORDS: [&str; 8] = ["a", "red", "heart", "to", "the", "left", "of", "dog"];

fn world() -> Tokenizer {
    Tokenizer::from_words(&WORDS, 8).unwrap()
}

/// The bytes of English letters, their word ends, and two merges.
fn byte_pairs() -> Tokenizer {
    let mut tokens: Vec<String> = ('a'..='z').map(String::from).collect();
    tokens.extend(('a'..='z').map(|c| format!("{c}</w>")));
    tokens.extend(["ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"].map(String::from));
    let vocab: serde_json::Map<String, serde_json::Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    let vocab = serde_json::to_string(&vocab).unwrap();
    Tokenizer::from_vocab_and_merges(&vocab, "#version: 0.2\nc a\nca t</w>\n", 6).unwrap()
}

#[test]
fn words_take_ids_in_their_order_and_the_end_the_highest() {
    let tokenizer = world();
    let encoded = tokenizer.encode(&["A red, heart!", "a"]).unwrap();
    assert_eq!(encoded.ids, [[1, 2, 3, 4, 10, 0, 0, 0], [1, 2, 10, 0, 0, 0, 0, 0]]);
    assert_eq!(encoded.cut, [None, None]);
    assert_eq!(tokenizer.vocab_size(), 11);
    let ids = encoded.to_tensor(&testing::device());
    assert_eq!(ids.dims(), [2, 8]);
    assert_eq!(ids.argmax(1).into_data().convert::<i64>().try_to_vec::<i64>().unwrap(), [4, 2]);
}

#[test]
fn texts_come_back() {
    let tokenizer = world();
    let text = "a dog to the left";
    let ids = tokenizer.encode(&[text]).unwrap().ids.remove(0);
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn the_file_makes_the_same_tokenizer() {
    for tokenizer in [world(), byte_pairs()] {
        let again = Tokenizer::from_json(&tokenizer.to_json().unwrap(), None).unwrap();
        let text = if tokenizer.words().is_empty() { "cat ab" } else { "a red dog" };
        assert_eq!(again.encode(&[text]).unwrap(), tokenizer.encode(&[text]).unwrap());
        assert_eq!(again.pad(), tokenizer.pad());
        assert_eq!(again.context_length(), tokenizer.context_length());
    }
}

#[test]
fn unknown_words_are_named_with_what_the_world_knows() {
    let error = world().encode(&["a purple dog", "the Unicorn, purple"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown words: purple, unicorn; the words known here are \
         a, dog, heart, left, of, red, the, to"
    );
}

#[test]
fn what_does_not_fit_is_reported() {
    let text = "the heart to the left of a red dog";
    let encoded = world().encode(&[text]).unwrap();
    assert_eq!(encoded.ids, [[1, 6, 4, 5, 6, 7, 8, 10]]);
    assert_eq!(encoded.cut, [Some("a red dog".to_owned())]);
}

#[test]
fn bytes_merge_and_the_end_token_pads() {
    let tokenizer = byte_pairs();
    let (cat, start, end) = (53, 54, 55);
    let encoded = tokenizer.encode(&["CAT", "cat  abcd"]).unwrap();
    assert_eq!(encoded.ids[0], [start, cat, end, end, end, end]);
    assert_eq!(encoded.ids[1], [start, cat, 0, 1, 2, end]);
    assert_eq!(encoded.cut, [None, Some("d".to_owned())]);
}

#[test]
fn open_clip_pads_with_0_and_reads_no_special_tokens() {
    let tokenizer = byte_pairs().as_open_clip();
    let encoded = tokenizer.encode(&["c&#97;t", "<|startoftext|>"]).unwrap();
    assert_eq!(encoded.ids[0], [54, 53, 55, 0, 0, 0]);
    assert_eq!(encoded.ids[1].iter().filter(|id| **id == 54).count(), 1);
    let special = byte_pairs().encode(&["<|startoftext|>"]).unwrap();
    assert_eq!(special.ids[0], [54, 54, 55, 55, 55, 55]);
}

#[test]
fn a_config_beside_sets_length_and_padding() {
    let json = byte_pairs().to_json().unwrap();
    let config = r#"{"model_max_length": 4, "pad_token": {"content": "b</w>"}}"#;
    let tokenizer = Tokenizer::from_json(&json, Some(config)).unwrap();
    assert_eq!(tokenizer.encode(&["cat"]).unwrap().ids, [[54, 53, 55, 27]]);
}

#[test]
fn a_list_of_words_is_checked() {
    for (words, part) in [
        (["a", "A"], "listed twice"),
        (["a", "ice cream"], "has a space"),
        (["a", "hot-dog"], "would split"),
    ] {
        let error = Tokenizer::from_words(&words, 8).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_empty_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Tokenizer::from_dir(dir.path()), Err(TokenizerError::NoFiles)));
}

/// The smallest BERT.
const PIECES: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\n##s\n!\n";

#[test]
fn words_fall_into_pieces_and_lengths_end_with_the_text() {
    let tokenizer = Tokenizer::from_word_pieces(PIECES, 6).unwrap();
    let encoded = tokenizer.encode(&["A Cats", "dog!", "a cat cats a"]).unwrap();
    assert_eq!(encoded.ids, [[2, 5, 6, 7, 3, 0], [2, 1, 8, 3, 0, 0], [2, 5, 6, 6, 7, 3]]);
    assert_eq!(encoded.lengths, [5, 4, 6]);
    assert_eq!(encoded.cut[2].as_deref(), Some("a"));
    let marked = Tokenizer::from_word_pieces(PIECES, 6).unwrap().with_marks(&["[ENC]"]).unwrap();
    assert_eq!(marked.encode(&["[ENC] a"]).unwrap().ids, [[2, 9, 5, 3, 0, 0]]);
    let error = Tokenizer::from_word_pieces("a\ncat\n", 6).unwrap_err().to_string();
    assert!(error.contains("[PAD]"), "{error}");
}

/// T5 has no beginning, and its end mark survives the cut.
#[test]
fn unigrams_are_read_from_their_file() {
    let json = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
            "split": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [["<pad>", 0.0], ["</s>", 0.0],
            ["<unk>", 0.0], ["▁a", -1.0], ["▁dog", -2.0], ["s", -3.0]]}}"#;
    let tokenizer = Tokenizer::from_json_with(json, 4, "<pad>").unwrap();
    let encoded = tokenizer.encode(&["a", "a dogs dog"]).unwrap();
    assert_eq!(encoded.ids, [[3, 1, 0, 0], [3, 4, 5, 1]]);
    assert_eq!(encoded.cut[1].as_deref().map(str::trim), Some("dog"));
    let error = Tokenizer::from_json_with(json, 4, "[PAD]").unwrap_err().to_string();
    assert!(error.contains("`[PAD]`"), "{error}");
}

#[test]
fn a_cut_inside_a_character_is_no_panic() {
    let mut tokens: Vec<String> = vec!["<|startoftext|>".into(), "<|endoftext|>".into()];
    // The bytes of a cat's face, as the byte-level alphabet writes them.
    tokens.extend(["ð", "Ł", "Ĳ", "±", "±</w>"].map(String::from));
    let vocab: serde_json::Map<String, serde_json::Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    let vocab = serde_json::to_string(&vocab).unwrap();
    for length in 3..8 {
        let tokenizer = Tokenizer::from_vocab_and_merges(&vocab, "", length).unwrap();
        let cut = tokenizer.encode(&["🐱🐱"]).unwrap().cut.remove(0);
        assert!(cut.is_some_and(|rest| rest.starts_with('🐱')), "rows of {length}");
    }
}

#[test]
fn rows_without_room_for_a_word_are_refused() {
    for length in [0, 2, usize::MAX] {
        let error = Tokenizer::from_word_pieces(PIECES, length).unwrap_err();
        assert!(matches!(error, TokenizerError::ContextLength { marks: 2, .. }), "{error}");
    }
}
