//! Taking the time of something, several times.

use std::time::Instant;

use burn::tensor::Tensor;
use serde::Serialize;

/// How often something is done.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Repeats {
    /// Untimed, before the others: kernels are compiled and caches filled.
    pub warmup: usize,
    /// Timed.
    pub timed: usize,
}

/// Wall time of one of several repeats, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Timing {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Timing {
    /// Of seconds that were taken elsewhere; `None` for none.
    pub(super) fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let (min, max) = (*seconds.first()?, *seconds.last()?);
        let middle = seconds.len() / 2;
        let median = match seconds.len() % 2 {
            0 => (seconds[middle - 1] + seconds[middle]) / 2.0,
            _ => seconds[middle],
        };
        Some(Self { median, min, max })
    }
}

/// Something to time, and its name.
pub(super) type Work<'a> = (&'static str, Box<dyn FnMut() -> miette::Result<()> + 'a>);

/// Does all of `works` in turn, again and again: what slows the machine down for a while then
/// falls on all of them.
///
/// # Errors
///
/// Fails where a work does.
///
/// # Panics
///
/// Panics if there is no timed repeat.
pub(super) fn time(
    repeats: Repeats,
    mut works: Vec<Work>,
) -> miette::Result<Vec<(&'static str, Timing)>> {
    let mut seconds = vec![Vec::with_capacity(repeats.timed); works.len()];
    for repeat in 0..repeats.warmup + repeats.timed {
        for ((_, work), seconds) in works.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            work()?;
            if repeat >= repeats.warmup {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let timing = |seconds| Timing::of(seconds).expect("at least one repeat is timed");
    Ok(works.iter().zip(seconds).map(|((name, _), seconds)| (*name, timing(seconds))).collect())
}

/// Waits until `tensor` is computed: devices work behind our back, but a number that is read
/// back has to be there.
pub(super) fn wait<const D: usize>(tensor: Tensor<D>) {
    tensor.sum().into_scalar::<f32>();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Timing::of(vec![]), None);
        let timing = Timing::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(timing, Some(Timing { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Timing::of(vec![4.0, 1.0]).map(|timing| timing.median), Some(2.5));
    }

    #[test]
    fn warm_up_is_not_timed() {
        let mut calls = 0;
        let slow_at_first: Work = (
            "slow at first",
            Box::new(|| {
                calls += 1;
                if calls == 1 {
                    std::thread::sleep(std::time::Duration::from_millis(200));
                }
                Ok(())
            }),
        );
        let timed = time(Repeats { warmup: 1, timed: 2 }, vec![slow_at_first]).unwrap();
        assert_eq!(timed[0].0, "slow at first");
        assert!(timed[0].1.max < 0.15, "{:?}", timed[0].1);
        assert_eq!(calls, 3);
    }
}
