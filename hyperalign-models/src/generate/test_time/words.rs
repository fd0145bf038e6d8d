//! What a prompt says of which things.

use std::{collections::BTreeMap, io, ops::Range, path::Path};

use hyperalign_core::{input, one_picture::Noun};
use serde::{Deserialize, Serialize};

use crate::base::Base;

/// A thing that a prompt names, by the bytes of its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    noun: Range<usize>,
    attributes: Vec<Range<usize>>,
}

/// Words between things: articles, prepositions, conjunctions, pronouns, numbers, and what a
/// picture is called.
const BETWEEN: &str = "a an the of in on at to for from with without by and or but as is are was \
    were be being been has have its their his her it they he she this that these those there \
    above below under over between behind beside near next left right front inside into onto \
    through around against across along up down off out while who which where one two three four \
    five six seven eight nine ten several many some no very photo photograph picture image \
    painting drawing illustration portrait";

/// Words after which the next words are said of the thing before.
const IS: &str = "is are was were";

/// The things that a prompt names, as its words let one guess: of every run of words between others
/// the last is a thing, and the ones before it are said of it. A word in -ing after a thing is said
/// of it, and so is what follows `is`.
pub(super) fn parse(prompt: &str) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    let mut run: Vec<Range<usize>> = Vec::new();
    let mut is_said = false;
    let lower = |word: &Range<usize>| prompt[word.clone()].to_lowercase();
    let is_among = |words: &str, word: &str| words.split_whitespace().any(|other| other == word);
    let mut end = |run: &mut Vec<Range<usize>>, is_said: &mut bool| {
        let words = std::mem::take(run);
        let was_said = std::mem::take(is_said) && !words.is_empty();
        match (words.split_last(), all.last_mut().filter(|_| was_said)) {
            (Some(_), Some(thing)) => thing.attributes.extend(words),
            (Some((noun, attributes)), None) => {
                all.push(Named { noun: noun.clone(), attributes: attributes.to_vec() });
            }
            (None, _) => {}
        }
    };
    for (word, ends_here) in words(prompt) {
        let text = lower(&word);
        if is_among(BETWEEN, &text) {
            end(&mut run, &mut is_said);
            is_said = is_among(IS, &text);
        } else if !run.is_empty() && text.len() > 4 && text.ends_with("ing") {
            end(&mut run, &mut is_said);
            is_said = true;
            run.push(word);
            end(&mut run, &mut is_said);
        } else {
            run.push(word);
        }
        if ends_here {
            end(&mut run, &mut is_said);
            is_said = false;
        }
    }
    end(&mut run, &mut is_said);
    all
}

/// The words of a text, and after which of them a mark stands.
fn words(text: &str) -> Vec<(Range<usize>, bool)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '\'';
    let mut words: Vec<(Range<usize>, bool)> = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, is_word(c)) {
            (None, true) => start = Some(at),
            (Some(first), false) => {
                words.push((first..at, false));
                start = None;
            }
            _ => {}
        }
        if !is_word(c)
            && !c.is_whitespace()
            && let Some((_, ends_here)) = words.last_mut()
        {
            *ends_here = true;
        }
    }
    words
}

/// Where the tokens of these words are in the context of `base`; without words that it cannot
/// place.
pub(super) fn places(base: &dyn Base, prompt: &str, named: &[Named]) -> Vec<Noun> {
    let of = |word: &Range<usize>| -> Vec<usize> {
        base.token_places(&prompt[..word.start], &prompt[..word.end]).collect()
    };
    let nouns = named.iter().map(|named| Noun {
        tokens: of(&named.noun),
        attributes: named.attributes.iter().map(of).filter(|word| !word.is_empty()).collect(),
    });
    nouns.filter(|noun| !noun.tokens.is_empty()).collect()
}

/// What prompts say of which things, written down in a JSON file: for each prompt the things that
/// it names, each with the words that are said of it.
///
/// ```json
/// {"a red dog and a blue heart": [{"dog": ["red"]}, {"heart": ["blue"]}]}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Knowledge {
    prompts: BTreeMap<String, Vec<BTreeMap<String, Vec<String>>>>,
}

/// Why it cannot be read, or is not of its prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnowledgeError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file says something else.
    #[error(
        "`{path}` is not what prompts say of things: {source}; it is written as {{\"a red dog\": \
         [{{\"dog\": [\"red\"]}}]}}"
    )]
    Parse {
        /// The file.
        path: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A word that the prompt does not have.
    #[error("what is written down of `{prompt}` names `{word}`, which is no word of it")]
    NoWord {
        /// The prompt.
        prompt: String,
        /// The word.
        word: String,
    },
}

impl Knowledge {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, and if it says something else.
    pub fn open(path: &Path) -> Result<Self, KnowledgeError> {
        let name = || path.display().to_string();
        let read = |source| KnowledgeError::Read { path: name(), source };
        let text = input::read_text(path).map_err(read)?;
        serde_json::from_str(&text).map_err(|source| KnowledgeError::Parse { path: name(), source })
    }

    /// What is written down of `prompt`; `None` if nothing is.
    pub(super) fn of(&self, prompt: &str) -> Result<Option<Vec<Named>>, KnowledgeError> {
        let Some(things) = self.prompts.get(prompt) else { return Ok(None) };
        let words = words(prompt);
        let mut used: Vec<Range<usize>> = Vec::new();
        // A word that is named twice is the next one of its kind.
        let mut find = |word: &String| {
            let is_it = |range: &&Range<usize>| {
                prompt[(*range).clone()].to_lowercase() == word.to_lowercase()
            };
            let mut all = words.iter().map(|(range, _)| range).filter(is_it);
            let first = all.clone().next();
            let found = all.find(|range| !used.contains(range)).or(first);
            let (prompt, word) = (prompt.to_owned(), word.clone());
            let found = found.ok_or(KnowledgeError::NoWord { prompt, word })?.clone();
            used.push(found.clone());
            Ok(found)
        };
        let mut named = Vec::new();
        for (noun, attributes) in things.iter().flatten() {
            let noun = find(noun)?;
            let attributes: Result<Vec<Range<usize>>, KnowledgeError> =
                attributes.iter().map(&mut find).collect();
            named.push(Named { noun, attributes: attributes? });
        }
        Ok(Some(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Things with what is said of them, as words.
    fn of(prompt: &str, named: &[Named]) -> Vec<String> {
        let word = |range: &Range<usize>| prompt[range.clone()].to_owned();
        let each = named.iter().map(|named| {
            let said: Vec<String> = named.attributes.iter().map(word).collect();
            format!("{}({})", word(&named.noun), said.join(","))
        });
        each.collect()
    }

    fn parsed(prompt: &str) -> Vec<String> {
        of(prompt, &parse(prompt))
    }

    #[test]
    fn things_and_what_is_said_of_them() {
        assert_eq!(parsed("a red dog and a blue heart"), ["dog(red)", "heart(blue)"]);
        assert_eq!(parsed("A photo of two Small black cats."), ["cats(Small,black)"]);
        assert_eq!(parsed("a cat riding a bicycle"), ["cat(riding)", "bicycle()"]);
        assert_eq!(parsed("a running dog"), ["dog(running)"]);
        assert_eq!(parsed("the dog is red, a heart"), ["dog(red)", "heart()"]);
        assert_eq!(
            parsed("snow-covered mountains, blue sky"),
            ["mountains(snow-covered)", "sky(blue)"]
        );
        assert_eq!(parsed("dog above heart"), ["dog()", "heart()"]);
        assert!(parsed("").is_empty() && parsed("a, the of .").is_empty());
        assert_eq!(parsed("ein schöner Käfer"), ["Käfer(ein,schöner)"]);
    }

    #[test]
    fn what_is_written_down_is_found_in_the_prompt() {
        let prompt = "a red dog and a red heart";
        let knowledge = |text: &str| serde_json::from_str::<Knowledge>(text).unwrap();
        let written =
            knowledge(&format!(r#"{{"{prompt}": [{{"Dog": ["red"]}}, {{"heart": ["red"]}}]}}"#));
        let named = written.of(prompt).unwrap().unwrap();
        assert_eq!(of(prompt, &named), ["dog(red)", "heart(red)"]);
        assert_eq!((named[0].attributes[0].start, named[1].attributes[0].start), (2, 16));
        assert!(written.of("a cat").unwrap().is_none());
        let wrong = knowledge(r#"{"a dog": [{"cat": []}]}"#).of("a dog").unwrap_err().to_string();
        assert!(wrong.contains("names `cat`"), "{wrong}");
    }

    #[test]
    fn other_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("knowledge.json");
        assert!(Knowledge::open(&path).unwrap_err().to_string().contains("cannot read"));
        std::fs::write(&path, "[1]").unwrap();
        assert!(Knowledge::open(&path).unwrap_err().to_string().contains("[\"red\"]"));
    }
}
