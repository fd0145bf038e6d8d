//! Samplers by the names that the web UI has for them.

use hyperalign_core::schedule::Solver;

use crate::{
    command::serve::{catalog::bad, fields::nearest},
    server::Refusal,
};

/// The solvers for flows, or those for diffusions.
pub fn samplers(flows: bool) -> impl Iterator<Item = Solver> {
    Solver::ALL.into_iter().filter(move |solver| solver.is_for_flows() == flows)
}

/// The solver that the web UI calls `sampler`, at the noise levels that it calls `levels`. Newer
/// ones say both apart: `DPM++ 2M` and `Karras`.
///
/// # Errors
///
/// Refuses what is not here.
pub fn solver(sampler: &str, levels: Option<&str>, flows: bool) -> Result<Solver, Refusal> {
    let levels = levels.filter(|levels| !levels.eq_ignore_ascii_case("automatic"));
    let whole = match levels {
        Some(levels) if !ends_with(sampler, levels) => format!("{sampler} {levels}"),
        _ => sampler.to_owned(),
    };
    let is = |name: &str, solver: &Solver| {
        solver.label().eq_ignore_ascii_case(name) || solver.name().eq_ignore_ascii_case(name)
    };
    let found = samplers(flows).find(|solver| is(&whole, solver));
    found.ok_or_else(|| {
        let known: Vec<&str> = samplers(flows).map(Solver::label).collect();
        bad(format!("there is no sampler `{whole}`{}", nearest(&whole, &known)))
    })
}

fn ends_with(sampler: &str, levels: &str) -> bool {
    sampler.to_lowercase().ends_with(&levels.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_have_the_names_of_the_web_ui() {
        for (sampler, levels, flows, expected) in [
            ("Euler a", None, false, Solver::EulerAncestral),
            ("euler a", Some("Automatic"), false, Solver::EulerAncestral),
            ("DPM++ 2M", Some("karras"), false, Solver::Dpmpp2mKarras),
            ("DPM++ 2M Karras", Some("Karras"), false, Solver::Dpmpp2mKarras),
            ("dpm++2m", None, false, Solver::Dpmpp2m),
            ("Euler", None, false, Solver::Euler),
            ("Euler", None, true, Solver::FlowEuler),
        ] {
            assert_eq!(solver(sampler, levels, flows).unwrap(), expected, "{sampler} {levels:?}");
        }
        for (sampler, levels, words) in [
            ("Euler b", None, "did you mean `Euler a`?"),
            ("xyz", None, "there are DDIM"),
            ("Euler a", Some("Exponential"), "no sampler `Euler a Exponential`"),
        ] {
            let reason = solver(sampler, levels, false).unwrap_err().reason;
            assert!(reason.contains(words), "{reason}");
        }
    }
}
