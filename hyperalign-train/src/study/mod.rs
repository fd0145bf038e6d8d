//! A blind study: which of two pictures people prefer, and what can be said of the methods that made
//! them (the user study of the paper's figure 7).
//!
//! [`draw()`] makes items of what methods have pictures of: two methods' pictures of one prompt, from
//! the same noise, side by side. A [`Study`] is the file of them, [`Ballots`] are the answers of its
//! voters, read from a file that only grows, and a [`Summary`] is what they come to: shares, win rates
//! ([`win_rate()`]), strengths ([`strengths`]) and how far voters agree ([`alpha`]).
//!
//! Nothing here shows a picture or knows who asks: the program does.

mod agreement;
mod ballots;
mod bradley_terry;
mod checks;
mod draw;
mod error;
mod file;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
mod vote;
mod win_rate;

pub use agreement::alpha;
pub use ballots::{Answers, Ballots};
pub use bradley_terry::{StrengthError, strengths};
pub use checks::{Checked, PASSED};
pub use draw::{Cast, Design, DrawError, Placed, draw};
pub use error::StudyError;
pub use file::{FORMAT, Item, Noise, Question, Shown, Study, Subject};
pub use summary::{MethodSummary, PairSummary, QuestionSummary, Summary};
pub use vote::{Answer, Vote, Voter, VoterError};
pub use win_rate::{Over, Rate, win_rate};
