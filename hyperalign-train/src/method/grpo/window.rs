//! The steps of a plan that draw noise and are learned from.

use std::ops::Range;

use hyperalign_core::noise::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a window moves over the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WindowSchedule {
    /// From the noisiest step on, one step further after every so many rollouts, and back to the
    /// start after the end.
    #[default]
    Progressive,
    /// The same, faster and faster: the late steps, whose pictures are settled, get little time.
    Decaying,
    /// Anywhere, anew for each rollout.
    Random,
}

/// Which steps of a plan draw noise; the others are those of the ODE. The last never does, so that no
/// noise is left in the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Noisy {
    /// All but the last. Of these each picture learns from a share, which is drawn for it.
    All {
        /// The share.
        learned: f64,
    },
    /// Those of a window that moves.
    Window {
        /// Steps of the window.
        size: usize,
        /// How it moves.
        schedule: WindowSchedule,
        /// Rollouts of a place; of the first place where they decay.
        rollouts: u64,
    },
    /// Those of a window that lies anywhere in the first half of the plan.
    FirstHalf {
        /// Steps of the window.
        size: usize,
    },
}

/// From which place on the time that a window stays decays, and how fast (MixGRPO's code).
const DECAY: (usize, f64) = (13, 0.1);

impl Noisy {
    /// The steps of a plan of `steps` that draw noise in rollout number `rollout`.
    pub(super) fn steps(self, rollout: u64, steps: usize, stream: &mut Stream) -> Range<usize> {
        let end = steps - 1;
        match self {
            Self::All { .. } => 0..end,
            Self::Window { size, schedule, rollouts } => {
                let start = match schedule {
                    WindowSchedule::Progressive => (rollout / rollouts) as usize % end,
                    WindowSchedule::Decaying => decaying(rollout, rollouts, end),
                    WindowSchedule::Random => stream.below((end + 1).saturating_sub(size).max(1)),
                };
                start..(start + size).min(end)
            }
            Self::FirstHalf { size } => {
                let start = stream.below((steps / 2 + 1).saturating_sub(size).max(1));
                start..(start + size).min(end)
            }
        }
    }

    /// The steps of `noisy` that one picture learns from.
    pub(super) fn learned(self, noisy: Range<usize>, stream: &mut Stream) -> Vec<usize> {
        let mut steps: Vec<usize> = noisy.collect();
        if let Self::All { learned } = self {
            stream.shuffle(&mut steps);
            steps.truncate(((steps.len() as f64 * learned) as usize).max(1));
        }
        steps
    }
}

/// Where a window stands that stays at place `c` for `rollouts exp(-0.1 max(c - 13, 0))` rollouts.
fn decaying(rollout: u64, rollouts: u64, places: usize) -> usize {
    let (from, rate) = DECAY;
    let stay = |place: usize| {
        let late = place.saturating_sub(from) as f64;
        (rollouts as f64 * (-rate * late).exp()).ceil() as u64
    };
    let mut left = rollout % (0..places).map(stay).sum::<u64>();
    let mut place = 0;
    while left >= stay(place) {
        left -= stay(place);
        place += 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use hyperalign_core::noise::Purpose;

    use super::*;

    fn stream(k: u32) -> Stream {
        Stream::new(1, Purpose::Timestep, k, 0)
    }

    fn window(size: usize, schedule: WindowSchedule, rollouts: u64) -> Noisy {
        Noisy::Window { size, schedule, rollouts }
    }

    #[test]
    fn a_window_slides_over_the_plan_and_begins_again() {
        let noisy = window(4, WindowSchedule::Progressive, 25);
        let at = |rollout| noisy.steps(rollout, 10, &mut stream(0));
        assert_eq!((at(0), at(24), at(25)), (0..4, 0..4, 1..5));
        // The last step draws nothing, and the one before it is the last place.
        assert_eq!((at(25 * 7), at(25 * 8), at(25 * 9)), (7..9, 8..9, 0..4));
    }

    #[test]
    fn late_places_of_a_decaying_window_are_short() {
        let noisy = window(2, WindowSchedule::Decaying, 10);
        let places: Vec<usize> =
            (0..400).map(|rollout| noisy.steps(rollout, 25, &mut stream(0)).start).collect();
        let stays = |place| places.iter().take(206).filter(|at| **at == place).count();
        assert_eq!((stays(0), stays(13)), (10, 10));
        assert_eq!((stays(14), stays(23)), (10, 4));
        assert_eq!(places[0], 0);
        assert!(places.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == (pair[0] + 1) % 24));
    }

    #[test]
    fn random_windows_lie_inside() {
        for (noisy, last) in
            [(window(3, WindowSchedule::Random, 1), 9), (Noisy::FirstHalf { size: 3 }, 5)]
        {
            let ranges: Vec<_> = (0..200).map(|k| noisy.steps(0, 10, &mut stream(k))).collect();
            assert!(ranges.iter().all(|range| range.len() == 3));
            assert_eq!(ranges.iter().map(|range| range.end).max(), Some(last));
            assert_eq!(ranges.iter().map(|range| range.start).min(), Some(0));
        }
    }

    #[test]
    fn a_picture_learns_from_a_share_of_the_steps() {
        let noisy = Noisy::All { learned: 0.6 };
        let all = noisy.steps(3, 16, &mut stream(0));
        assert_eq!(all, 0..15);
        let (a, b) =
            (noisy.learned(all.clone(), &mut stream(1)), noisy.learned(all, &mut stream(2)));
        assert_eq!((a.len(), b.len()), (9, 9));
        assert_ne!(a, b);
        let whole = window(4, WindowSchedule::Progressive, 1);
        assert_eq!(whole.learned(2..6, &mut stream(1)), [2, 3, 4, 5]);
    }
}
