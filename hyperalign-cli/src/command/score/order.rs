//! The order of names that people mean: numbers in them by their value.

use std::{ffi::OsStr, path::Path};

/// What paths are sorted by, so that `h-2.png` comes before `h-10.png`.
pub fn natural(path: &Path) -> Vec<Vec<Part>> {
    path.iter().map(parts).collect()
}

/// A piece of a name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Digits without leading zeros, the longer the larger.
    Number(usize, String),
    /// Anything else.
    Text(String),
}

fn parts(name: &OsStr) -> Vec<Part> {
    let name = name.to_string_lossy();
    let mut parts = Vec::new();
    let mut rest = name.as_ref();
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(match is_number {
            true => {
                let digits = part.trim_start_matches('0');
                Part::Number(digits.len(), digits.to_owned())
            }
            false => Part::Text(part.to_owned()),
        });
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_by_their_value() {
        let sorted = [
            "1/9.png",
            "2/1.png",
            "10/1.png",
            "a/b.png",
            "a2b3.png",
            "a2b20.png",
            "a10b1.png",
            "h-1.png",
            "h-2.png",
            "h-10.png",
            "h-99999999999999999999999.png",
            "h-100000000000000000000000.png",
            "h.png",
        ];
        let mut names = sorted;
        names.sort_unstable();
        assert_ne!(names, sorted);
        names.sort_by_cached_key(|name| natural(Path::new(name)));
        assert_eq!(names, sorted);
        assert!(natural(Path::new("h-07.png")) < natural(Path::new("h-8.png")));
    }
}
