//! One answer of one voter.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What was said of two pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The left one is preferred.
    Left,
    /// The right one is preferred.
    Right,
    /// There is no difference, or none that matters.
    Neither,
}

/// Who answers: a random number of 128 bits, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Voter(pub u128);

/// What is no voter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a voter is named by 32 hexadecimal digits in small letters")]
pub struct VoterError;

impl Voter {
    /// The first digits of it, for tables.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Voter {
    type Err = VoterError;

    fn from_str(text: &str) -> Result<Self, VoterError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        // One way to write a number: another would be another voter to whoever compares texts.
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(VoterError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| VoterError)
    }
}

impl TryFrom<String> for Voter {
    type Error = VoterError;

    fn try_from(text: String) -> Result<Self, VoterError> {
        text.parse()
    }
}

impl From<Voter> for String {
    fn from(voter: Voter) -> Self {
        voter.to_string()
    }
}

/// An answer to one question about one item; a line of the file of votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// The study's own number: votes of another one are not counted.
    pub study: String,
    /// Who answers.
    pub voter: Voter,
    /// Index of the item.
    pub item: usize,
    /// Name of the question.
    pub question: String,
    /// The answer. Of several to one question the last one counts.
    pub answer: Answer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_written_in_one_way() {
        let text = "000000000000000000000000000000ff";
        let voter: Voter = text.parse().unwrap();
        assert_eq!(
            (voter.0, voter.to_string().as_str(), voter.short().as_str()),
            (255, text, "00000000")
        );
        for wrong in
            ["", "ff", &text.to_uppercase(), &format!("+{}", &text[1..]), &format!("{text}0")]
        {
            assert_eq!(wrong.parse::<Voter>(), Err(VoterError), "{wrong}");
        }
        let line = format!(
            r#"{{"study":"s","voter":"{text}","item":3,"question":"overall","answer":"neither"}}"#
        );
        let vote: Vote = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&vote).unwrap(), line);
    }
}
