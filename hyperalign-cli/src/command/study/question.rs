//! What is asked about every pair of pictures.

use std::str::FromStr;

use hyperalign_train::study::Question;

/// The questions of the paper's figure 7.
const KNOWN: [(&str, &str); 3] = [
    ("overall", "Which picture do you prefer overall?"),
    ("visual", "Which picture looks better, whatever it shows?"),
    ("prompt", "Which picture shows better what the text says?"),
];

/// The most letters of a question.
const LETTERS: usize = 200;

/// A question on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QuestionChoice(pub Question);

impl FromStr for QuestionChoice {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let (name, text) = match given.split_once('=') {
            Some((name, text)) => (name, text.trim()),
            None => match KNOWN.iter().find(|(name, _)| *name == given) {
                Some(known) => *known,
                None => {
                    let names = KNOWN.map(|(name, _)| name).join(", ");
                    return Err(format!(
                        "there is no question of this name; there are {names}, and your own as \
                         NAME=TEXT"
                    ));
                }
            },
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err("a question's name has letters, digits, - and _".to_owned());
        }
        if text.is_empty() || text.chars().count() > LETTERS {
            return Err(format!("a question has from 1 to {LETTERS} letters"));
        }
        Ok(Self(Question { name: name.to_owned(), text: text.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_by_name_and_ones_own() {
        for name in ["overall", "visual", "prompt"] {
            let question = name.parse::<QuestionChoice>().unwrap().0;
            assert!(question.name == name && question.text.ends_with('?'), "{question:?}");
        }
        let own = "detail=Which has more detail = sharpness?".parse::<QuestionChoice>().unwrap().0;
        assert_eq!(
            (own.name.as_str(), own.text.as_str()),
            ("detail", "Which has more detail = sharpness?")
        );
        for (wrong, words) in [
            ("detail", "overall, visual, prompt"),
            ("=x", "letters, digits"),
            ("a b=x", "letters, digits"),
            ("x=", "from 1 to 200"),
            (&format!("x={}", "y".repeat(201)), "from 1 to 200"),
        ] {
            assert!(wrong.parse::<QuestionChoice>().unwrap_err().contains(words), "{wrong}");
        }
    }
}
