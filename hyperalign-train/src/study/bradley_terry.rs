//! Strengths of methods from comparisons of two at a time.

/// Steps of the iteration at most.
const STEPS: usize = 100_000;
/// It has ended where no strength changes by more than this share.
const ENOUGH: f64 = 1e-12;

/// Strengths that are not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrengthError {
    /// Some methods lost all comparisons with the others, or were never compared with them.
    #[error(
        "the methods fall into groups of which one never won against the other, so that no finite \
         strengths explain it; more votes may help"
    )]
    Apart,
    /// Comparisons that all but tell the methods apart.
    #[error("the iteration did not come to an end")]
    NoEnd,
}

/// Strengths `p` by which method `i` wins against `j` with probability `p_i / (p_i + p_j)` (Bradley &
/// Terry 1952), of the largest likelihood, by the iteration `p_i = W_i / sum_j n_ij / (p_i + p_j)`
/// (Hunter 2004, MM algorithms for generalized Bradley-Terry models, eq. 3). Their geometric mean is 1.
///
/// `wins[i][j]` is how often `i` won against `j`; no preference counts half to each.
///
/// # Errors
///
/// Fails where the likelihood has no maximum (Ford 1957): unless each method has won, directly or through
/// others, against each other one.
///
/// # Panics
///
/// Panics if `wins` is not square.
pub fn strengths(wins: &[Vec<f64>]) -> Result<Vec<f64>, StrengthError> {
    let count = wins.len();
    assert!(wins.iter().all(|row| row.len() == count), "a row and a column for each method");
    if !(reaches_all(count, |i, j| wins[i][j] > 0.0) && reaches_all(count, |i, j| wins[j][i] > 0.0))
    {
        return Err(StrengthError::Apart);
    }
    let others = |i: usize| (0..count).filter(move |j| *j != i);
    let won: Vec<f64> = (0..count).map(|i| others(i).map(|j| wins[i][j]).sum()).collect();
    let mut strengths = vec![1.0; count];
    for _ in 0..STEPS {
        let next: Vec<f64> = (0..count)
            .map(|i| {
                let met = |j: usize| (wins[i][j] + wins[j][i]) / (strengths[i] + strengths[j]);
                let sum: f64 = others(i).map(met).sum();
                if sum > 0.0 { won[i] / sum } else { 1.0 }
            })
            .collect();
        let mean = (next.iter().map(|p| p.ln()).sum::<f64>() / count as f64).exp();
        let next: Vec<f64> = next.into_iter().map(|p| p / mean).collect();
        let change =
            next.iter().zip(&strengths).map(|(new, old): (&f64, &f64)| (new / old - 1.0).abs());
        let is_done = change.fold(0.0, f64::max) < ENOUGH;
        strengths = next;
        if is_done {
            return Ok(strengths);
        }
    }
    Err(StrengthError::NoEnd)
}

/// Whether from the first of `count` points all others can be come to by edges.
fn reaches_all(count: usize, is_edge: impl Fn(usize, usize) -> bool) -> bool {
    let mut reached = vec![false; count];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if at < count && !std::mem::replace(&mut reached[at], true) {
            open.extend((0..count).filter(|&next| is_edge(at, next)));
        }
    }
    reached.into_iter().all(|is| is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: &[f64], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} for {expected}");
        }
    }

    /// Of two, the ratio of strengths is that of wins: 3 of 4 make 3 to 1.
    #[test]
    fn two_by_hand() {
        let found = strengths(&[vec![0.0, 3.0], vec![1.0, 0.0]]).unwrap();
        assert_near(&found, &[3f64.sqrt(), 1.0 / 3f64.sqrt()]);
        // Ties alone.
        assert_near(&strengths(&[vec![0.0, 0.5], vec![0.5, 0.0]]).unwrap(), &[1.0, 1.0]);
    }

    /// Strengths of 1, 2 and 4 win 5 of 15, 3 of 15 and 5 of 15 against the next ones: where the wins are
    /// what strengths say, these strengths have the largest likelihood.
    #[test]
    fn three_by_hand() {
        let wins = [vec![0.0, 5.0, 3.0], vec![10.0, 0.0, 5.0], vec![12.0, 10.0, 0.0]];
        assert_near(&strengths(&wins).unwrap(), &[0.5, 1.0, 2.0]);
    }

    /// The likelihood is stationary: what each won is what its strength says it should have.
    #[test]
    fn wins_are_as_expected_where_pairs_do_not_fit() {
        let wins = [
            vec![0.0, 4.0, 0.0, 2.5],
            vec![1.0, 0.0, 6.0, 0.0],
            vec![0.0, 3.0, 0.0, 1.0],
            vec![3.5, 0.0, 2.0, 0.0],
        ];
        let p = strengths(&wins).unwrap();
        for i in 0..4 {
            let expected: f64 =
                (0..4).map(|j| (wins[i][j] + wins[j][i]) * p[i] / (p[i] + p[j])).sum();
            // With itself it has met nobody.
            let won: f64 = wins[i].iter().sum();
            assert!((won - expected).abs() < 1e-9, "{won} for {expected}");
        }
        assert!((p.iter().product::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn who_never_lost_has_no_strength() {
        for wins in [
            vec![vec![0.0, 2.0], vec![0.0, 0.0]],
            vec![vec![0.0, 0.0], vec![0.0, 0.0]],
            vec![vec![0.0, 1.0, 1.0], vec![1.0, 0.0, 1.0], vec![0.0, 0.0, 0.0]],
        ] {
            assert_eq!(strengths(&wins), Err(StrengthError::Apart), "{wins:?}");
        }
        assert_eq!(strengths(&[vec![0.0]]), Ok(vec![1.0]));
    }
}
