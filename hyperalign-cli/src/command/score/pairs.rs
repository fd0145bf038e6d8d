//! Which picture of one folder stands against which of another.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{
    items::Item,
    journal::Line,
    pass::{self, Failed},
};

/// For each picture of `a` its partner among `b`: of the same name with the ending, else of the
/// same name with another ending where each folder has only one such picture left.
fn partners(a: &[Item], b: &[Item]) -> Vec<Option<usize>> {
    let mut by_key: HashMap<&Path, usize> =
        b.iter().enumerate().map(|(at, item)| (item.key.as_path(), at)).collect();
    let mut partners: Vec<Option<usize>> =
        a.iter().map(|item| by_key.remove(item.key.as_path())).collect();
    let stem = |item: &Item| item.key.with_extension("");
    let mut left: HashMap<PathBuf, [Vec<usize>; 2]> = HashMap::new();
    for (at, item) in a.iter().enumerate().filter(|(at, _)| partners[*at].is_none()) {
        left.entry(stem(item)).or_default()[0].push(at);
    }
    for at in by_key.into_values() {
        left.entry(stem(&b[at])).or_default()[1].push(at);
    }
    for [of_a, of_b] in left.into_values() {
        if let ([of_a], [of_b]) = (of_a.as_slice(), of_b.as_slice()) {
            partners[*of_a] = Some(*of_b);
        }
    }
    partners
}

/// Pictures of the same name and prompt; `results` are those of `a`, then those of `b`. A pair of
/// files that is met again by links is passed over.
pub fn pairs(
    a: &[Item],
    b: &[Item],
    results: Vec<pass::Result>,
    failed: &mut Vec<Failed>,
) -> Vec<(Line, Line)> {
    let mut results = results.into_iter();
    let of_a: Vec<pass::Result> = results.by_ref().take(a.len()).collect();
    let mut of_b: Vec<Option<pass::Result>> = results.map(Some).collect();
    let alone = |line: &Line, other: &str| Failed {
        image: line.image.display().to_string(),
        reason: format!("{other} has no picture of that name, or several that it could be"),
    };
    let place = |item: &Item| item.path.canonicalize().unwrap_or_else(|_| item.path.clone());
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for ((item, result), partner) in a.iter().zip(of_a).zip(partners(a, b)) {
        let other = partner.and_then(|at| of_b[at].take());
        match (result, other) {
            (Ok(line), Some(Ok(other))) if line.prompt == other.prompt => {
                let files = (place(item), partner.map(|at| place(&b[at])), line.prompt.clone());
                if seen.insert(files) {
                    pairs.push((line, other));
                }
            }
            (Ok(a), Some(Ok(b))) => failed.push(Failed {
                image: a.image.display().to_string(),
                reason: format!("its prompt is `{}`, and B's is `{}`", a.prompt, b.prompt),
            }),
            (Ok(line), None) => failed.push(alone(&line, "B")),
            (a, b) => {
                failed.extend([a.err(), b.and_then(std::result::Result::err)].into_iter().flatten())
            }
        }
    }
    for result in of_b.into_iter().flatten() {
        failed.push(match result {
            Ok(line) => alone(&line, "A"),
            Err(reason) => reason,
        });
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(folder: &str, names: &[&str]) -> Vec<Item> {
        let item = |name: &&str| Item {
            path: Path::new(folder).join(name),
            key: PathBuf::from(name),
            prompt: None,
            row: None,
            by_place: false,
            unread: None,
            named_instead: None,
            group: None,
        };
        names.iter().map(item).collect()
    }

    /// The partners of A's pictures in B by name, and who is left alone.
    fn found(a: &[&str], b: &[&str]) -> (Vec<String>, Vec<String>) {
        let line = |item: &Item| {
            Ok(Line {
                image: item.path.clone(),
                sha256: String::new(),
                prompt: "a dog".to_owned(),
                group: None,
                rules: None,
                scores: vec![Some(1.0)],
            })
        };
        let (a, b) = (items("A", a), items("B", b));
        let mut failed = Vec::new();
        let pairs = pairs(&a, &b, a.iter().chain(&b).map(line).collect(), &mut failed);
        let name = |line: Line| line.image.display().to_string();
        let pairs = pairs.into_iter().map(|(a, b)| format!("{}={}", name(a), name(b)));
        (pairs.collect(), failed.into_iter().map(|failed| failed.image).collect())
    }

    #[test]
    fn pictures_that_share_a_stem_do_not_cross() {
        let (pairs, failed) = found(&["1.jpg", "1.png"], &["1.jpg", "1.png"]);
        assert_eq!(pairs, ["A/1.jpg=B/1.jpg", "A/1.png=B/1.png"]);
        assert!(failed.is_empty());
        let (pairs, failed) = found(&["1.jpg", "1.png"], &["1.png"]);
        assert_eq!((pairs, failed), (vec!["A/1.png=B/1.png".into()], vec!["A/1.jpg".to_owned()]));
        let (pairs, failed) = found(&["1.jpg", "1.png"], &["1.webp"]);
        assert_eq!(
            (pairs.len(), failed),
            (0, ["A/1.jpg", "A/1.png", "B/1.webp"].map(String::from).into())
        );
    }

    #[test]
    fn another_ending_is_the_same_name_where_there_is_one() {
        let (pairs, failed) = found(&["x/1.png", "2.png"], &["x/1.webp", "2.png"]);
        assert_eq!(pairs, ["A/x/1.png=B/x/1.webp", "A/2.png=B/2.png"]);
        assert!(failed.is_empty());
    }
}
