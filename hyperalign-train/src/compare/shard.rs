//! Shares of a comparison, for arrays of jobs.

use std::{fmt, str::FromStr};

/// A share of a comparison, for arrays of jobs: `index` of `of`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Self = Self { index: 0, of: 1 };
}

/// A text that names no shard.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("a shard is written as i/n with i from 1 to n, such as 2/8, and not `{0}`")]
pub struct ShardError(String);

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let number = |text: &str| text.parse::<usize>().ok();
        let numbers = text.split_once('/').and_then(|(i, n)| number(i).zip(number(n)));
        match numbers {
            Some((i, n)) if i >= 1 && i <= n => Ok(Self { index: i - 1, of: n }),
            _ => Err(ShardError(text.to_owned())),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 1, of: 8 }));
        for wrong in ["0/8", "9/8", "2", "a/b", "1/0", "-1/2"] {
            assert!(wrong.parse::<Shard>().unwrap_err().to_string().contains(wrong));
        }
        assert_eq!(Shard { index: 1, of: 8 }.to_string(), "2/8");
    }
}
