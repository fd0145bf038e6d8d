//! Votes that nobody wrote.

use hyperalign_core::fuzz::{Fuzz, inputs};

use super::http::read_vote;

#[test]
fn votes() {
    let vote = br#"{"study": "0123456789abcdef", "voter": "0123456789abcdef0123456789abcdef",
        "item": 3, "question": "overall", "answer": "neither"}"#;
    let words = &["{", "\"", "null", "1e999", "-1", "left", "\"item\":", "[", ",", "voter"];
    let corpus = vec![vote.to_vec()];
    let fuzz = Fuzz { name: "votes", corpus, words, constant: 1 << 20 };
    let figures = fuzz.run(inputs(), |body| read_vote(body).is_ok());
    println!("fuzz {}: {figures}", fuzz.name);
}
