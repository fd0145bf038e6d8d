//! Settings of single classes of diffusers: which of their values are built.

use serde_json::{Map, Value, json};

use crate::schedule::{SchedulerConfigError, Solver};

/// Refuses what the file says to its own solver and is not built. Each entry: a key, what it
/// is where it is absent, and the values that are built.
pub(in crate::schedule) fn check(
    solver: Solver,
    given: &Map<String, Value>,
) -> Result<(), SchedulerConfigError> {
    let no = || (json!(false), vec![json!(false)]);
    let settings: Vec<(&'static str, (Value, Vec<Value>))> = match solver {
        Solver::Ddpm => {
            let built = vec![json!("fixed_small"), json!("fixed_large")];
            vec![("variance_type", (json!("fixed_small"), built))]
        }
        Solver::Pndm => vec![("skip_prk_steps", (json!(false), vec![json!(true)]))],
        Solver::Euler => vec![
            ("interpolation_type", (json!("linear"), vec![json!("linear")])),
            ("final_sigmas_type", (json!("zero"), vec![json!("zero")])),
            ("timestep_type", (json!("discrete"), vec![json!("discrete")])),
            ("use_exponential_sigmas", no()),
            ("use_beta_sigmas", no()),
        ],
        Solver::Dpmpp2m | Solver::Dpmpp2mKarras => vec![
            ("solver_order", (json!(2), vec![json!(2)])),
            ("algorithm_type", (json!("dpmsolver++"), vec![json!("dpmsolver++")])),
            ("solver_type", (json!("midpoint"), vec![json!("midpoint")])),
            ("final_sigmas_type", (json!("zero"), vec![json!("zero")])),
            ("lambda_min_clipped", (Value::Null, Vec::new())),
            ("use_exponential_sigmas", no()),
            ("use_beta_sigmas", no()),
            ("use_lu_lambdas", no()),
            ("use_flow_sigmas", no()),
        ],
        Solver::Heun | Solver::DpmppSde | Solver::DpmppSdeKarras => {
            vec![("use_exponential_sigmas", no()), ("use_beta_sigmas", no())]
        }
        Solver::UniPc | Solver::FlowUniPc => {
            // What diffusers reads as `bh2`, with a config of another class behind it.
            let built = ["bh2", "midpoint", "heun", "logrho"].map(|name| json!(name)).into();
            let mut settings = vec![
                ("solver_order", (json!(2), vec![json!(2)])),
                ("predict_x0", (json!(true), vec![json!(true)])),
                ("solver_type", (json!("bh2"), built)),
                ("lower_order_final", (json!(true), vec![json!(true)])),
                ("disable_corrector", (json!([]), vec![json!([])])),
                ("solver_p", (Value::Null, Vec::new())),
                ("final_sigmas_type", (json!("zero"), vec![json!("zero")])),
                ("use_exponential_sigmas", no()),
                ("use_beta_sigmas", no()),
            ];
            if solver == Solver::FlowUniPc {
                let flow = (json!("epsilon"), vec![json!("flow_prediction")]);
                settings.push(("prediction_type", flow));
            }
            settings
        }
        _ => Vec::new(),
    };
    for (key, (absent, built)) in settings {
        let value = given.get(key).filter(|value| !value.is_null()).unwrap_or(&absent);
        if !value.is_null() && !built.contains(value) {
            return Err(SchedulerConfigError::Setting { solver, key, value: value.clone() });
        }
    }
    Ok(())
}
