//! What a name was meant to be that nobody knows: for the end of an error.

/// Names that share less than this are not proposed.
const LIKENESS: f64 = 0.6;

/// The one of `known` that `name` was most likely meant to be: the first of those that the fewest
/// letters have to be put in, left out, changed or swapped for (Damerau 1964), if most are the same.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |known| (strsim::normalized_damerau_levenshtein(name, known), known);
    let mut best = None;
    for (likeness, known) in known.into_iter().map(alike) {
        if likeness >= LIKENESS && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, known));
        }
    }
    best.map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_another_word_is_not() {
        let known = ["prompt", "seed", "steps", "step"];
        for (given, meant) in [("promt", "prompt"), ("sede", "seed"), ("stpes", "steps")] {
            assert_eq!(nearest(given, known), Some(meant));
        }
        // As near to both: the first.
        assert_eq!(nearest("stepp", known), Some("steps"));
        for stranger in ["guidance", "x", ""] {
            assert_eq!(nearest(stranger, known), None);
        }
        assert_eq!(nearest("seed", []), None);
    }
}
