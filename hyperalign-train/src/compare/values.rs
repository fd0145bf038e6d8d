//! The numbers of a run by column, a value for each row of the prompts.

use super::Run;
use crate::eval::{PictureCost, Record};

/// What is asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column<'a> {
    /// The share of right pictures.
    Gold,
    /// The mean score of a reward, or the distance to the base.
    Score(&'a str),
    /// Mean distance between pictures of one prompt.
    Diversity,
    /// Seconds for a picture.
    Seconds,
    /// Evaluations of the denoiser for a picture.
    Evaluations,
    /// Backward passes through the denoiser for a picture.
    Gradients,
    /// Pictures that a reward scored for a picture.
    RewardCalls,
}

impl<'a> Column<'a> {
    /// The column of the distance to the base's picture of the same prompt and noise.
    pub const DISTANCE: &'static str = "distance";

    /// The column called `name`; what is no name of ours is that of a reward.
    pub fn named(name: &'a str) -> Self {
        match name {
            "gold" => Self::Gold,
            "diversity" => Self::Diversity,
            "seconds" => Self::Seconds,
            "evaluations" => Self::Evaluations,
            "gradients" => Self::Gradients,
            "reward_calls" => Self::RewardCalls,
            other => Self::Score(other),
        }
    }

    /// Its value for one row; `None` where there is none.
    pub fn of(self, record: &Record) -> Option<f64> {
        let cost = |of: fn(PictureCost) -> f64| record.cost.map(of);
        match self {
            Self::Gold => {
                let gold = record.gold.as_ref().filter(|gold| !gold.is_empty())?;
                let right = gold.iter().filter(|right| **right).count();
                Some(right as f64 / gold.len() as f64)
            }
            Self::Score(name) => {
                let scores = record.scores.get(name).filter(|scores| !scores.is_empty())?;
                let sum: f64 = scores.iter().map(|score| f64::from(*score)).sum();
                Some(sum / scores.len() as f64)
            }
            Self::Diversity => record.diversity.map(f64::from),
            Self::Seconds => Some(record.seconds),
            Self::Evaluations => cost(|cost| cost.denoiser_evaluations),
            Self::Gradients => cost(|cost| cost.gradient_passes),
            Self::RewardCalls => cost(|cost| cost.reward_calls),
        }
    }
}

/// The mean of a column over the rows of a run that have it, those of `keep` alone; `None` if there
/// is none.
pub fn value_of(run: &Run, column: Column, keep: impl Fn(&Record) -> bool) -> Option<f64> {
    let rows = run.scores.iter().filter(|record| keep(record));
    let values: Vec<f64> = rows.filter_map(|record| column.of(record)).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use hyperalign_rewards::geneval::Task;

    use super::*;
    use crate::compare::{Folders, Results, testing::finished};

    #[test]
    fn columns_by_name() {
        let folder = tempfile::tempdir().unwrap();
        finished(folder.path());
        let results = Results::read(&Folders::new(folder.path())).unwrap();
        let run = &results.bases[0].base.runs[0];
        let of = |name| value_of(run, Column::named(name), |_| true);
        assert_eq!(of("gold"), Some(0.25));
        assert_eq!(of("proxy"), Some(0.25));
        assert_eq!(of("seconds"), Some(0.5));
        assert_eq!(of("evaluations"), Some(10.0));
        assert_eq!((of("diversity"), of("hps_v2")), (None, None));
        let colors = value_of(run, Column::Gold, |record| record.task == Some(Task::Colors));
        assert_eq!(colors, Some(0.5));
    }
}
