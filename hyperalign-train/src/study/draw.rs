//! Which pictures a study shows, on which side, and when.

use std::collections::{BTreeSet, HashMap};

use hyperalign_core::noise::{Purpose, Stream};

use super::Subject;

/// What a study is to show.
#[derive(Debug, Clone, Copy)]
pub struct Design<'a> {
    /// What each method has pictures of.
    pub methods: &'a [BTreeSet<Subject>],
    /// The method that every other one is compared with; without it each is with each.
    pub against: Option<usize>,
    /// Items that compare methods, at most.
    pub items: usize,
    /// Attention checks beside them.
    pub checks: usize,
    /// Draws all of it.
    pub seed: u64,
}

/// The picture of a method, or that picture spoiled with noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// Index of the method.
    pub method: usize,
    /// Whether it is spoiled.
    pub is_degraded: bool,
}

/// An item before its pictures are at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What both are pictures of.
    pub subject: Subject,
    /// The one on the left.
    pub left: Cast,
    /// The one on the right.
    pub right: Cast,
}

/// A design that nothing can be drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// No two methods that are to be compared have a picture of the same.
    #[error("no two methods have pictures of the same prompt from the same noise")]
    NothingInCommon,
    /// Some pairs would never be shown.
    #[error("there are {pairs} pairs of methods, and {items} items cannot show all of them")]
    FewItems {
        /// Pairs of methods that have pictures in common.
        pairs: usize,
        /// Items that were asked for.
        items: usize,
    },
}

/// Draws the items of a study, and tells the pairs of methods that have nothing in common and are left
/// out.
///
/// Pairs of methods get the same number of items, or one more than others; each takes the prompts that
/// were used least so far. Each method of a pair is as often on the left as on the right, or once more.
/// The order is random, but for the checks, which lie evenly among the rest.
///
/// # Errors
///
/// Fails where there is nothing to show.
pub fn draw(design: &Design) -> Result<(Vec<Placed>, Vec<[usize; 2]>), DrawError> {
    let mut stream = Stream::new(design.seed, Purpose::Data, 0, 0);
    let (mut pairs, mut left_out) = (Vec::new(), Vec::new());
    for pair in pairs_of(design) {
        let [first, second] = pair.map(|method| &design.methods[method]);
        let mut common: Vec<&Subject> = first.intersection(second).collect();
        stream.shuffle(&mut common);
        match common.is_empty() {
            true => left_out.push(pair),
            false => pairs.push((pair, common)),
        }
    }
    if pairs.is_empty() {
        return Err(DrawError::NothingInCommon);
    }
    if design.items < pairs.len() {
        return Err(DrawError::FewItems { pairs: pairs.len(), items: design.items });
    }
    stream.shuffle(&mut pairs);
    let mut items = compared(&mut pairs, design.items, &mut stream);
    stream.shuffle(&mut items);
    add_checks(&mut items, design.checks, &mut stream);
    Ok((items, left_out))
}

fn pairs_of(design: &Design) -> Vec<[usize; 2]> {
    let count = design.methods.len();
    let all = (0..count).flat_map(|first| (first + 1..count).map(move |second| [first, second]));
    all.filter(|pair| design.against.is_none_or(|method| pair.contains(&method))).collect()
}

/// Items of all `pairs` in turn, for as long as they have subjects, which are taken from them.
fn compared(
    pairs: &mut [([usize; 2], Vec<&Subject>)],
    most: usize,
    stream: &mut Stream,
) -> Vec<Placed> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let mut is_turned: Vec<bool> = pairs.iter().map(|_| stream.chance(0.5)).collect();
    let mut items = Vec::new();
    while items.len() < most && pairs.iter().any(|(_, subjects)| !subjects.is_empty()) {
        for ((pair, subjects), is_turned) in pairs.iter_mut().zip(&mut is_turned) {
            let used = |subject: &Subject| uses.get(subject.prompt.as_str()).copied().unwrap_or(0);
            let least = (0..subjects.len()).min_by_key(|&k| used(subjects[k]));
            let Some(subject) = least.filter(|_| items.len() < most).map(|k| subjects.remove(k))
            else {
                continue;
            };
            *uses.entry(&subject.prompt).or_default() += 1;
            let [left, right] = if *is_turned { [pair[1], pair[0]] } else { *pair };
            let [left, right] = [left, right].map(|method| Cast { method, is_degraded: false });
            items.push(Placed { subject: subject.clone(), left, right });
            *is_turned = !*is_turned;
        }
    }
    items
}

/// Puts checks evenly among `items`, each of a picture of one of them; the spoiled copy is as often on
/// the left as on the right.
fn add_checks(items: &mut Vec<Placed>, checks: usize, stream: &mut Stream) {
    let count = items.len();
    let mut of: Vec<usize> = (0..count).collect();
    stream.shuffle(&mut of);
    let mut is_left = stream.chance(0.5);
    let made: Vec<Placed> = (0..checks)
        .map(|k| {
            let item = &items[of[k % count]];
            let method = stream.pick(&[item.left, item.right]).method;
            let clean = Cast { method, is_degraded: false };
            let spoiled = Cast { method, is_degraded: true };
            is_left = !is_left;
            let [left, right] = if is_left { [spoiled, clean] } else { [clean, spoiled] };
            Placed { subject: item.subject.clone(), left, right }
        })
        .collect();
    // From the end, so that places before stay what they are.
    for (k, check) in made.into_iter().enumerate().rev() {
        items.insert((2 * k + 1) * count / (2 * checks), check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Noise;

    fn subjects(prompts: std::ops::Range<usize>) -> BTreeSet<Subject> {
        let of = |k: usize| Subject { prompt: format!("prompt {k}"), noise: Noise::Seed(k as u64) };
        prompts.map(of).collect()
    }

    fn design(methods: &[BTreeSet<Subject>]) -> Design<'_> {
        Design { methods, against: None, items: 60, checks: 6, seed: 1 }
    }

    fn sides(item: &Placed) -> [usize; 2] {
        [item.left.method, item.right.method]
    }

    #[test]
    fn pairs_sides_and_prompts_are_balanced() {
        let methods = [subjects(0..40), subjects(0..40), subjects(0..40)];
        let (items, left_out) = draw(&design(&methods)).unwrap();
        assert!(left_out.is_empty());
        let is_check = |item: &&Placed| item.left.is_degraded != item.right.is_degraded;
        let checks: Vec<&Placed> = items.iter().filter(is_check).collect();
        assert_eq!((items.len(), checks.len()), (66, 6));
        assert!(checks.iter().all(|check| check.left.method == check.right.method));
        assert_eq!(checks.iter().filter(|check| check.left.is_degraded).count(), 3);
        // One check in every eleven.
        for part in items.chunks(11) {
            assert_eq!(part.iter().filter(is_check).count(), 1);
        }
        let mut seen = HashMap::new();
        for item in items.iter().filter(|item| !is_check(item)) {
            *seen.entry(sides(item)).or_insert(0) += 1;
            assert!(seen.len() <= 6 && item.left.method != item.right.method);
        }
        assert!(seen.values().all(|count| *count == 10), "{seen:?}");
        let mut prompts: HashMap<&str, usize> = HashMap::new();
        let compared = items.iter().filter(|item| !is_check(item));
        compared.for_each(|item| *prompts.entry(&item.subject.prompt).or_default() += 1);
        assert_eq!(prompts.len(), 40, "every prompt is shown");
        assert!(prompts.values().all(|count| *count <= 2), "{prompts:?}");
    }

    #[test]
    fn a_seed_is_one_study() {
        let methods = [subjects(0..9), subjects(0..9)];
        let drawn = |seed| draw(&Design { seed, ..design(&methods) }).unwrap().0;
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        // As many as there are, each once.
        let shown: BTreeSet<Subject> = drawn(1)
            .into_iter()
            .filter(|item| item.left.method != item.right.method)
            .map(|item| item.subject)
            .collect();
        assert_eq!(shown, subjects(0..9));
    }

    #[test]
    fn pairs_with_nothing_in_common_are_told() {
        let methods = [subjects(0..9), subjects(5..14), subjects(20..30), subjects(8..21)];
        let (items, left_out) = draw(&design(&methods)).unwrap();
        assert_eq!(left_out, [[0, 2], [1, 2]]);
        let mut pairs: Vec<[usize; 2]> = items.iter().map(sides).collect();
        pairs.iter_mut().for_each(|pair| pair.sort());
        let pairs: BTreeSet<[usize; 2]> = pairs.into_iter().filter(|[a, b]| a != b).collect();
        assert_eq!(pairs.into_iter().collect::<Vec<_>>(), [[0, 1], [0, 3], [1, 3], [2, 3]]);
        let few = draw(&Design { items: 3, ..design(&methods) });
        assert_eq!(few, Err(DrawError::FewItems { pairs: 4, items: 3 }));
        let against = Design { against: Some(2), items: 5, checks: 0, ..design(&methods) };
        let (items, left_out) = draw(&against).unwrap();
        assert_eq!((items.len(), left_out.len()), (1, 2), "one subject is all they share");
        let nothing = draw(&design(&[subjects(0..2), subjects(2..4)]));
        assert_eq!(nothing, Err(DrawError::NothingInCommon));
        assert_eq!(draw(&design(&[subjects(0..2)])), Err(DrawError::NothingInCommon));
    }
}
