//! Which of several pictures people liked best.

/// The indices of the best and the worst of several pictures. None if the best is not one: ties
/// are no preference. By `human_preference` the best has the highest number, by `rank` the lowest.
pub(super) fn best_and_worst(values: &[f64], is_rank: bool) -> Option<[u16; 2]> {
    let goodness = |k: usize| if is_rank { -values[k] } else { values[k] };
    let best = (0..values.len()).max_by(|a, b| goodness(*a).total_cmp(&goodness(*b)))?;
    let worst = (0..values.len()).min_by(|a, b| goodness(*a).total_cmp(&goodness(*b)))?;
    let is_tied = (0..values.len()).any(|k| k != best && goodness(k) == goodness(best));
    if is_tied || best == worst {
        return None;
    }
    Some([u16::try_from(best).ok()?, u16::try_from(worst).ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_no_preference() {
        assert_eq!(best_and_worst(&[0.0, 1.0], false), Some([1, 0]));
        assert_eq!(best_and_worst(&[1.0, 1.0], false), None);
        assert_eq!(best_and_worst(&[3.0, 1.0, 4.0, 2.0], true), Some([1, 2]));
        // Only the best has to be one.
        assert_eq!(best_and_worst(&[1.0, 2.0, 2.0], true), Some([0, 1]));
        assert_eq!(best_and_worst(&[1.0, 1.0, 2.0], true), None);
        assert_eq!(best_and_worst(&[1.0], true), None);
        assert_eq!(best_and_worst(&[], false), None);
    }
}
