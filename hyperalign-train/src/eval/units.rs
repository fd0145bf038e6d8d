//! Which rows of a list are made together.

use std::collections::HashMap;

/// The most pictures that are compared with each other.
const MOST_COMPARED: usize = 64;

/// Rows of one prompt, whose pictures are compared with each other.
pub(super) type Unit = Vec<usize>;

/// The rows of a list of prompts in the order in which they are made: those of one prompt
/// together, wherever they stand in the list, and at most as many units at once as have `batch`
/// pictures, `seeds` of each row. A unit that has more by itself is alone.
pub(super) fn groups(prompts: &[&str], seeds: usize, batch: usize) -> Vec<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    let mut unit_of: HashMap<&str, usize> = HashMap::new();
    for (row, &prompt) in prompts.iter().enumerate() {
        match unit_of.get(prompt) {
            Some(&k) if (units[k].len() + 1) * seeds <= MOST_COMPARED => units[k].push(row),
            _ => {
                unit_of.insert(prompt, units.len());
                units.push(vec![row]);
            }
        }
    }
    let mut groups: Vec<Vec<Unit>> = Vec::new();
    let mut pictures = 0;
    for unit in units {
        let own = unit.len() * seeds;
        match groups.last_mut() {
            Some(group) if pictures + own <= batch => group.push(unit),
            _ => {
                pictures = 0;
                groups.push(vec![unit]);
            }
        }
        pictures += own;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_prompt_are_together() {
        let prompts = ["a", "b", "a", "c", "a", "b"];
        let found = groups(&prompts, 1, 3);
        assert_eq!(found, [vec![vec![0, 2, 4]], vec![vec![1, 5], vec![3]]]);
        // Where no prompt comes twice, the order is that of the list.
        assert_eq!(groups(&["a", "b", "c"], 2, 4), [vec![vec![0], vec![1]], vec![vec![2]]]);
        assert_eq!(groups(&["a", "b"], 9, 4), [vec![vec![0]], vec![vec![1]]]);
    }

    #[test]
    fn a_prompt_of_many_rows_is_more_units() {
        let many = vec!["a"; MOST_COMPARED + 1];
        let found = groups(&many, 1, 8);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0][0].len(), found[1][0].len()), (MOST_COMPARED, 1));
        let rows: Vec<usize> = groups(&many, 3, 8).into_iter().flatten().flatten().collect();
        assert!(rows.into_iter().eq(0..many.len()));
    }
}
