//! A small study, for the tests of this folder and of reports.

use super::{Answer, Item, Noise, Question, Shown, Study, Subject, Vote, Voter};

/// Three methods on four prompts, and a check whose right side is the left one.
pub fn toy() -> Study {
    let shown = |method| Shown { method, is_degraded: false, sha256: "0".to_owned() };
    let item = |prompt: usize, left, right| Item {
        subject: Subject { prompt: format!("prompt {prompt}"), noise: Noise::Seed(prompt as u64) },
        left: shown(left),
        right: shown(right),
    };
    let mut check = item(9, 1, 1);
    check.right.is_degraded = true;
    let question = |name: &str| Question { name: name.to_owned(), text: format!("{name}?") };
    Study {
        format: super::FORMAT,
        title: "A toy".to_owned(),
        seed: 7,
        questions: vec![question("overall"), question("visual")],
        methods: ["base", "ours", "theirs"].map(str::to_owned).to_vec(),
        items: vec![item(0, 0, 1), item(1, 1, 0), item(2, 1, 2), check, item(3, 2, 0)],
        attribution: Vec::new(),
    }
}

/// A vote of `study`.
pub fn vote(study: &Study, voter: u128, item: usize, question: &str, answer: Answer) -> Vote {
    let (study, question) = (study.id(), question.to_owned());
    Vote { study, voter: Voter(voter), item, question, answer }
}
