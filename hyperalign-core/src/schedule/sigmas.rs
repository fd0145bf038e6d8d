//! Noise levels of solvers that are written in sigma, the noise relative to the signal.

use super::{StepCountError, TimestepSpacing};
use crate::diffusion::{Level, Process};

/// The exponent of Karras et al. 2022 (arXiv:2206.00364), section 5.
const RHO: f64 = 7.0;

/// A visited noise level: what the network is told there, and sigma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Node {
    pub(super) timestep: f64,
    pub(super) sigma: f64,
}

impl Node {
    pub(super) fn level(self) -> Level {
        Level::of_sigma(self.sigma)
    }
}

/// The squared signals of the training steps.
///
/// # Panics
///
/// Panics for a rectified flow, which has no training steps.
pub(super) fn alphas(process: &Process) -> &[f64] {
    let Process::VariancePreserving { alphas_cumprod } = process else {
        panic!("this solver needs a variance-preserving process");
    };
    alphas_cumprod
}

/// The `steps` nodes of Euler's method, in falling order. Between two training steps sigma is
/// linear in time.
pub(super) fn euler_nodes(
    alphas: &[f64],
    steps: usize,
    spacing: TimestepSpacing,
    offset: usize,
) -> Result<Vec<Node>, StepCountError> {
    let timesteps = spacing.fractional(alphas.len(), steps, offset)?;
    let node = |timestep: f64| {
        let below = timestep.floor() as usize;
        let (low, high) = (sigma(alphas[below]), sigma(alphas[timestep.ceil() as usize]));
        Node { timestep, sigma: low + (high - low) * (timestep - below as f64) }
    };
    Ok(timesteps.into_iter().map(node).collect())
}

/// As many nodes as `nodes`, between the same ends, at the sigmas of Karras et al. 2022, eq. 5:
/// `(max^(1/7) + k / (n - 1) (min^(1/7) - max^(1/7)))^7`.
pub(super) fn karras(alphas: &[f64], nodes: &[Node]) -> Vec<Node> {
    let [Some(first), Some(last)] = [nodes.first(), nodes.last()] else { return Vec::new() };
    between(alphas, first.sigma, last.sigma, nodes.len())
}

/// `count` nodes from the sigma `from` to the sigma `to`, spaced as [`karras`] says.
pub(super) fn between(alphas: &[f64], from: f64, to: f64, count: usize) -> Vec<Node> {
    let [high, low] = [from, to].map(|sigma| sigma.powf(RHO.recip()));
    let gaps = (count.max(2) - 1) as f64;
    let sigmas = (0..count).map(|k| (high + (low - high) * k as f64 / gaps).powf(RHO));
    sigmas.map(|sigma| Node { timestep: timestep_of(alphas, sigma), sigma }).collect()
}

/// The time at which the training schedule has `sigma`; its logarithm is linear between steps.
fn timestep_of(alphas: &[f64], sigma_sought: f64) -> f64 {
    let above = alphas.partition_point(|alpha| sigma(*alpha) <= sigma_sought);
    if above == 0 || alphas.len() < 2 {
        return 0.0;
    }
    let below = (above - 1).min(alphas.len() - 2);
    let [low, high] = [below, below + 1].map(|step| sigma(alphas[step]).ln());
    below as f64 + ((sigma_sought.ln() - low) / (high - low)).clamp(0.0, 1.0)
}

pub(super) fn sigma(alpha_cumprod: f64) -> f64 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stable_diffusion() -> Process {
        Process::scaled_linear(0.00085, 0.012, 1000)
    }

    #[test]
    fn time_and_sigma_are_inverse() {
        let process = stable_diffusion();
        let alphas = alphas(&process);
        for timestep in [0.0, 0.25, 1.0, 17.0, 500.5, 998.0, 999.0] {
            let found = timestep_of(alphas, process.level(timestep).sigma());
            assert!((found - timestep).abs() < 1e-6, "{found} for {timestep}");
        }
        // Beyond the schedule lie its ends.
        assert_eq!(timestep_of(alphas, 1e-3), 0.0);
        assert_eq!(timestep_of(alphas, 99.0), 999.0);
    }

    #[test]
    fn karras_spacing_keeps_the_ends_and_is_even_in_the_seventh_root() {
        let process = stable_diffusion();
        let alphas = alphas(&process);
        let even = euler_nodes(alphas, 7, TimestepSpacing::Linspace, 0).unwrap();
        let nodes = karras(alphas, &even);
        assert_eq!(nodes.len(), 7);
        for end in [0, 6] {
            assert!((nodes[end].sigma - even[end].sigma).abs() < 1e-9);
            assert!((nodes[end].timestep - even[end].timestep).abs() < 1e-6);
        }
        let roots: Vec<f64> = nodes.iter().map(|node| node.sigma.powf(1.0 / 7.0)).collect();
        let gap = roots[0] - roots[1];
        assert!(roots.windows(2).all(|pair| (pair[0] - pair[1] - gap).abs() < 1e-9));
        assert_eq!(karras(alphas, &even[..1]).len(), 1);
    }
}
