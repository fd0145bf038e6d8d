//! From text to a caption, with errors that teach the world's language.

use super::caption::{Caption, Thing, Wording};
use super::{Color, Kind, World};
use crate::geneval::{Relation, Row};

/// Why a prompt is not one that this world understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// Words that are not part of the vocabulary.
    #[error("unknown {} in the prompt `{prompt}`. {}", quoted(words), known())]
    UnknownWords {
        /// The prompt as given.
        prompt: String,
        /// Each unknown word, with the nearest known one.
        words: Vec<(String, Option<String>)>,
    },
    /// Known words in an order that means nothing here.
    #[error("cannot read the prompt `{prompt}`: expected {expected}{}. {}", at(found), grammar())]
    Syntax {
        /// The prompt as given.
        prompt: String,
        /// What should have come.
        expected: &'static str,
        /// The word that came instead; `None` at the end.
        found: Option<String>,
    },
    /// A colour for a thing that has its own.
    #[error(
        "the prompt `{prompt}` asks for a {color} {kind}, but only hearts, circles and squares \
         come in colours; drop `{color}` or name a shape"
    )]
    FixedColor {
        /// The prompt as given.
        prompt: String,
        /// The colour.
        color: Color,
        /// The thing.
        kind: Kind,
    },
    /// Twice the same class, which GenEval's rules cannot tell apart.
    #[error(
        "the prompt `{prompt}` names {kind} twice; name two different things, or a count \
         (`two {}`)", kind.plural()
    )]
    SameKind {
        /// The prompt as given.
        prompt: String,
        /// The thing.
        kind: Kind,
    },
}

fn quoted(words: &[(String, Option<String>)]) -> String {
    let name = |(word, nearest): &(String, Option<String>)| match nearest {
        Some(nearest) => format!("`{word}` (nearest known word: `{nearest}`)"),
        None => format!("`{word}`"),
    };
    let list: Vec<String> = words.iter().map(name).collect();
    format!("{} {}", if words.len() == 1 { "word" } else { "words" }, list.join(", "))
}

fn known() -> String {
    let names = |kinds: &[Kind]| kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ");
    let colors: Vec<_> = Color::ALL.iter().map(|color| color.name()).collect();
    format!(
        "This world knows the objects {}; the shapes {} in {}; the counts two, three, four; \
         and, left of, right of, above, below",
        names(World::LARGE.objects()),
        names(&Kind::SHAPES),
        colors.join(", "),
    )
}

fn grammar() -> &'static str {
    "Prompts are `a dog`, `a red heart`, `three apples`, `a dog and a car`, \
     `a red heart and a blue square`, `a red heart to the left of a dog`"
}

fn at(found: &Option<String>) -> String {
    found.as_ref().map_or_else(|| " at the end".to_owned(), |word| format!(" at `{word}`"))
}

/// Every word that captions of any world are made of, sorted. A tokenizer of these has no unknown
/// token to fear from a prompt that [`parse`] accepts.
pub fn vocabulary() -> Vec<String> {
    World::LARGE.vocabulary()
}

impl World {
    /// Every word that captions of this world are made of, sorted.
    pub fn vocabulary(self) -> Vec<String> {
        let mut words: Vec<&str> = vec!["a", "an", "and", "to", "the", "of"];
        words.extend(["left", "right", "above", "below"]);
        words.extend(Caption::COUNTS);
        words.extend(self.words());
        words.sort_unstable();
        words.dedup();
        words.into_iter().map(str::to_owned).collect()
    }
}

/// GenEval's row for `prompt`.
///
/// # Errors
///
/// Fails for words and sentences that this world does not know.
pub fn parse(prompt: &str) -> Result<Row, PromptError> {
    Caption::parse(prompt).map(|caption| caption.row())
}

impl Caption {
    /// Reads a prompt. Case, punctuation at the end, and `a` for `an` are forgiven.
    ///
    /// ```text
    /// prompt   = thing ("and" | relation) thing | count ["red" ..] "hearts" | thing
    /// thing    = ("a" | "an") ["red" ..] "heart"
    /// relation = ["to" "the"] ("left" | "right") "of" | "above" | "below"
    /// ```
    ///
    /// # Errors
    ///
    /// Fails for words and sentences that this world does not know.
    pub fn parse(prompt: &str) -> Result<Self, PromptError> {
        let lower = prompt.trim().trim_end_matches(['.', '!']).to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        let known = vocabulary();
        let unknown: Vec<_> = words
            .iter()
            .filter(|word| !known.iter().any(|known| known == *word))
            .map(|word| {
                let nearest = hyperalign_core::nearest(word, known.iter().map(String::as_str));
                ((*word).to_owned(), nearest.map(str::to_owned))
            })
            .collect();
        if !unknown.is_empty() {
            return Err(PromptError::UnknownWords { prompt: prompt.to_owned(), words: unknown });
        }
        Parser { prompt, words: &words }.caption()
    }
}

/// Words left to read.
struct Parser<'a> {
    prompt: &'a str,
    words: &'a [&'a str],
}

impl Parser<'_> {
    fn caption(mut self) -> Result<Caption, PromptError> {
        let caption = if let Some(k) = self.first_of(&Caption::COUNTS) {
            Caption::Some { thing: self.thing(Kind::plural, "several things")?, count: k + 2 }
        } else {
            self.article("`a`, `an` or a count")?;
            let first = self.thing(Kind::name, "a thing")?;
            if self.words.is_empty() {
                Caption::Some { thing: first, count: 1 }
            } else {
                self.pair(first)?
            }
        };
        match self.words {
            [] => Ok(caption),
            _ => Err(self.syntax("the end")),
        }
    }

    /// The second half of a sentence about two things.
    fn pair(&mut self, first: Thing) -> Result<Caption, PromptError> {
        let relation = if self.take("and") { None } else { Some(self.relation()?) };
        self.article("`a` or `an`")?;
        let second = self.thing(Kind::name, "a thing")?;
        if first.kind == second.kind {
            return Err(PromptError::SameKind { prompt: self.prompt.to_owned(), kind: first.kind });
        }
        Ok(match relation {
            None => Caption::Both { first, second },
            Some((relation, wording)) => {
                Caption::Placed { subject: first, relation, target: second, wording }
            }
        })
    }

    fn relation(&mut self) -> Result<(Relation, Wording), PromptError> {
        const EXPECTED: &str = "`and`, `left of`, `right of`, `above` or `below`";
        if let Some(k) = self.first_of(&["above", "below"]) {
            return Ok(([Relation::Above, Relation::Below][k], Wording::Short));
        }
        let wording = if self.take("to") {
            self.expect("the", "`the`")?;
            Wording::Long
        } else {
            Wording::Short
        };
        let side = self.first_of(&["left", "right"]).ok_or_else(|| self.syntax(EXPECTED))?;
        self.expect("of", "`of`")?;
        Ok(([Relation::LeftOf, Relation::RightOf][side], wording))
    }

    fn thing(
        &mut self,
        noun: impl Fn(Kind) -> &'static str,
        expected: &'static str,
    ) -> Result<Thing, PromptError> {
        let color = self.first_of(&Color::ALL.map(Color::name)).map(|k| Color::ALL[k]);
        let kind = Kind::all().find(|kind| self.words.first() == Some(&noun(*kind)));
        let kind = kind.ok_or_else(|| self.syntax(expected))?;
        self.words = &self.words[1..];
        match color {
            Some(color) if !kind.is_shape() => {
                Err(PromptError::FixedColor { prompt: self.prompt.to_owned(), color, kind })
            }
            color => Ok(Thing { kind, color }),
        }
    }

    fn article(&mut self, expected: &'static str) -> Result<(), PromptError> {
        self.first_of(&["a", "an"]).map(|_| ()).ok_or_else(|| self.syntax(expected))
    }

    fn expect(&mut self, word: &str, expected: &'static str) -> Result<(), PromptError> {
        if self.take(word) { Ok(()) } else { Err(self.syntax(expected)) }
    }

    fn take(&mut self, word: &str) -> bool {
        self.first_of(&[word]).is_some()
    }

    /// Takes the next word if it is one of `words`, and says which.
    fn first_of(&mut self, words: &[&str]) -> Option<usize> {
        let next = self.words.first()?;
        let found = words.iter().position(|word| word == next)?;
        self.words = &self.words[1..];
        Some(found)
    }

    fn syntax(&self, expected: &'static str) -> PromptError {
        let found = self.words.first().map(|word| (*word).to_owned());
        PromptError::Syntax { prompt: self.prompt.to_owned(), expected, found }
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::noise::{Purpose, Stream};

    use super::*;
    use crate::geneval::Task;

    #[test]
    fn captions_survive_a_round_trip() {
        let known = vocabulary();
        assert!((60..=75).contains(&known.len()), "{} words", known.len());
        let mut stream = Stream::new(1, Purpose::World, 0, 0);
        for k in 0..3_000 {
            let world = [World::SMALL, World::LARGE][k % 2];
            let caption = world.caption(Task::ALL[k % 6], &mut stream);
            assert_eq!(caption.task(), Task::ALL[k % 6]);
            let wrong = world.corrupt(&caption, &mut stream);
            assert_ne!(caption, wrong);
            assert_ne!(caption.row(), wrong.row());
            for caption in [caption, wrong, world.colored(caption, 0.5, &mut stream)] {
                let text = caption.to_string();
                assert_eq!(Caption::parse(&text), Ok(caption), "{text}");
                assert_eq!(parse(&text), Ok(caption.row()));
                // With begin and end they must fit twelve tokens.
                assert!(text.split(' ').count() <= 10, "{text}");
                assert!(text.split(' ').all(|word| known.iter().any(|k| k == word)), "{text}");
            }
        }
    }

    #[test]
    fn the_readme_prompt() {
        let row = parse("A red heart to the left of a dog.").unwrap();
        assert_eq!(row.tag, Task::Position);
        assert_eq!(row.include[0].class, "dog");
        assert_eq!(row.include[1].color.as_deref(), Some("red"));
        assert_eq!(row.include[1].position, Some((Relation::LeftOf, 0)));
        assert_eq!(row.prompt, "a red heart to the left of a dog");
    }

    #[test]
    fn unknown_words_are_named_with_what_is_known() {
        let message = parse("a pink elephant and an appel").unwrap_err().to_string();
        for part in ["`pink`, `elephant`", "`appel` (nearest known word: `apple`)", "football"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn sentences_that_mean_nothing_here() {
        let error = |prompt| parse(prompt).unwrap_err();
        assert!(matches!(error(""), PromptError::Syntax { found: None, .. }));
        assert!(matches!(error("two dog"), PromptError::Syntax { .. }));
        assert!(matches!(error("a dog a car"), PromptError::Syntax { .. }));
        assert!(matches!(error("a dog and a car above"), PromptError::Syntax { .. }));
        assert!(matches!(error("a red dog"), PromptError::FixedColor { color: Color::Red, .. }));
        assert!(matches!(error("a red heart and a blue heart"), PromptError::SameKind { .. }));
    }
}
