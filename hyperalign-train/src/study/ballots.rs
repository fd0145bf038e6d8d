//! The answers of all voters.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
};

use hyperalign_core::input;

use super::{Answer, Study, StudyError, Vote, Voter};

/// What all voters have said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ballots {
    voters: BTreeMap<Voter, Answers>,
}

/// What one voter has said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    given: BTreeMap<(usize, usize), Given>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    answer: Answer,
    changes: usize,
}

impl Answers {
    /// The answer to a question about an item, both by their indices.
    pub fn get(&self, item: usize, question: usize) -> Option<Answer> {
        self.given.get(&(item, question)).map(|given| given.answer)
    }

    /// How often that answer was changed.
    pub fn changes(&self, item: usize, question: usize) -> usize {
        self.given.get(&(item, question)).map_or(0, |given| given.changes)
    }

    /// How many questions are answered.
    pub fn count(&self) -> usize {
        self.given.len()
    }
}

impl Ballots {
    /// The votes for `study` in the file at `path`, and how many of its bytes they take: half a line
    /// behind them, as a kill in the middle of a write leaves, is no vote. A file that is not there has
    /// none.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or a whole line is no vote of this study.
    pub fn read(path: &Path, study: &Study) -> Result<(Self, u64), StudyError> {
        let mut ballots = Self::default();
        if !input::is_there(path) {
            return Ok((ballots, 0));
        }
        let cannot = |source| StudyError::Read { path: path.to_owned(), source };
        let mut reader = BufReader::new(input::open(path).map_err(cannot)?);
        let (id, mut whole, mut text) = (study.id(), 0, Vec::new());
        for line in 1.. {
            text.clear();
            let length = reader.read_until(b'\n', &mut text).map_err(cannot)?;
            if text.last() != Some(&b'\n') {
                break;
            }
            let wrong = |what: String| StudyError::NoVote { path: path.to_owned(), line, what };
            let vote: Vote =
                serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
            if vote.study != id {
                let (path, found, expected) = (path.to_owned(), vote.study, id);
                return Err(StudyError::OtherStudy { path, line, found, expected });
            }
            ballots.add(&vote, study).map_err(wrong)?;
            whole += length as u64;
        }
        Ok((ballots, whole))
    }

    /// Adds a vote; an answer that was given before is replaced by it.
    ///
    /// # Errors
    ///
    /// Says why there is no such item or question.
    pub fn add(&mut self, vote: &Vote, study: &Study) -> Result<(), String> {
        let question = Self::place(vote, study)?;
        let answers = self.voters.entry(vote.voter).or_default();
        let given = answers.given.entry((vote.item, question));
        let given = given.and_modify(|given| given.changes += 1);
        given.or_insert(Given { answer: vote.answer, changes: 0 }).answer = vote.answer;
        Ok(())
    }

    /// Index of the question that a vote answers.
    ///
    /// # Errors
    ///
    /// Says why there is no such item or question.
    pub fn place(vote: &Vote, study: &Study) -> Result<usize, String> {
        let items = study.items.len();
        if vote.item >= items {
            return Err(format!("there is no item {}; they are 0 to {}", vote.item, items - 1));
        }
        study.question(&vote.question).ok_or_else(|| {
            let names: Vec<&str> = study.questions.iter().map(|q| q.name.as_str()).collect();
            let names = names.join(", ");
            format!("there is no question `{}`; there are {names}", vote.question)
        })
    }

    /// What `voter` has said.
    pub fn of(&self, voter: Voter) -> Option<&Answers> {
        self.voters.get(&voter)
    }

    /// All who have answered anything, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Voter, &Answers)> {
        self.voters.iter().map(|(voter, answers)| (*voter, answers))
    }

    /// How many they are.
    pub fn voters(&self) -> usize {
        self.voters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::testing::{toy, vote};

    fn lines(votes: &[Vote]) -> String {
        votes.iter().map(|vote| serde_json::to_string(vote).unwrap() + "\n").collect()
    }

    #[test]
    fn the_last_answer_counts_and_half_a_line_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Study::VOTES);
        let study = toy();
        let read = || Ballots::read(&path, &study).unwrap();
        assert_eq!(read(), (Ballots::default(), 0));
        let text = lines(&[
            vote(&study, 1, 0, "overall", Answer::Left),
            vote(&study, 2, 4, "visual", Answer::Neither),
            vote(&study, 1, 0, "overall", Answer::Right),
        ]);
        std::fs::write(&path, &text).unwrap();
        let (ballots, whole) = read();
        assert_eq!((ballots.voters(), whole), (2, text.len() as u64));
        let first = ballots.of(Voter(1)).unwrap();
        assert_eq!((first.get(0, 0), first.changes(0, 0)), (Some(Answer::Right), 1));
        assert_eq!((first.get(0, 1), first.count()), (None, 1));
        // Cut anywhere in its last line, it is the file before that line.
        let before = text.trim_end().rfind('\n').unwrap() + 1;
        for cut in before..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let (ballots, whole) = read();
            assert_eq!(whole, before as u64, "cut at {cut}");
            assert_eq!(ballots.of(Voter(1)).unwrap().get(0, 0), Some(Answer::Left));
        }
    }

    #[test]
    fn what_is_no_vote_of_the_study_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Study::VOTES);
        let study = toy();
        let good = vote(&study, 1, 0, "overall", Answer::Left);
        let other = Vote { study: "another".to_owned(), ..good.clone() };
        for (second, what) in [
            (lines(&[other]), "a vote of the study another"),
            (lines(&[Vote { item: 5, ..good.clone() }]), "no item 5; they are 0 to 4"),
            (
                lines(&[Vote { question: "x".to_owned(), ..good.clone() }]),
                "there are overall, visual",
            ),
            ("dear diary\n".to_owned(), "no vote of this study"),
            (lines(std::slice::from_ref(&good)).replace("left", "up"), "unknown variant `up`"),
            (
                lines(std::slice::from_ref(&good)).replace("0000000001", "1"),
                "32 hexadecimal digits",
            ),
        ] {
            std::fs::write(&path, lines(std::slice::from_ref(&good)) + &second).unwrap();
            let error = Ballots::read(&path, &study).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("line 2 of"), "{error}");
        }
    }
}
