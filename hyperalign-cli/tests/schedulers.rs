//! `hyperalign sample --scheduler`, and the solver that a base's folder names.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "only the runner is needed")]
mod tiny;

use std::process::Output;

use hyperalign_core::image;

use tiny::{World, message};

/// Runs `hyperalign sample --base base ARGUMENTS`.
fn sample(world: &World, arguments: &[&str]) -> Output {
    world.run(&[&["sample", "--base", "base"], arguments].concat())
}

/// Another solver makes another picture, and the file says which it was.
#[test]
fn a_scheduler_can_be_chosen() {
    let world = World::new();
    let make = |file: &str, arguments: &[&str]| {
        let prompt = ["--prompt", "a red dog", "--steps", "5", "--out", file];
        let output = sample(&world, &[&prompt[..], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        let (picture, metadata) = image::read_png(&world.path(file)).unwrap();
        let everything = metadata.hyperalign.unwrap();
        let sampler = everything["sampler"].as_str().unwrap().to_owned();
        (picture, sampler, everything["eta"].as_f64(), metadata.parameters.unwrap().sampler)
    };
    let own = make("own.png", &[]);
    assert_eq!((own.1.as_str(), own.2), ("ddim", Some(0.0)));
    let karras = make("karras.png", &["--scheduler", "dpm++2m-karras"]);
    assert_eq!((karras.1.as_str(), karras.2), ("dpm++2m-karras", None));
    assert_eq!(karras.3, "DPM++ 2M Karras");
    assert!(karras.0 != own.0);
    let noisy = make("noisy.png", &["--eta", "1"]);
    assert_eq!((noisy.1.as_str(), noisy.2), ("ddim", Some(1.0)));
    assert!(noisy.0 != own.0);
    let half = make("half.png", &["--scheduler", "euler-a", "--eta", "0.5"]);
    assert_eq!(half.2, Some(0.5));
    let mut pictures = vec![own.0];
    for (name, label, eta) in [
        ("heun", "Heun", None),
        ("unipc", "UniPC", None),
        ("dpm++sde", "DPM++ SDE", Some(1.0)),
        ("dpm++sde-karras", "DPM++ SDE Karras", Some(1.0)),
    ] {
        let made = make("other.png", &["--scheduler", name]);
        assert_eq!((made.1.as_str(), made.2, made.3.as_str()), (name, eta, label));
        assert!(!pictures.contains(&made.0), "{name}");
        pictures.push(made.0);
    }
}

/// The folder of Stable Diffusion 1.5 names PNDM, which evaluates once more than it is asked.
#[test]
fn the_folder_names_the_scheduler() {
    let world = World::new();
    let file = world.path("base/scheduler/scheduler_config.json");
    let of = |class: &str, more: &str| {
        let config = format!(
            r#"{{"_class_name": "{class}", "beta_start": 0.00085, "beta_end": 0.012,
                "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
                "set_alpha_to_one": false, "steps_offset": 1, "clip_sample": false{more}}}"#
        );
        std::fs::write(&file, config).expect("a scheduler's file");
        sample(&world, &["--prompt", "a red dog", "--steps", "4", "--out", "own.png", "--json"])
    };
    let output = of("PNDMScheduler", r#", "skip_prk_steps": true"#);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["settings"]["sampler"], "pndm");
    // As Python writes it, which is no JSON.
    let output = of("DPMSolverMultistepScheduler", r#", "lambda_min_clipped": -Infinity"#);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let fails = |output: Output, words: &str| {
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    fails(of("PNDMScheduler", ""), "`skip_prk_steps`");
    fails(of("LCMScheduler", ""), "LCMScheduler");
    fails(of("UniPCMultistepScheduler", r#", "use_flow_sigmas": true"#), "rectified flow");
    fails(of("FlowMatchEulerDiscreteScheduler", ""), "rectified flow");
}
