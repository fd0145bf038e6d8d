//! The flags that choose a solver.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use hyperalign_core::schedule::{Solver, SolverChoice};

/// Which solver samples, for commands that make pictures.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct SolverArgs {
    /// Solver to sample with, in place of the base's own; betas and prediction stay the base's.
    /// heun, dpm++sde, dpm++sde-karras and flow-heun evaluate the network twice in each step.
    #[arg(long, value_name = "NAME", value_parser = solver())]
    scheduler: Option<Solver>,

    /// Share of noise that each step draws anew: 0 is deterministic, 1 the full SDE. For ddim
    /// (default 0), euler-a, dpm++sde and dpm++sde-karras (1), flow-sde-dance (0.3), flow-sde-grpo and
    /// flow-cps (0.7).
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    eta: Option<f64>,
}

impl SolverArgs {
    /// The choice that the flags make.
    pub fn choice(self) -> SolverChoice {
        SolverChoice { solver: self.scheduler, eta: self.eta }
    }
}

fn solver() -> impl TypedValueParser<Value = Solver> {
    PossibleValuesParser::new(Solver::ALL.map(Solver::name)).try_map(|name| name.parse::<Solver>())
}
