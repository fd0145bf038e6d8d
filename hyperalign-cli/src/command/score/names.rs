//! Which row of a list is of which picture.
//!
//! Lists name pictures as whoever wrote them saw them: with the folder or without, with another
//! ending, from another machine. A row goes to the picture that its name fits best, and to none
//! where it could be of several.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path},
};

use hyperalign_rewards::prompts::Prompt;

/// A picture, as far as names go.
#[derive(Debug)]
pub struct Named {
    /// Parts of its whole path.
    path: Vec<String>,
    /// How many of the last of them lie in the folder that was given.
    below: usize,
    /// Which of the given folders it is of.
    root: usize,
}

impl Named {
    /// The picture at `path`, the last `below` parts of which lie in the given folder `root`.
    pub fn new(path: &Path, below: usize, root: usize) -> Self {
        // The name itself may be a link, and it is by its own name that it is known.
        let whole = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(name)
            }
            _ => path.to_owned(),
        };
        let parts = whole.components().filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        });
        Self { path: parts.collect(), below, root }
    }
}

/// What a list says about a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// This row is its own.
    Row(&'a Prompt),
    /// This row fits it, and another picture or another row fits as well.
    Ambiguous(&'a Prompt),
    /// Nothing.
    None,
}

/// How names are compared.
#[derive(Debug, Clone, Copy)]
struct Fold {
    ending: bool,
    case: bool,
}

/// The ways to compare, the strictest first. What a stricter one has found is out of the question
/// for the others, so that `x.jpg` never gets the row of `x.png` beside it.
const FOLDS: [Fold; 4] = [
    Fold { ending: false, case: false },
    Fold { ending: true, case: false },
    Fold { ending: false, case: true },
    Fold { ending: true, case: true },
];

impl Fold {
    fn parts(self, parts: &[String]) -> Vec<String> {
        let mut parts = parts.to_vec();
        if let (true, Some(last)) = (self.ending, parts.last_mut()) {
            *last = Path::new(last.as_str())
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        }
        if self.case {
            parts.iter_mut().for_each(|part| *part = part.to_lowercase());
        }
        parts
    }
}

/// What `rows` say about each of `pictures`; rows that name no picture say nothing.
pub fn matched<'a>(pictures: &[Named], rows: &'a [Prompt]) -> Vec<Found<'a>> {
    let rows: Vec<(Vec<String>, &Prompt)> = rows
        .iter()
        .filter_map(|row| Some((split(row.image.as_ref()?), row)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let mut found = vec![Found::None; pictures.len()];
    let mut used = HashSet::new();
    for fold in FOLDS {
        let mut by_last: HashMap<String, Vec<(usize, Vec<String>)>> = HashMap::new();
        for (at, (name, _)) in rows.iter().enumerate().filter(|(at, _)| !used.contains(at)) {
            let name = fold.parts(name);
            if let Some(last) = name.last().cloned() {
                by_last.entry(last).or_default().push((at, name));
            }
        }
        let mut claims = Vec::new();
        for (index, picture) in pictures.iter().enumerate() {
            if found[index] != Found::None {
                continue;
            }
            let path = fold.parts(&picture.path);
            let candidates = path.last().and_then(|last| by_last.get(last));
            let Some(claim) = best(candidates.map_or(&[], Vec::as_slice), &path, picture.below)
            else {
                continue;
            };
            claims.push((index, claim));
        }
        // A row is of the picture that it fits best: not of `b/1.png` where there is `a/1.png`.
        let mut closest: HashMap<usize, usize> = HashMap::new();
        for (_, claim) in &claims {
            let closest = closest.entry(claim.rows[0]).or_default();
            *closest = claim.common.max(*closest);
        }
        claims.retain(|(_, claim)| claim.common == closest[&claim.rows[0]]);
        let mut all: HashMap<usize, usize> = HashMap::new();
        let mut of_root: HashMap<(usize, usize), usize> = HashMap::new();
        for (index, claim) in &claims {
            *all.entry(claim.rows[0]).or_default() += 1;
            *of_root.entry((pictures[*index].root, claim.rows[0])).or_default() += 1;
        }
        for (index, Claim { rows: fitting, common }) in claims {
            let (name, row) = &rows[fitting[0]];
            let agree = fitting.iter().all(|other| rows[*other].1.text == row.text);
            // Folders side by side have the same names in them; `1.png` is meant for each.
            let is_for_each = common == name.len();
            let is_sole = all[&fitting[0]] == 1
                || (is_for_each && of_root[&(pictures[index].root, fitting[0])] == 1);
            found[index] = if agree && is_sole { Found::Row(row) } else { Found::Ambiguous(row) };
            used.extend(fitting);
        }
    }
    found
}

/// The rows that fit a picture best, and how many parts of their names are its own.
struct Claim {
    rows: Vec<usize>,
    common: usize,
}

fn best(rows: &[(usize, Vec<String>)], path: &[String], below: usize) -> Option<Claim> {
    let fitting: Vec<_> = rows
        .iter()
        .filter_map(|(at, name)| {
            let pairs = name.iter().rev().zip(path.iter().rev());
            let common = pairs.take_while(|(a, b)| a == b).count();
            (common >= name.len().min(below)).then_some((common, *at))
        })
        .collect();
    let common = fitting.iter().map(|(common, _)| *common).max()?;
    let rows = fitting.into_iter().filter(|fit| fit.0 == common).map(|(_, at)| at).collect();
    Some(Claim { rows, common })
}

/// The parts of a name, of either way to separate them.
fn split(name: &str) -> Vec<String> {
    let parts = name.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".");
    parts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[&str]) -> Vec<Prompt> {
        let row = |name: &&str| Prompt {
            text: format!("of {name}"),
            image: Some((*name).to_owned()),
            ..Prompt::default()
        };
        names.iter().map(row).collect()
    }

    /// What pictures of the folder `/data/set` get.
    fn found(pictures: &[&str], names: &[&str]) -> Vec<String> {
        let named: Vec<_> = pictures
            .iter()
            .map(|picture| {
                let below = picture.split('/').count();
                Named::new(&Path::new("/data/set").join(picture), below, 0)
            })
            .collect();
        let rows = rows(names);
        let texts = matched(&named, &rows).into_iter().map(|found| match found {
            Found::Row(row) => row.text.trim_start_matches("of ").to_owned(),
            Found::Ambiguous(_) => "?".to_owned(),
            Found::None => "-".to_owned(),
        });
        texts.collect()
    }

    #[test]
    fn pictures_that_share_a_stem_keep_their_own_rows() {
        assert_eq!(found(&["1.png", "1.jpg"], &["1.png", "1.jpg"]), ["1.png", "1.jpg"]);
        assert_eq!(found(&["1.png", "1.jpg"], &["1.jpg"]), ["-", "1.jpg"]);
        assert_eq!(found(&["1.png", "1.jpg"], &["1.webp"]), ["?", "?"]);
        assert_eq!(found(&["1.png", "2.png"], &["1.webp", "2"]), ["1.webp", "2"]);
    }

    #[test]
    fn folders_and_backslashes() {
        let set = ["a/1.png", "b/1.png"];
        assert_eq!(found(&set, &["a\\1.png", "b\\1.png"]), ["a\\1.png", "b\\1.png"]);
        assert_eq!(found(&set, &["set/b/1.png", "./a/1.png"]), ["./a/1.png", "set/b/1.png"]);
        assert_eq!(found(&set, &["1.png"]), ["?", "?"], "which of them it is nobody says");
        assert_eq!(found(&["a/1.png"], &["1.png"]), ["1.png"]);
        assert_eq!(found(&["1.png"], &["/elsewhere/set/1.png"]), ["/elsewhere/set/1.png"]);
        assert_eq!(found(&["1.png"], &["x/1.png", "set/1.png"]), ["set/1.png"]);
        assert_eq!(found(&["1.png"], &["x/1.png", "y/1.png"]), ["?"]);
        assert_eq!(found(&["c/1.png"], &["d/1.png"]), ["-"]);
    }

    #[test]
    fn case_counts_where_it_tells_pictures_apart() {
        assert_eq!(found(&["A.png", "a.png"], &["a.png", "A.png"]), ["A.png", "a.png"]);
        assert_eq!(found(&["IMG.PNG"], &["img.png"]), ["img.png"]);
        assert_eq!(found(&["A.png", "a.png"], &["a.PNG"]), ["-", "a.PNG"]);
    }

    #[test]
    fn a_name_that_comes_twice() {
        let mut twice = rows(&["1.png", "1.png"]);
        let picture = [Named::new(Path::new("/data/1.png"), 1, 0)];
        assert!(matches!(matched(&picture, &twice)[0], Found::Row(_)), "the same prompt twice");
        twice[1].text = "another".to_owned();
        assert!(matches!(matched(&picture, &twice)[0], Found::Ambiguous(_)));
    }

    #[test]
    fn one_row_for_the_same_name_in_two_folders_that_were_given() {
        let pictures = [
            Named::new(Path::new("/data/A/1.png"), 1, 0),
            Named::new(Path::new("/data/B/1.png"), 1, 1),
        ];
        let own = |names: &[&str]| -> Vec<bool> {
            let rows = rows(names);
            let found = matched(&pictures, &rows).into_iter();
            found.map(|found| matches!(found, Found::Row(_))).collect()
        };
        assert_eq!(own(&["1.png"]), [true, true]);
        assert_eq!(own(&["A/1.png"]), [true, false], "not of the other folder");
        assert_eq!(own(&["C/1.png"]), [false, false]);
    }
}
