//! Noise levels of solvers that are written in sigma, the noise relative to the signal.

use super::{StepCountError, TimestepSpacing};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process, SMALLEST_ALPHA},
};

/// Settings of the solvers that are written in sigma, under the names of diffusers' configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SigmaOptions {
    /// What the network predicts.
    pub prediction: Prediction,
    /// How the steps are spread over the training schedule.
    pub spacing: TimestepSpacing,
    /// Added to every timestep of the leading spacing.
    pub steps_offset: usize,
    /// Whether the levels are those of Karras et al. 2022 (arXiv:2206.00364). The one-step solvers
    /// and their two-stage relatives take them between the ends that the spacing gives, the
    /// multi-step solvers over the whole training schedule.
    pub use_karras_sigmas: bool,
}

impl SigmaOptions {
    /// The `steps` nodes of Euler's method and its relatives, in falling order. Between two
    /// training steps sigma is linear in time.
    pub(super) fn one_step_nodes(
        self,
        alphas: &[f64],
        steps: usize,
    ) -> Result<Vec<Node>, StepCountError> {
        let timesteps = self.spacing.fractional(alphas.len(), steps, self.steps_offset)?;
        let node = |timestep: f64| {
            let below = timestep.floor() as usize;
            let (low, high) = (sigma(alphas[below]), sigma(alphas[timestep.ceil() as usize]));
            Node { timestep, sigma: low + (high - low) * (timestep - below as f64) }
        };
        let nodes: Vec<Node> = timesteps.into_iter().map(node).collect();
        Ok(if self.use_karras_sigmas { karras(alphas, &nodes) } else { nodes })
    }

    /// The `steps` nodes of the multi-step solvers, in falling order; all lie on training steps as
    /// the network is told of them.
    pub(super) fn multi_step_nodes(
        self,
        alphas: &[f64],
        steps: usize,
    ) -> Result<Vec<Node>, StepCountError> {
        let train_steps = alphas.len();
        if self.use_karras_sigmas {
            // Only for its errors: the levels do not follow the timesteps here.
            TimestepSpacing::Linspace.timesteps(train_steps, steps, 0)?;
            let [first, last] = [train_steps - 1, 0].map(|step| sigma(alphas[step]));
            let rounded = |node: Node| Node { timestep: node.timestep.round_ties_even(), ..node };
            return Ok(between(alphas, first, last, steps).into_iter().map(rounded).collect());
        }
        let timesteps = self.spacing.without_end(train_steps, steps, self.steps_offset)?;
        let node =
            |timestep: usize| Node { timestep: timestep as f64, sigma: sigma(alphas[timestep]) };
        Ok(timesteps.into_iter().map(node).collect())
    }

    /// What standard normal noise is multiplied with to start at the first of `nodes`, for the
    /// one-step solvers and their relatives. Two of the spacings begin at the last training step,
    /// and the sample there has no signal.
    pub(super) fn init_noise_sigma(self, nodes: &[Node]) -> f64 {
        match self.spacing {
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => nodes[0].level().noise,
            TimestepSpacing::Leading => 1.0,
        }
    }
}

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

/// As many nodes as `nodes`, between the same ends, at the sigmas of Karras et al. 2022, eq. 5:
/// `(max^(1/7) + k / (n - 1) (min^(1/7) - max^(1/7)))^7`.
fn karras(alphas: &[f64], nodes: &[Node]) -> Vec<Node> {
    let [Some(first), Some(last)] = [nodes.first(), nodes.last()] else { return Vec::new() };
    between(alphas, first.sigma, last.sigma, nodes.len())
}

/// `count` nodes from the sigma `from` to the sigma `to`, spaced as [`karras`] says.
fn between(alphas: &[f64], from: f64, to: f64, count: usize) -> Vec<Node> {
    let [high, low] = [from, to].map(|sigma| sigma.powf(RHO.recip()));
    let gaps = (count.max(2) - 1) as f64;
    let sigmas = (0..count).map(|k| (high + (low - high) * k as f64 / gaps).powf(RHO));
    sigmas.map(|sigma| Node { timestep: timestep_of(alphas, sigma), sigma }).collect()
}

/// The time at which the training schedule has `sigma`; its logarithm is linear between steps.
pub(super) fn timestep_of(alphas: &[f64], sigma_sought: f64) -> f64 {
    let above = alphas.partition_point(|alpha| sigma(*alpha) <= sigma_sought);
    if above == 0 || alphas.len() < 2 {
        return 0.0;
    }
    let below = (above - 1).min(alphas.len() - 2);
    let [low, high] = [below, below + 1].map(|step| sigma(alphas[step]).ln());
    below as f64 + ((sigma_sought.ln() - low) / (high - low)).clamp(0.0, 1.0)
}

/// The level of a training step for solvers that are not written in sigma: where the process has
/// next to no signal so that sigma is finite, it has none, as in diffusers.
pub(super) fn level_of_step(alphas: &[f64], timestep: usize) -> Level {
    let alpha = alphas[timestep];
    Level::of_alpha(if alpha <= SMALLEST_ALPHA { 0.0 } else { alpha })
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
        let options = SigmaOptions {
            prediction: Prediction::Epsilon,
            spacing: TimestepSpacing::Linspace,
            steps_offset: 0,
            use_karras_sigmas: false,
        };
        let even = options.one_step_nodes(alphas, 7).unwrap();
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
