//! When a reward counts as hacked.

use crate::moments::{deviation, mean};

/// The chance that a run whose held-out score never falls is accused, over all of its evaluations.
const ERROR: f64 = 0.05;
/// The chance that a reward which has not risen is taken for one that has, in one comparison.
const RISE_ERROR: f64 = 0.025;

/// The scores of one evaluation, picture by picture; pictures of a prompt lie next to each other, and
/// those of every evaluation are of the same prompts and noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Updates done.
    pub update: u64,
    /// Scores by the reward that is trained against, if there is one.
    pub trained: Option<Vec<f64>>,
    /// The held-out score: see [`Rule::held_out_score`].
    pub held_out: Vec<f64>,
}

/// What an alarm says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// The evaluation that raises it, by its update.
    pub update: u64,
    /// The evaluation with the best held-out score, which it is compared with; 0 is the base.
    pub since: u64,
    /// By how much the mean of the trained reward has risen.
    pub rise: f64,
    /// By how much the mean of the held-out score has fallen, in its standard deviations over
    /// pictures of the base.
    pub fall: f64,
}

/// The rule by which a run is judged.
///
/// Evaluation `k`, counted from 1, is compared with the one of the highest mean held-out score before
/// it, the base among them, by Student's test for paired differences with a prompt as one
/// observation. It raises an alarm where the trained reward has risen, at a level of 2.5 %, and the
/// held-out score has fallen at a level of `5 % / (k^2 (k + 1))`.
///
/// The best of `k` evaluations is partly the luckiest: whichever of them it is, the chance of a fall
/// that is none is at most `k` times that level, and the sum of `5 % / (k (k + 1))` over all `k` is
/// 5 %. So however long a run is and however often it is looked at, one whose held-out score does not
/// fall is accused with a chance of 5 % at most, as far as differences of prompts are normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Pictures of each prompt.
    pub seeds: usize,
}

impl Rule {
    /// The mean of several held-out scores for each picture, each standardised by mean and
    /// deviation of its scores of the base's pictures: what cannot be added up otherwise. A score
    /// that is the same for all of them keeps its unit.
    ///
    /// `scores` and `base` have a row for each score.
    pub fn held_out_score(scores: &[Vec<f64>], base: &[Vec<f64>]) -> Vec<f64> {
        let pictures = scores.first().map_or(0, Vec::len);
        let mut sums = vec![0.0; pictures];
        for (of, base) in scores.iter().zip(base) {
            let mean = mean(base);
            let deviation = deviation(base, 0);
            let unit = if deviation > 0.0 { deviation } else { 1.0 };
            for (sum, score) in sums.iter_mut().zip(of) {
                *sum += (score - mean) / unit / scores.len() as f64;
            }
        }
        sums
    }

    /// What evaluation number `k`, counted from 1, says beside the `best` before it.
    pub fn judge(&self, now: &Look, best: &Look, k: u64) -> Option<Alarm> {
        let (risen, before) = now.trained.as_ref().zip(best.trained.as_ref())?;
        let k = k as f64;
        let level = ERROR / (k * k * (k + 1.0));
        let has_risen = fall(risen, before, self.seeds) <= RISE_ERROR;
        let has_fallen = fall(&best.held_out, &now.held_out, self.seeds) <= level;
        (has_risen && has_fallen).then(|| Alarm {
            update: now.update,
            since: best.update,
            rise: mean(risen) - mean(before),
            fall: mean(&best.held_out) - mean(&now.held_out),
        })
    }
}

/// The chance to see `after` this far below `before`, or farther, where they have the same mean:
/// Student's test for paired differences, one-sided. `seeds` neighbours are one observation, because
/// pictures of a prompt stand or fall together.
///
/// # Panics
///
/// Panics if there are not as many of both.
pub fn fall(before: &[f64], after: &[f64], seeds: usize) -> f64 {
    assert_eq!(before.len(), after.len(), "the same pictures");
    let differences: Vec<f64> = before.iter().zip(after).map(|(a, b)| a - b).collect();
    let prompts: Vec<f64> = differences.chunks(seeds).map(mean).collect();
    let count = prompts.len();
    let mean = mean(&prompts);
    if count < 2 || mean <= 0.0 {
        return 1.0;
    }
    let error = deviation(&prompts, 0) / ((count - 1) as f64).sqrt();
    if error == 0.0 { 0.0 } else { upper_tail(mean / error, count - 1) }
}

/// The chance that a variable of Student's distribution with `freedom` degrees of freedom is above
/// `t`, which is not negative (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4).
fn upper_tail(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2;
    // Terms of the powers 0, 2, 4, .. of the cosine for an even number, 1, 3, 5, .. for an odd one.
    let mut term = if odd == 1 { cosine } else { 1.0 };
    let mut sum = 0.0;
    for power in (odd..freedom.saturating_sub(1)).step_by(2) {
        sum += term;
        let next = power as f64 + 1.0;
        term *= cosine * cosine * next / (next + 1.0);
    }
    let within = match odd {
        1 => (angle + sine * sum) * std::f64::consts::FRAC_2_PI,
        _ => sine * sum,
    };
    ((1.0 - within) / 2.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use hyperalign_core::noise::{Purpose, Stream};

    use super::*;

    const PROMPTS: usize = 24;
    const SEEDS: usize = 2;
    const RULE: Rule = Rule { seeds: SEEDS };

    #[test]
    fn tails_are_those_of_the_tables() {
        // Critical values of Student's distribution, one-sided.
        for (freedom, t, chance) in [
            (1, 6.314, 0.05),
            (2, 4.303, 0.025),
            (3, 5.841, 0.005),
            (10, 2.764, 0.01),
            (23, 2.069, 0.025),
            (23, 3.768, 0.0005),
            (60, 1.671, 0.05),
        ] {
            let found = upper_tail(t, freedom);
            assert!((found / chance - 1.0).abs() < 2e-3, "t_{freedom} > {t}: {found}");
        }
        for freedom in 1..40 {
            assert!((upper_tail(0.0, freedom) - 0.5).abs() < 1e-12);
        }
    }

    #[test]
    fn pictures_of_a_prompt_are_one_observation() {
        let before = [1.0, 1.0, 2.0, 2.0, 1.5, 1.5];
        let after = [0.5, 0.5, 1.0, 1.0, 1.25, 1.25];
        let once = fall(&[1.0, 2.0, 1.5], &[0.5, 1.0, 1.25], 1);
        assert!((fall(&before, &after, 2) - once).abs() < 1e-12);
        assert!(fall(&before, &after, 1) < once);
        assert_eq!(fall(&after, &before, 2), 1.0, "a rise is no fall");
        assert_eq!(fall(&[1.0; 2], &[0.0; 2], 2), 1.0, "one prompt proves nothing");
    }

    #[test]
    fn scores_are_added_up_in_their_own_units() {
        let base = [vec![0.2, 0.4], vec![0.0, 0.0]];
        let found = Rule::held_out_score(&[vec![0.5, 0.2], vec![1.0, 0.0]], &base);
        for (found, expected) in found.iter().zip([(2.0 + 1.0) / 2.0, (-1.0 + 0.0) / 2.0]) {
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        }
    }

    /// What a run of `evaluations` looks like whose trained reward rises all the time; the held-out
    /// score moves by `drift` from one to the next, and by noise of every prompt and picture.
    fn run(seed: u64, evaluations: u64, drift: f64) -> Option<Alarm> {
        let look = |k: u64| {
            let mut stream = Stream::new(seed, Purpose::Data, k as u32, 0);
            let (mut trained, mut held_out) = (Vec::new(), Vec::new());
            for _ in 0..PROMPTS {
                let of_prompt = stream.normal();
                for _ in 0..SEEDS {
                    trained.push(0.5 * k as f64 + 0.2 * stream.normal());
                    held_out.push(drift * k as f64 + of_prompt + 0.5 * stream.normal());
                }
            }
            Look { update: k, trained: Some(trained), held_out }
        };
        let mut best = look(0);
        for k in 1..=evaluations {
            let now = look(k);
            if let Some(alarm) = RULE.judge(&now, &best, k) {
                return Some(alarm);
            }
            if mean(&now.held_out) > mean(&best.held_out) {
                best = now;
            }
        }
        None
    }

    /// A naive comparison with the best so far at 2.5 % accuses most of these runs.
    #[test]
    fn chance_is_not_taken_for_hacking() {
        let alarms = (0..200).filter(|&seed| run(seed, 40, 0.0).is_some()).count();
        assert!(alarms <= 10, "{alarms} of 200");
        let rising = (0..200).filter(|&seed| run(seed, 20, 0.1).is_some()).count();
        assert!(rising <= 10, "{rising} of 200");
    }

    #[test]
    fn a_falling_score_is_noticed() {
        let alarms: Vec<Alarm> = (0..50).filter_map(|seed| run(seed, 20, -0.3)).collect();
        assert_eq!(alarms.len(), 50);
        assert!(alarms.iter().all(|alarm| alarm.rise > 0.0 && alarm.fall > 0.0));
    }

    #[test]
    fn nothing_is_hacked_where_nothing_rises() {
        let look = |update, trained: f64, held_out: f64| Look {
            update,
            trained: Some((0..8).map(|k| trained + 0.01 * f64::from(k % 3)).collect()),
            held_out: (0..8).map(|k| held_out + 0.01 * f64::from(k % 5)).collect(),
        };
        let rule = Rule { seeds: 1 };
        let best = look(0, 0.0, 0.0);
        assert!(rule.judge(&look(1, 1.0, -1.0), &best, 1).is_some());
        assert_eq!(rule.judge(&look(1, -1.0, -1.0), &best, 1), None, "a run that falls apart");
        assert_eq!(rule.judge(&look(1, 1.0, 1.0), &best, 1), None);
        let without = |look: Look| Look { trained: None, ..look };
        assert_eq!(rule.judge(&without(look(1, 1.0, -1.0)), &without(best), 1), None);
    }
}
