use super::*;

fn from_json(json: &str) -> FlowSchedulerConfig {
    serde_json::from_str(json).unwrap()
}

/// The one key of FLUX's folders that nothing reads.
fn version(version: &str) -> Map<String, Value> {
    Map::from_iter([("_diffusers_version".to_owned(), version.into())])
}

/// What FLUX's folders hold.
#[test]
fn reads_the_files_of_flux() {
    let dev = from_json(
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.0",
            "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096,
            "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0,
            "use_dynamic_shifting": true}"#,
    );
    assert_eq!(
        dev,
        FlowSchedulerConfig { other: version("0.30.0"), ..FlowSchedulerConfig::flux_dev() }
    );
    let schnell = from_json(
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000,
            "shift": 1.0, "use_dynamic_shifting": false, "base_shift": 0.5,
            "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}"#,
    );
    assert_eq!(schnell, FlowSchedulerConfig::flux_schnell());
    let written = serde_json::to_string(&dev).unwrap();
    assert_eq!(from_json(&written), dev);
}

#[test]
fn the_dynamic_shift_is_linear_in_the_tokens() {
    let dev = FlowSchedulerConfig::flux_dev();
    let shift = |tokens| dev.mu(tokens);
    assert!((shift(256) - 0.5).abs() < 1e-12 && (shift(4096) - 1.15).abs() < 1e-12);
    assert!((shift(2176) - 0.825).abs() < 1e-12);
    // More tokens, more noise at the same step.
    let sigmas = |tokens| dev.sigmas(4, tokens).unwrap();
    let (small, large) = (sigmas(256), sigmas(4096));
    assert!(small.iter().zip(&large).skip(1).take(3).all(|(a, b)| a < b));
    let at = 1.15_f64.exp() / (1.15_f64.exp() + (1.0 / 0.75 - 1.0));
    assert!((large[1] - at).abs() < 1e-12);
}

#[test]
fn the_constant_shift() {
    let config = FlowSchedulerConfig { shift: 3.0, ..FlowSchedulerConfig::default() };
    let expected = [1.0, 0.9, 0.75, 0.5, 0.0];
    for (found, expected) in config.sigmas(4, 7).unwrap().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12);
    }
    let linear = FlowSchedulerConfig {
        use_dynamic_shifting: true,
        time_shift_type: TimeShift::Linear,
        base_shift: 3.0,
        max_shift: 3.0,
        ..FlowSchedulerConfig::default()
    };
    assert_eq!(linear.sigmas(4, 7).unwrap(), config.sigmas(4, 7).unwrap());
}

#[test]
fn plans_by_name() {
    let plan = |solver, eta| {
        let choice = SolverChoice { solver, eta };
        FlowSchedulerConfig::flux_dev().plan(4, 1024, choice)
    };
    let noisy =
        |plan: Box<dyn Scheduler>| -> Vec<bool> { (0..4).map(|i| plan.needs_noise(i)).collect() };
    assert_eq!(noisy(plan(None, None).unwrap()), [false; 4]);
    for solver in [Solver::FlowSdeDance, Solver::FlowSdeGrpo, Solver::FlowCps] {
        assert_eq!(noisy(plan(Some(solver), None).unwrap()), [true, true, true, false]);
        assert_eq!(noisy(plan(Some(solver), Some(0.0)).unwrap()), [false; 4]);
    }
    for solver in [Solver::FlowHeun, Solver::FlowUniPc] {
        let plan = plan(Some(solver), None).unwrap();
        let steps = if solver == Solver::FlowHeun { 7 } else { 4 };
        assert_eq!((plan.steps(), plan.is_stochastic()), (steps, false), "{solver}");
    }
    let error = |plan: Result<Box<dyn Scheduler>, SchedulerConfigError>| {
        plan.err().expect("refused").to_string()
    };
    let refused = error(plan(Some(Solver::Ddim), None));
    assert!(refused.contains("ddim is one for diffusions"), "{refused}");
    let fitting = "flow-euler, flow-heun, flow-unipc, flow-sde-dance, flow-sde-grpo, flow-cps";
    assert!(refused.ends_with(fitting), "{refused}");
    let refused = error(plan(None, Some(0.5)));
    assert!(refused.contains("flow-euler has no eta"), "{refused}");
}

#[test]
fn what_cannot_be_is_an_error() {
    let error = |json, steps| from_json(json).sigmas(steps, 64).unwrap_err().to_string();
    assert!(error("{}", 0).contains("0 sampling steps"));
    assert!(error("{}", 1001).contains("at most 1000"));
    assert!(error(r#"{"shift": 0}"#, 4).contains("shift of 0"));
    assert!(error(r#"{"shift_terminal": 0.02}"#, 4).contains("`shift_terminal`"));
    assert!(error(r#"{"use_karras_sigmas": true}"#, 4).contains("`use_karras_sigmas`"));
    let equal = r#"{"use_dynamic_shifting": true, "max_image_seq_len": 256}"#;
    assert!(error(equal, 4).contains("64 image tokens"));
    let other = r#"{"_class_name": "PNDMScheduler"}"#;
    assert!(error(other, 4).contains("PNDMScheduler"));
}

/// The classes of diffusers that describe a flow, each with its own last level before 0.
#[test]
fn the_file_names_its_solver() {
    let own =
        |json: &str| from_json(json).solver(SolverChoice::default()).map_err(|e| e.to_string());
    assert_eq!(own("{}"), Ok(Solver::FlowEuler));
    let heun = r#"{"_class_name": "FlowMatchHeunDiscreteScheduler", "shift": 3.0}"#;
    assert_eq!(own(heun), Ok(Solver::FlowHeun));
    let unipc = |more: &str| {
        format!(
            r#"{{"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true,
                "prediction_type": "flow_prediction", "flow_shift": 3.0{more}}}"#
        )
    };
    assert_eq!(own(&unipc("")), Ok(Solver::FlowUniPc));
    let diffusion = own(r#"{"_class_name": "UniPCMultistepScheduler"}"#).unwrap_err();
    assert!(diffusion.contains("`use_flow_sigmas`"), "{diffusion}");
    let last = |json: &str| from_json(json).sigmas(4, 64).unwrap()[3];
    let shifted = |sigma: f64| 3.0 * sigma / (1.0 + 2.0 * sigma);
    assert!((last(r#"{"shift": 3.0}"#) - shifted(0.25)).abs() < 1e-12);
    assert!((last(heun) - shifted(shifted(0.001))).abs() < 1e-12);
    assert!((last(&unipc("")) - shifted(0.25 + 0.75 * 0.001)).abs() < 1e-12);
    let refused = |more: &str| {
        let plan = from_json(&unipc(more)).plan(4, 64, SolverChoice::default());
        plan.err().expect(more).to_string()
    };
    assert!(refused(r#", "solver_order": 3"#).contains("flow-unipc for `solver_order` = 3"));
    assert!(refused(r#", "predict_x0": false"#).contains("`predict_x0`"));
    let choice = SolverChoice { solver: Some(Solver::FlowEuler), eta: None };
    assert!(from_json(&unipc(r#", "solver_order": 3"#)).plan(4, 64, choice).is_ok());
}
