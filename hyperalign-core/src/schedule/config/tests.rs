use super::*;

/// The settings of Stable Diffusion 1.5, as its folder has them.
const STABLE_DIFFUSION: &str = r#"{"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0",
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true,
    "steps_offset": 1, "trained_betas": null, "clip_sample": false}"#;

fn from_json(json: &str) -> SchedulerConfig {
    serde_json::from_str(json).unwrap()
}

fn choice(solver: Solver) -> SolverChoice {
    SolverChoice { solver: Some(solver), eta: None }
}

fn timesteps(scheduler: &dyn Scheduler) -> Vec<f64> {
    (0..scheduler.steps()).map(|i| scheduler.timestep(i)).collect()
}

#[test]
fn reads_the_file_of_a_model_folder() {
    let config = from_json(STABLE_DIFFUSION);
    let SchedulerConfig { class_name, other, .. } = config.clone();
    assert_eq!(class_name, "PNDMScheduler");
    assert_eq!(other.len(), 2, "{other:?}");
    let expected = SchedulerConfig { class_name, other, ..SchedulerConfig::stable_diffusion() };
    assert_eq!(config, expected);
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(from_json(&written), config);
}

#[test]
fn the_file_names_its_solver() {
    let config = from_json(STABLE_DIFFUSION);
    assert_eq!(config.solver(SolverChoice::default()).unwrap(), Solver::Pndm);
    let own = config.plan(4, SolverChoice::default()).unwrap();
    assert_eq!(timesteps(own.as_ref()), [751.0, 501.0, 501.0, 251.0, 1.0]);
    // It ends at the level of training step 0, as set_alpha_to_one says.
    let end = own.level(own.steps());
    assert!((end.signal.powi(2) - (1.0 - 0.00085)).abs() < 1e-12);
    let of = |class: &str, more: &str| {
        from_json(&format!(r#"{{"_class_name": "{class}"{more}}}"#))
            .solver(SolverChoice::default())
            .unwrap()
    };
    assert_eq!(of("EulerAncestralDiscreteScheduler", ""), Solver::EulerAncestral);
    assert_eq!(of("DPMSolverMultistepScheduler", ""), Solver::Dpmpp2m);
    let karras = r#", "use_karras_sigmas": true"#;
    assert_eq!(of("DPMSolverMultistepScheduler", karras), Solver::Dpmpp2mKarras);
    assert_eq!(of("HeunDiscreteScheduler", ""), Solver::Heun);
    assert_eq!(of("UniPCMultistepScheduler", ""), Solver::UniPc);
    assert_eq!(of("DPMSolverSDEScheduler", ""), Solver::DpmppSde);
    assert_eq!(of("DPMSolverSDEScheduler", karras), Solver::DpmppSdeKarras);
}

/// A chosen solver takes over what the file says of noise and ends, and its own spacing unless the
/// file names one.
#[test]
fn another_solver_can_be_chosen() {
    let config = from_json(STABLE_DIFFUSION);
    for solver in Solver::ALL.into_iter().filter(|solver| !solver.is_for_flows()) {
        let plan = config.plan(5, choice(solver)).unwrap();
        let steps = match solver {
            Solver::Pndm => 6,
            _ => 4 * solver.evaluations() + 1,
        };
        assert_eq!(plan.steps(), steps, "{solver}");
        let falls = (0..steps).all(|i| plan.level(i + 1).noise <= plan.level(i).noise);
        assert!(falls, "{solver}");
    }
    let first =
        |config: &SchedulerConfig, solver| config.plan(4, choice(solver)).unwrap().timestep(0);
    assert_eq!(first(&config, Solver::Ddim), 751.0);
    assert_eq!(first(&config, Solver::Euler), 999.0);
    assert_eq!(first(&config, Solver::Dpmpp2m), 999.0);
    let trailing =
        SchedulerConfig { timestep_spacing: Some(TimestepSpacing::Trailing), ..config.clone() };
    assert_eq!(first(&trailing, Solver::Ddim), 999.0);
    // Settings of the file's own solver do not concern the chosen one.
    let prk = from_json(r#"{"_class_name": "PNDMScheduler", "skip_prk_steps": false}"#);
    assert!(prk.plan(4, choice(Solver::Ddim)).is_ok());
    assert!(prk.plan(4, choice(Solver::Pndm)).is_ok());
}

/// `use_karras_sigmas` and `variance_type` reach the file's own solver.
#[test]
fn settings_of_single_solvers() {
    let plan = |json: &str| from_json(json).plan(5, SolverChoice::default()).unwrap();
    let euler = plan(r#"{"_class_name": "EulerDiscreteScheduler"}"#);
    let karras = plan(r#"{"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true}"#);
    assert!((euler.level(0).sigma() - karras.level(0).sigma()).abs() < 1e-9);
    assert!((karras.level(2).sigma() / euler.level(2).sigma() - 1.0).abs() > 0.01);
    let spread = |variance: &str| {
        let json = format!(r#"{{"_class_name": "DDPMScheduler", "variance_type": "{variance}"}}"#);
        let one = || crate::schedule::gaussian_data::tensor(vec![0.0]);
        let transition =
            plan(&json).transition(1, one(), one(), &mut crate::schedule::History::default());
        let log_prob = transition.log_prob(one()).unwrap();
        log_prob.try_into_vec_as::<f64>().unwrap()[0]
    };
    // A wider normal distribution is lower at its mean.
    assert!(spread("fixed_large") < spread("fixed_small"));
}

#[test]
fn what_is_not_built_is_an_error() {
    let error = |json: &str| {
        from_json(json).plan(10, SolverChoice::default()).err().expect(json).to_string()
    };
    assert!(error(r#"{"clip_sample": true}"#).contains("`clip_sample`"));
    assert!(error(r#"{"trained_betas": [0.1]}"#).contains("`trained_betas`"));
    assert!(error(r#"{"beta_end": 1.5}"#).contains("1.5"));
    assert!(error(r#"{"num_train_timesteps": 0}"#).contains("over 0 steps"));
    let class = error(r#"{"_class_name": "LCMScheduler"}"#);
    assert!(class.contains("LCMScheduler") && class.contains("dpm++2m"), "{class}");
    let own = |class: &str, key: &str, value: &str| {
        error(&format!(r#"{{"_class_name": "{class}", "{key}": {value}}}"#))
    };
    let prk = own("PNDMScheduler", "skip_prk_steps", "false");
    assert!(prk.contains("pndm for `skip_prk_steps` = false"), "{prk}");
    assert!(error(r#"{"_class_name": "PNDMScheduler"}"#).contains("`skip_prk_steps`"));
    let order = own("DPMSolverMultistepScheduler", "solver_order", "3");
    assert!(order.contains("`solver_order` = 3"), "{order}");
    let corrector = own("UniPCMultistepScheduler", "disable_corrector", "[0]");
    assert!(corrector.contains("unipc for `disable_corrector` = [0]"), "{corrector}");
    let beta = own("HeunDiscreteScheduler", "use_beta_sigmas", "true");
    assert!(beta.contains("heun for `use_beta_sigmas`"), "{beta}");
    let clipped = own("DPMSolverMultistepScheduler", "lambda_min_clipped", "-5.1");
    assert!(clipped.contains("`lambda_min_clipped` = -5.1"), "{clipped}");
    let learned = own("DDPMScheduler", "variance_type", "\"learned_range\"");
    assert!(learned.contains("learned_range"), "{learned}");
    let unknown = serde_json::from_str::<SchedulerConfig>(r#"{"beta_schedule": "squaredcos"}"#);
    assert!(unknown.unwrap_err().to_string().contains("squaredcos"));
}

/// Rows of a batch do not know of each other, and a trajectory can be run beside another.
#[test]
fn a_batch_is_its_rows() {
    use crate::schedule::{
        FlowSchedulerConfig,
        gaussian_data::{run, tensor, values},
    };
    for solver in Solver::ALL {
        let plan: Box<dyn Scheduler> = match solver.is_for_flows() {
            true => {
                let plan = FlowSchedulerConfig::flux_dev().plan(6, 1024, choice(solver));
                plan.unwrap()
            }
            false => SchedulerConfig::stable_diffusion().plan(6, choice(solver)).unwrap(),
        };
        let ends = |starts: &[f64]| {
            let noise = || tensor(starts.iter().map(|start| 0.3 * start - 0.1).collect());
            values(run(plan.as_ref(), tensor(starts.to_vec()), noise))
        };
        let starts = [0.4, -1.7, 2.2];
        let together = ends(&starts);
        for (start, together) in starts.into_iter().zip(together) {
            assert!((ends(&[start])[0] - together).abs() < 1e-12, "{solver}");
        }
    }
}

/// Every step is differentiable in the network's answer: the gradient is the finite difference.
#[test]
fn steps_are_differentiable() {
    use crate::schedule::{
        History,
        gaussian_data::{tensor, values},
    };
    for solver in Solver::ALL.into_iter().filter(|solver| !solver.is_for_flows()) {
        let plan = SchedulerConfig::stable_diffusion().plan(6, choice(solver)).unwrap();
        // The second step's history comes from the first.
        let end = |output: burn::tensor::Tensor<4>| {
            let mut history = History::default();
            let noise = || plan.needs_noise(0).then(|| tensor(vec![0.2]));
            let sample = tensor(vec![0.9]);
            let first = plan.step(0, output.clone() * 0.5, sample, noise(), &mut history);
            plan.step(1, output, first.prev_sample, noise(), &mut history).prev_sample
        };
        let output = tensor(vec![-0.3]).autodiff().require_grad();
        let gradient = values(output.grad(&end(output.clone()).sum().backward()).unwrap())[0];
        let at = |value: f64| values(end(tensor(vec![value])))[0];
        let difference = (at(-0.3 + 1e-4) - at(-0.3 - 1e-4)) / 2e-4;
        assert!((gradient - difference).abs() < 1e-6, "{solver}: {gradient} {difference}");
    }
}

#[test]
fn a_flow_is_no_diffusion() {
    let config = SchedulerConfig::stable_diffusion();
    let error = config.plan(5, choice(Solver::FlowEuler)).err().expect("a flow's").to_string();
    assert!(error.contains("flow-euler") && error.contains("a diffusion"), "{error}");
    assert!(error.contains("ddim, ddpm, pndm") && !error.contains("flow-sde"), "{error}");
    for (class, more) in [
        ("FlowMatchEulerDiscreteScheduler", ""),
        ("FlowMatchHeunDiscreteScheduler", ""),
        ("UniPCMultistepScheduler", r#", "use_flow_sigmas": true"#),
    ] {
        let flow = from_json(&format!(r#"{{"_class_name": "{class}"{more}}}"#));
        let error = flow.process().unwrap_err().to_string();
        assert!(error.contains(class), "{error}");
    }
}

#[test]
fn bad_step_counts() {
    let config = SchedulerConfig::stable_diffusion();
    for solver in Solver::ALL.into_iter().filter(|solver| !solver.is_for_flows()) {
        let error = |steps| config.plan(steps, choice(solver)).err().map(|e| e.to_string());
        assert!(error(0).expect("none").contains("0 sampling steps"), "{solver}");
        let message = error(1001).expect("too many");
        assert!(message.contains("1001 sampling steps"), "{solver}: {message}");
        assert!(error(1).is_none() && error(2).is_none(), "{solver}");
    }
}

/// No number of steps that the schedule has is rounded out of it.
#[test]
fn every_number_of_steps_has_a_plan() {
    let config = SchedulerConfig::stable_diffusion();
    for solver in Solver::ALL.into_iter().filter(|solver| !solver.is_for_flows()) {
        for steps in 1..=500 {
            let plan = config.plan(steps, choice(solver)).unwrap();
            let falls = (0..plan.steps()).all(|i| plan.timestep(i) <= 999.0);
            assert!(falls, "{solver}: {steps}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = SchedulerConfig::read(Path::new("nowhere/scheduler_config.json")).unwrap_err();
    assert!(error.to_string().contains("nowhere/scheduler_config.json"));
}
