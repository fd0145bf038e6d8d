//! Solvers by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::SchedulerConfigError;

/// A solver, as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Solver {
    /// Song et al. 2021, arXiv:2010.02502.
    Ddim,
    /// Ho et al. 2020, arXiv:2006.11239.
    Ddpm,
    /// Liu et al. 2022, arXiv:2202.09778, in its linear multi-step form.
    Pndm,
    /// Karras et al. 2022, arXiv:2206.00364, without churn.
    Euler,
    /// Euler's method with ancestral noise.
    EulerAncestral,
    /// Lu et al. 2022, arXiv:2211.01095, multi-step of order 2.
    Dpmpp2m,
    /// The same at the noise levels of Karras et al. 2022.
    Dpmpp2mKarras,
    /// Heun's method of order 2, two evaluations a step (Karras et al. 2022, algorithm 1).
    Heun,
    /// Zhao et al. 2023, arXiv:2302.04867, of order 2 with its corrector.
    UniPc,
    /// DPM-Solver++ for the SDE, two evaluations a step (k-diffusion's `sample_dpmpp_sde`).
    DpmppSde,
    /// The same at the noise levels of Karras et al. 2022.
    DpmppSdeKarras,
    /// Euler's method for rectified flows.
    FlowEuler,
    /// Heun's method for rectified flows.
    FlowHeun,
    /// UniPC for rectified flows.
    FlowUniPc,
    /// The reverse SDE of a flow with constant diffusion (DanceGRPO, arXiv:2505.07818).
    FlowSdeDance,
    /// The reverse SDE of a flow with the diffusion of Flow-GRPO (arXiv:2505.05470).
    FlowSdeGrpo,
    /// Coefficients-preserving sampling of a flow (arXiv:2509.05952).
    FlowCps,
}

/// What is known of a solver beside its steps.
struct Facts {
    name: &'static str,
    /// Its name in other programs for sampling.
    label: &'static str,
    /// Its eta where none is given.
    eta: Option<f64>,
}

impl Solver {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Ddim,
        Self::Ddpm,
        Self::Pndm,
        Self::Euler,
        Self::EulerAncestral,
        Self::Dpmpp2m,
        Self::Dpmpp2mKarras,
        Self::Heun,
        Self::UniPc,
        Self::DpmppSde,
        Self::DpmppSdeKarras,
        Self::FlowEuler,
        Self::FlowHeun,
        Self::FlowUniPc,
        Self::FlowSdeDance,
        Self::FlowSdeGrpo,
        Self::FlowCps,
    ];

    fn facts(self) -> Facts {
        let (name, label, eta) = match self {
            Self::Ddim => ("ddim", "DDIM", Some(0.0)),
            Self::Ddpm => ("ddpm", "DDPM", None),
            Self::Pndm => ("pndm", "PLMS", None),
            Self::Euler => ("euler", "Euler", None),
            Self::EulerAncestral => ("euler-a", "Euler a", Some(1.0)),
            Self::Dpmpp2m => ("dpm++2m", "DPM++ 2M", None),
            Self::Dpmpp2mKarras => ("dpm++2m-karras", "DPM++ 2M Karras", None),
            Self::Heun => ("heun", "Heun", None),
            Self::UniPc => ("unipc", "UniPC", None),
            Self::DpmppSde => ("dpm++sde", "DPM++ SDE", Some(1.0)),
            Self::DpmppSdeKarras => ("dpm++sde-karras", "DPM++ SDE Karras", Some(1.0)),
            Self::FlowEuler => ("flow-euler", "Euler", None),
            Self::FlowHeun => ("flow-heun", "Heun", None),
            Self::FlowUniPc => ("flow-unipc", "UniPC", None),
            Self::FlowSdeDance => ("flow-sde-dance", "Flow SDE (DanceGRPO)", Some(0.3)),
            Self::FlowSdeGrpo => ("flow-sde-grpo", "Flow SDE (Flow-GRPO)", Some(0.7)),
            Self::FlowCps => ("flow-cps", "Flow CPS", Some(0.7)),
        };
        Facts { name, label, eta }
    }

    /// Its name, as [`FromStr`] reads it.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Its name in the picture files of other programs.
    pub fn label(self) -> &'static str {
        self.facts().label
    }

    /// Its share of noise where none is given; `None` if it has no such setting.
    pub fn default_eta(self) -> Option<f64> {
        self.facts().eta
    }

    /// Whether it solves rectified flows, and not variance-preserving diffusions.
    pub fn is_for_flows(self) -> bool {
        match self {
            Self::FlowEuler
            | Self::FlowHeun
            | Self::FlowUniPc
            | Self::FlowSdeDance
            | Self::FlowSdeGrpo
            | Self::FlowCps => true,
            Self::Ddim
            | Self::Ddpm
            | Self::Pndm
            | Self::Euler
            | Self::EulerAncestral
            | Self::Dpmpp2m
            | Self::Dpmpp2mKarras
            | Self::Heun
            | Self::UniPc
            | Self::DpmppSde
            | Self::DpmppSdeKarras => false,
        }
    }

    /// How often each step evaluates the network, but for the last: step `k` of those that were
    /// asked for begins with step `k * evaluations` of the plan. (PNDM looks twice in its first
    /// step alone, and counts as one.)
    pub fn evaluations(self) -> usize {
        match self {
            Self::Heun | Self::DpmppSde | Self::DpmppSdeKarras | Self::FlowHeun => 2,
            _ => 1,
        }
    }

    /// The solver of a class of diffusers, for a diffusion.
    pub(super) fn of_class(class: &str, karras: bool) -> Option<Self> {
        Some(match class {
            "DDIMScheduler" => Self::Ddim,
            "DDPMScheduler" => Self::Ddpm,
            "PNDMScheduler" => Self::Pndm,
            "EulerDiscreteScheduler" => Self::Euler,
            "EulerAncestralDiscreteScheduler" => Self::EulerAncestral,
            "DPMSolverMultistepScheduler" if karras => Self::Dpmpp2mKarras,
            "DPMSolverMultistepScheduler" => Self::Dpmpp2m,
            "HeunDiscreteScheduler" => Self::Heun,
            "UniPCMultistepScheduler" => Self::UniPc,
            "DPMSolverSDEScheduler" if karras => Self::DpmppSdeKarras,
            "DPMSolverSDEScheduler" => Self::DpmppSde,
            _ => return None,
        })
    }

    /// The names of those that satisfy `which`, for a message.
    pub(super) fn names(which: impl Fn(Self) -> bool) -> String {
        let names: Vec<&str> =
            Self::ALL.into_iter().filter(|solver| which(*solver)).map(Self::name).collect();
        names.join(", ")
    }
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no solver has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scheduler `{name}`; there are {known}")]
pub struct UnknownSolver {
    name: String,
    known: String,
}

impl FromStr for Solver {
    type Err = UnknownSolver;

    fn from_str(name: &str) -> Result<Self, UnknownSolver> {
        Self::ALL
            .into_iter()
            .find(|solver| solver.name() == name)
            .ok_or_else(|| UnknownSolver { name: name.to_owned(), known: Self::names(|_| true) })
    }
}

impl TryFrom<String> for Solver {
    type Error = UnknownSolver;

    fn try_from(name: String) -> Result<Self, UnknownSolver> {
        name.parse()
    }
}

impl From<Solver> for &'static str {
    fn from(solver: Solver) -> Self {
        solver.name()
    }
}

/// Which solver to take, and how much noise it draws. The default is the base's own, as its folder
/// names it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SolverChoice {
    /// The solver; `None` is the base's own.
    pub solver: Option<Solver>,
    /// The share of noise that a step draws anew; `None` is the solver's default.
    pub eta: Option<f64>,
}

impl SolverChoice {
    /// The eta for `solver`; 0 for one that has none.
    ///
    /// # Errors
    ///
    /// Fails if one is given for a solver that has none, or out of range.
    pub fn eta_of(self, solver: Solver) -> Result<f64, SchedulerConfigError> {
        let (eta, default) = match (self.eta, solver.default_eta()) {
            (Some(_), None) => {
                return Err(SchedulerConfigError::NoEta {
                    solver,
                    choices: Solver::names(|solver| solver.default_eta().is_some()),
                });
            }
            (eta, default) => (eta, default.unwrap_or(0.0)),
        };
        let eta = eta.unwrap_or(default);
        let (most, range) = match solver.is_for_flows() && solver != Solver::FlowCps {
            true => (f64::MAX, "a number from 0"),
            false => (1.0, "a number from 0 to 1"),
        };
        if !(0.0..=most).contains(&eta) {
            return Err(SchedulerConfigError::Eta { solver, eta, range });
        }
        Ok(eta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for solver in Solver::ALL {
            assert_eq!(solver.to_string().parse(), Ok(solver));
            let json = serde_json::to_string(&solver).unwrap();
            assert_eq!(serde_json::from_str::<Solver>(&json).unwrap(), solver);
        }
        let error = "lcm".parse::<Solver>().unwrap_err().to_string();
        assert!(error.contains("`lcm`") && error.contains("dpm++2m-karras"), "{error}");
    }

    /// Whoever takes the number that an error names is not told another one.
    #[test]
    fn limits_of_steps_are_told_right_the_first_time() {
        use super::super::{FlowSchedulerConfig, SchedulerConfig, StepCountError};
        let (gaussian, flow) =
            (SchedulerConfig::stable_diffusion(), FlowSchedulerConfig::flux_schnell());
        for solver in Solver::ALL {
            let choice = SolverChoice { solver: Some(solver), eta: None };
            let build = |steps: usize| {
                let built = match solver.is_for_flows() {
                    true => flow.plan(steps, 64, choice).err(),
                    false => gaussian.plan(steps, choice).err(),
                };
                match built {
                    None => Ok(()),
                    Some(SchedulerConfigError::StepCount(error)) => Err(error),
                    Some(error) => panic!("{solver}: {error}"),
                }
            };
            assert_eq!(build(0), Err(StepCountError::Zero), "{solver}");
            let Err(StepCountError::TooMany { most, .. }) = build(usize::MAX) else { continue };
            assert_eq!(build(most), Ok(()), "{solver}: {most} were promised");
            for steps in [most + 1, most + 7, 2 * most] {
                if let Err(StepCountError::TooMany { most: told, .. }) = build(steps) {
                    assert_eq!(build(told), Ok(()), "{solver}: {steps}, then {told}");
                }
            }
        }
    }

    #[test]
    fn eta_where_it_has_a_meaning() {
        let of = |solver, eta| SolverChoice { solver: None, eta }.eta_of(solver);
        assert_eq!(of(Solver::Ddim, None).unwrap(), 0.0);
        assert_eq!(of(Solver::EulerAncestral, None).unwrap(), 1.0);
        assert_eq!(of(Solver::Pndm, None).unwrap(), 0.0);
        assert_eq!(of(Solver::FlowSdeGrpo, Some(2.0)).unwrap(), 2.0);
        let error = |solver, eta| of(solver, Some(eta)).unwrap_err().to_string();
        assert!(
            error(Solver::Pndm, 0.5).contains("pndm has no eta; these have one: ddim, euler-a")
        );
        assert!(error(Solver::Ddim, 1.5).contains("eta 1.5 is not a number from 0 to 1"));
        assert!(error(Solver::FlowSdeDance, -1.0).contains("eta -1"));
        assert!(error(Solver::FlowSdeDance, f64::NAN).contains("NaN"));
    }
}
