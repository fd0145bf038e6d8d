//! Which steps of the training schedule a run visits.

use serde::{Deserialize, Serialize};

use super::StepCountError;

/// How sampling steps are spread over the training schedule of `T` steps (Lin et al. 2023,
/// arXiv:2305.08891, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// From 0 (plus an offset) in whole strides; the last training steps are never visited.
    Leading,
    /// From `T` downwards.
    Trailing,
    /// Evenly, both ends included.
    Linspace,
}

impl TimestepSpacing {
    fn name(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Trailing => "trailing",
            Self::Linspace => "linspace",
        }
    }

    /// `steps` timesteps of a schedule of `train_steps`, falling. `offset` is added to those of
    /// the leading spacing.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps, and for more than there are timesteps.
    pub(super) fn timesteps(
        self,
        train_steps: usize,
        steps: usize,
        offset: usize,
    ) -> Result<Vec<usize>, StepCountError> {
        if steps == 0 {
            return Err(StepCountError::Zero);
        }
        if !self.fits(train_steps, steps, offset) {
            return Err(StepCountError::TooMany {
                given: steps,
                train_steps,
                spacing: self.name(),
                most: self.most(train_steps, steps, offset),
            });
        }
        let rising: Vec<usize> = match self {
            Self::Leading => {
                let stride = train_steps / steps;
                (0..steps).map(|k| k * stride + offset).collect()
            }
            Self::Trailing => {
                let stride = train_steps as f64 / steps as f64;
                let from_end =
                    |k: usize| (train_steps as f64 - k as f64 * stride).round_ties_even();
                (0..steps).rev().map(|k| from_end(k) as usize - 1).collect()
            }
            Self::Linspace => {
                let gap = (train_steps - 1) as f64 / (steps.max(2) - 1) as f64;
                (0..steps).map(|k| (k as f64 * gap).round_ties_even() as usize).collect()
            }
        };
        Ok(rising.into_iter().rev().collect())
    }

    /// Whether so many timesteps are in the schedule. The offset of the leading spacing may push
    /// the last of them out; fewer steps leave room for it.
    fn fits(self, train_steps: usize, steps: usize, offset: usize) -> bool {
        match self {
            _ if steps == 0 || steps > train_steps => false,
            Self::Leading => (steps - 1) * (train_steps / steps) + offset < train_steps,
            Self::Trailing | Self::Linspace => true,
        }
    }

    /// The most steps below `steps` that fit.
    fn most(self, train_steps: usize, steps: usize, offset: usize) -> usize {
        let below = 1..steps.min(train_steps + 1);
        below.rev().find(|steps| self.fits(train_steps, *steps, offset)).unwrap_or(0)
    }

    /// [`timesteps`](Self::timesteps) for solvers that may be told a time between two training
    /// steps: evenly spaced ones are not rounded.
    ///
    /// # Errors
    ///
    /// Fails where [`timesteps`](Self::timesteps) does.
    pub(super) fn fractional(
        self,
        train_steps: usize,
        steps: usize,
        offset: usize,
    ) -> Result<Vec<f64>, StepCountError> {
        let whole = self.timesteps(train_steps, steps, offset)?;
        let last = (train_steps - 1) as f64;
        Ok(match self {
            // A single step is the last of what a line would visit: its start.
            Self::Linspace if steps > 1 => {
                let gap = last / (steps - 1) as f64;
                // A product may be rounded up past the end of the schedule.
                (0..steps).rev().map(|k| (k as f64 * gap).min(last)).collect()
            }
            _ => whole.into_iter().map(|timestep| timestep as f64).collect(),
        })
    }

    /// [`timesteps`](Self::timesteps) for solvers that do not visit the end of the schedule, and
    /// spread one step more in order to leave it out.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps, and for more than there are timesteps.
    pub(super) fn without_end(
        self,
        train_steps: usize,
        steps: usize,
        offset: usize,
    ) -> Result<Vec<usize>, StepCountError> {
        match self {
            _ if steps == 0 => Err(StepCountError::Zero),
            Self::Trailing => self.timesteps(train_steps, steps, offset),
            Self::Leading | Self::Linspace => {
                let with_end = self.timesteps(train_steps, steps.saturating_add(1), offset);
                let mut timesteps = with_end.map_err(|error| match error {
                    StepCountError::TooMany { train_steps, spacing, most, .. } => {
                        let most = most.saturating_sub(1);
                        StepCountError::TooMany { given: steps, train_steps, spacing, most }
                    }
                    StepCountError::Zero => error,
                })?;
                timesteps.pop();
                Ok(timesteps)
            }
        }
    }
}
