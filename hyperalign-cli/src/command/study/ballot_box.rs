//! Where votes go, one line each, and from where they are read back after any end.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::http::StatusCode;
use hyperalign_train::study::{Answers, Ballots, Study, Vote, Voter};
use miette::{Diagnostic, IntoDiagnostic};

use crate::{output, server::Refusal};

/// How often one answer may be changed: what a voter can add to the file has an end.
const CHANGES: usize = 20;

/// A file of votes that cannot be kept.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot keep votes in `{}`: {source}", path.display())]
#[diagnostic(help("choose a place that can be written"))]
struct KeepError {
    path: PathBuf,
    source: io::Error,
}

/// The votes of a study, in its file and in memory.
#[derive(Debug)]
pub struct BallotBox {
    study: Study,
    id: String,
    most_voters: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    file: File,
    /// Bytes of whole votes.
    length: u64,
    /// Whether less than a whole vote may lie behind them.
    is_torn: bool,
    ballots: Ballots,
}

impl BallotBox {
    /// Opens the votes of the study in `folder`, or begins them. Half a vote at the end, as a kill leaves,
    /// is cut off, and told.
    ///
    /// # Errors
    ///
    /// Fails for votes that are not of this study, and a file that cannot be written.
    pub fn open(folder: &Path, study: Study, most_voters: usize) -> miette::Result<Self> {
        let path = folder.join(Study::VOTES);
        let (ballots, length) = Ballots::read(&path, &study).into_diagnostic()?;
        let cannot = |source| KeepError { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&path).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.len() > length {
            file.set_len(length).map_err(cannot)?;
            output::note(&format!(
                "half a vote at the end of `{}` was cut off: its voter was not told that it counts",
                path.display()
            ));
        }
        file.sync_all().map_err(cannot)?;
        sync_folder(folder).map_err(cannot)?;
        let kept = Mutex::new(Kept { file, length, is_torn: false, ballots });
        Ok(Self { id: study.id(), study, most_voters, kept })
    }

    /// What voters are asked about.
    pub fn study(&self) -> &Study {
        &self.study
    }

    /// Its number.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What a voter has said so far.
    pub fn answers(&self, voter: Voter) -> Answers {
        self.lock().ballots.of(voter).cloned().unwrap_or_default()
    }

    /// Voters and their answers.
    pub fn counts(&self) -> (usize, usize) {
        let kept = self.lock();
        let answers = kept.ballots.iter().map(|(_, answers)| answers.count()).sum();
        (kept.ballots.voters(), answers)
    }

    /// Takes a vote. When this returns, it is on the disk.
    ///
    /// # Errors
    ///
    /// Refuses votes that are not of this study, voters beyond the number that is taken, and all where
    /// the disk takes none.
    pub fn cast(&self, vote: &Vote) -> Result<(), Refusal> {
        let bad = |reason| Refusal::new(StatusCode::BAD_REQUEST, reason);
        if vote.study != self.id {
            let reason = format!("the vote is of another study; this one is {}", self.id);
            return Err(Refusal::new(StatusCode::CONFLICT, reason));
        }
        let question = Ballots::place(vote, &self.study).map_err(bad)?;
        let mut kept = self.lock();
        let voters = kept.ballots.voters();
        match kept.ballots.of(vote.voter) {
            None if voters >= self.most_voters => {
                let reason = format!("the study has its {voters} voters, and takes no more");
                return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
            }
            Some(answers) if answers.get(vote.item, question) == Some(vote.answer) => {
                return Ok(());
            }
            Some(answers) if answers.changes(vote.item, question) >= CHANGES => {
                let reason = format!("this answer was changed {CHANGES} times, and stays as it is");
                return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
            }
            _ => {}
        }
        kept.append(vote).map_err(|error| {
            let reason = format!("the vote could not be kept ({error}) and does not count");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason)
        })?;
        kept.ballots.add(vote, &self.study).map_err(bad)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Appends one line, whole or not at all.
    fn append(&mut self, vote: &Vote) -> io::Result<()> {
        // A full disk may have taken a part of an earlier one.
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        let mut line = serde_json::to_vec(vote)?;
        line.push(b'\n');
        self.is_torn = true;
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// Brings the name of the file to the disk. Only Unix opens folders as files.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use hyperalign_train::study::{Answer, FORMAT, Item, Noise, Question, Shown, Subject};

    use super::*;

    fn study() -> Study {
        let shown = |method| Shown { method, is_degraded: false, sha256: String::new() };
        let subject = Subject { prompt: "a dog".to_owned(), noise: Noise::Seed(1) };
        let question = Question { name: "overall".to_owned(), text: "Which?".to_owned() };
        Study {
            format: FORMAT,
            title: String::new(),
            seed: 0,
            questions: vec![question],
            methods: vec!["a".to_owned(), "b".to_owned()],
            items: vec![Item { subject, left: shown(0), right: shown(1) }],
            attribution: Vec::new(),
        }
    }

    fn vote(voter: u128, answer: Answer) -> Vote {
        let (study, question) = (study().id(), "overall".to_owned());
        Vote { study, voter: Voter(voter), item: 0, question, answer }
    }

    #[test]
    fn votes_are_read_back_and_half_a_vote_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Study::VOTES);
        let open = || BallotBox::open(folder.path(), study(), 10).unwrap();
        let ballots = open();
        for (voter, answer) in [(1, Answer::Left), (2, Answer::Right), (1, Answer::Neither)] {
            ballots.cast(&vote(voter, answer)).unwrap();
        }
        // The same once more is no news.
        let length = path.metadata().unwrap().len();
        ballots.cast(&vote(1, Answer::Neither)).unwrap();
        assert_eq!(path.metadata().unwrap().len(), length);
        drop(ballots);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let ballots = open();
        assert_eq!(ballots.counts(), (2, 2));
        assert_eq!(ballots.answers(Voter(1)).get(0, 0), Some(Answer::Left));
        ballots.cast(&vote(1, Answer::Neither)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn what_a_part_of_was_written_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Study::VOTES);
        let ballots = BallotBox::open(folder.path(), study(), 10).unwrap();
        ballots.cast(&vote(1, Answer::Left)).unwrap();
        {
            let mut kept = ballots.lock();
            kept.file.write_all(b"{\"stu").unwrap();
            kept.is_torn = true;
        }
        ballots.cast(&vote(2, Answer::Left)).unwrap();
        let (read, whole) = Ballots::read(&path, &study()).unwrap();
        assert_eq!((read.voters(), whole), (2, path.metadata().unwrap().len()));
    }

    #[test]
    fn what_a_client_can_add_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let ballots = BallotBox::open(folder.path(), study(), 2).unwrap();
        let status = |vote: &Vote| ballots.cast(vote).map_err(|refusal| refusal.status.as_u16());
        assert_eq!(status(&vote(1, Answer::Left)), Ok(()));
        assert_eq!(status(&vote(2, Answer::Left)), Ok(()));
        assert_eq!(status(&vote(3, Answer::Left)), Err(403));
        for change in 0..CHANGES {
            let answer = if change % 2 == 0 { Answer::Right } else { Answer::Left };
            assert_eq!(status(&vote(1, answer)), Ok(()), "{change}");
        }
        assert_eq!(status(&vote(1, Answer::Neither)), Err(403));
        assert_eq!(status(&Vote { item: 1, ..vote(1, Answer::Left) }), Err(400));
        assert_eq!(status(&Vote { study: "x".to_owned(), ..vote(1, Answer::Left) }), Err(409));
        let question = "other".to_owned();
        assert_eq!(status(&Vote { question, ..vote(1, Answer::Left) }), Err(400));
        assert_eq!(ballots.counts(), (2, 2));
    }
}
