//! How the pull of a reward grows along a trajectory.

use serde::{Deserialize, Serialize};

/// How the temperature of sequential Monte Carlo rises from 0 to 1. The last picture is always
/// weighed at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tempering {
    /// `(1 + gamma)^i - 1`, at most 1.
    #[default]
    Exponential,
    /// `gamma i`, at most 1.
    Linear,
    /// As high, and never lower than before, as leaves the effective number of particles above the
    /// threshold.
    Adaptive,
    /// 1 from the first step on.
    None,
}

/// The share of the steps after which the temperature is 1 where no `gamma` is given. The published
/// .008 is made for 100 steps, and reaches 1 after 87.
const RISES_OVER: f64 = 0.87;

impl Tempering {
    /// The `gamma` that fits a plan of `steps`.
    pub fn gamma(self, steps: usize) -> f64 {
        let rise = (RISES_OVER * steps as f64).max(1.0);
        match self {
            Self::Linear => 1.0 / rise,
            _ => (std::f64::consts::LN_2 / rise).exp_m1(),
        }
    }

    /// The temperature at step `i`, where it follows a plan.
    pub(super) fn planned(self, i: usize, gamma: f64) -> Option<f64> {
        match self {
            Self::Exponential => Some(((1.0 + gamma).powf(i as f64) - 1.0).min(1.0)),
            Self::Linear => Some((gamma * i as f64).min(1.0)),
            Self::None => Some(1.0),
            Self::Adaptive => None,
        }
    }
}

/// The highest temperature from `before` to 1 at which `effective` is still at least `least`, by
/// bisection; `before` if there is none.
pub(super) fn adapt(before: f64, least: f64, effective: impl Fn(f64) -> f64) -> f64 {
    if effective(1.0) >= least {
        return 1.0;
    }
    let (mut low, mut high) = (before, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if effective(middle) >= least { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published number is the one that fits the published plan.
    #[test]
    fn the_rise_fits_the_number_of_steps() {
        let gamma = Tempering::Exponential.gamma(100);
        assert!((gamma - 0.008).abs() < 1e-4, "{gamma}");
        for tempering in [Tempering::Exponential, Tempering::Linear] {
            for steps in [1, 8, 50, 1000] {
                let at = |i| tempering.planned(i, tempering.gamma(steps)).unwrap();
                assert_eq!(at(0), 0.0);
                assert!(at(steps) > 1.0 - 1e-9);
                let early = steps / 2;
                assert!(at(early) < 0.6 && (1..=steps).all(|i| at(i) >= at(i - 1)));
            }
        }
    }

    #[test]
    fn an_adaptive_temperature_keeps_enough_particles() {
        let effective = |temperature: f64| 4.0 - 5.0 * temperature;
        assert!((adapt(0.1, 2.0, effective) - 0.4).abs() < 1e-9);
        assert_eq!(adapt(0.6, 2.0, effective), 0.6);
        assert_eq!(adapt(0.1, 2.0, |_| 4.0), 1.0);
    }
}
