//! Bodies of requests that nobody wrote.

use axum::body::Bytes;
use hyperalign_core::fuzz::{Fuzz, inputs};

use super::{
    flow_grpo::{Needs, Request},
    numpy, question,
};

fn fuzz(fuzz: &Fuzz, read: impl FnMut(&[u8]) -> bool) {
    let figures = fuzz.run(inputs(), read);
    println!("fuzz {}: {figures}", fuzz.name);
}

#[test]
fn requests_in_json() {
    let one = br#"{"images": ["aGVsbG8=", "data:x;base64,aGVs\nbG8="], "prompt": "a dog"}"#;
    let each = br#"{"images": ["aGVsbG8="], "prompts": ["a dog"], "prompt": null}"#;
    let words = &["[", "{", "\"", ",", "null", ";base64,", "\\n", "=", "\"images\":", "\\ud800"];
    let corpus = vec![one.to_vec(), each.to_vec()];
    fuzz(&Fuzz { name: "requests", corpus, words, constant: 8 << 20 }, |body| {
        let Ok(question) = question::Question::read(body) else { return false };
        question.images.iter().all(|image| question::file(image).is_ok())
    });
}

#[test]
fn requests_in_pickles() {
    let lists = b"\x80\x03}(X\x06\x00\x00\x00images](C\x02abC\x01ceX\x07\x00\x00\x00prompts](X\x01\
                  \x00\x00\x00aX\x01\x00\x00\x00beu.";
    let bare = b"\x80\x03}(X\x06\x00\x00\x00images](C\x02abeu.";
    let words = &["(", "]", "}", "e", "u", ".", "h\0", "q\0", "C\x01x", "X\x01\0\0\0a", "R", "2"];
    let corpus = vec![lists.to_vec(), bare.to_vec()];
    fuzz(&Fuzz { name: "pickled requests", corpus, words, constant: 8 << 20 }, |body| {
        let body = Bytes::copy_from_slice(body);
        let Ok(pickle) = numpy::read(&body) else { return false };
        Request::read(&pickle, &body, Needs { prompts: false, rules: false }).is_ok()
    });
}
