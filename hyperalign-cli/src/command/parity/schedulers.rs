//! Reference files of schedulers: trajectories under a made-up network.

use std::{cell::Cell, ops::ControlFlow};

use burn::tensor::{Tensor, s};
use hyperalign_core::{
    contract::{Answer, Conditioning, Denoiser, PassStart, Prediction, TextWatch},
    diffusion::Process,
    lora::LoraSet,
    sampler::Sampler,
    schedule::{FlowSchedulerConfig, Scheduler, SchedulerConfig, Solver, SolverChoice},
};
use miette::{IntoDiagnostic, WrapErr, miette};
use serde_json::from_value;

use super::{
    checks::{Checks, SCHEDULE},
    golden::{Golden, Values},
};

/// One run of the file, as its config describes it.
#[derive(serde::Deserialize)]
struct Run {
    cls: String,
    config: serde_json::Map<String, serde_json::Value>,
    steps: usize,
    eta: Option<f64>,
}

/// A run's plan, and how the reference writes down what it does.
struct Plan {
    scheduler: Box<dyn Scheduler>,
    process: Process,
    /// What the reference calls the timestep of our time 1.
    time_unit: f64,
    /// Whether the reference carries samples over their signal.
    unscaled: bool,
}

/// `schedulers*`: each entry of the config is a run.
pub(super) fn schedulers(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let runs = golden.json().as_object().ok_or_else(|| miette!("the config is no object"))?;
    for (name, run) in runs {
        let run: Run = serde_json::from_value(run.clone())
            .into_diagnostic()
            .wrap_err_with(|| format!("the config of `{name}` cannot be read"))?;
        let plan = plan(name, &run, checks)
            .wrap_err_with(|| format!("`{name}` ({}) cannot be planned", run.cls))?;
        self::run(name, &plan, golden, checks)
            .wrap_err_with(|| format!("`{name}` ({}) cannot be run", run.cls))?;
    }
    Ok(())
}

fn plan(name: &str, run: &Run, checks: &mut Checks) -> miette::Result<Plan> {
    let mut config = run.config.clone();
    config.insert("_class_name".to_owned(), run.cls.clone().into());
    let flow_sigmas = config.get("use_flow_sigmas") == Some(&true.into());
    if run.cls.starts_with("FlowMatch") || flow_sigmas {
        let config: FlowSchedulerConfig = from_value(config.into()).into_diagnostic()?;
        let tokens = image_tokens(name);
        let mu = Values { shape: Vec::new(), values: vec![config.mu(tokens)] };
        checks.values(&format!("out.{name}.mu"), &mu, SCHEDULE);
        return Ok(Plan {
            scheduler: config.plan(run.steps, tokens, SolverChoice::default()).into_diagnostic()?,
            process: Process::RectifiedFlow,
            time_unit: config.num_train_timesteps as f64,
            unscaled: false,
        });
    }
    let config: SchedulerConfig = from_value(config.into()).into_diagnostic()?;
    let own = SolverChoice { solver: None, eta: run.eta };
    let solver = config.solver(own).into_diagnostic()?;
    Ok(Plan {
        scheduler: config.plan(run.steps, own).into_diagnostic()?,
        process: config.process().into_diagnostic()?,
        time_unit: 1.0,
        unscaled: matches!(
            solver,
            Solver::Euler
                | Solver::EulerAncestral
                | Solver::Heun
                | Solver::DpmppSde
                | Solver::DpmppSdeKarras
        ),
    })
}

/// The number of image tokens of a run, which is a part of its name: `flow_dev_seq1024`.
fn image_tokens(name: &str) -> usize {
    name.rsplit_once("_seq").and_then(|(_, tokens)| tokens.parse().ok()).unwrap_or(0)
}

fn run(name: &str, plan: &Plan, golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let out = |what: &str| format!("out.{name}.{what}");
    let device = checks.device.clone();
    let Plan { scheduler, process, time_unit, unscaled } = plan;
    // What the reference multiplies our sample with that enters step `i`.
    let scale = |i: usize| if *unscaled { scheduler.level(i).signal.recip() } else { 1.0 };
    let row = |values: Vec<f64>| Values { shape: vec![values.len()], values };
    if let Process::VariancePreserving { alphas_cumprod } = process {
        checks.values("out.alphas_cumprod", &row(alphas_cumprod.clone()), SCHEDULE);
    }
    let steps = scheduler.steps();
    let timesteps = (0..steps).map(|i| scheduler.timestep(i) * time_unit).collect();
    checks.values(&out("timesteps"), &row(timesteps), SCHEDULE);
    let sigmas = (0..=steps).map(|i| scheduler.level(i)).map(|level| match process {
        Process::VariancePreserving { .. } => level.sigma(),
        Process::RectifiedFlow => level.noise,
    });
    checks.values(&out("sigmas"), &row(sigmas.collect()), SCHEDULE);
    let sigma = Values { shape: Vec::new(), values: vec![scheduler.init_noise_sigma() * scale(0)] };
    checks.values(&out("init_noise_sigma"), &sigma, SCHEDULE);

    let unit = golden.tensor::<4>("in.x_T_unit", &device)?;
    let begin = out("add_noise_t");
    for row in checks.left() {
        if let Some(timestep) = row.strip_prefix(&begin) {
            let timestep: f64 = timestep.parse().into_diagnostic()?;
            // The reference adds one half everywhere in place of noise.
            let noisy = process.level(timestep).mix(unit.clone(), unit.full_like(0.5));
            checks.tensor_within(&row, noisy, SCHEDULE);
        }
    }

    let noise_name = format!("in.{name}.noise");
    let noise = match golden.has(&noise_name) {
        true => Some(golden.tensor::<5>(&noise_name, &device)?),
        false => None,
    };
    let draw = |i: usize| match &noise {
        Some(noise) => noise.clone().slice(s![i..i + 1]).squeeze_dim(0),
        None => unit.zeros_like(),
    };
    let network =
        MadeUp { prediction: scheduler.prediction(), time_unit: *time_unit, calls: Cell::new(0) };
    let batch = unit.dims()[0];
    let unread = Conditioning { context: Tensor::zeros([batch, 1, 1], &device), pooled: None };
    let sampler = Sampler::new(&network, scheduler.as_ref(), &unread);
    let start = sampler.start(unit.clone());
    let mut trajectory = vec![start.sample.clone() * scale(0)];
    sampler.run(start, steps, Some(&draw), &mut |state| {
        trajectory.push(state.prev_sample.clone() * scale(state.i + 1));
        ControlFlow::Continue(())
    });
    checks.tensor_within(&out("trajectory"), Tensor::stack::<5>(trajectory, 0), SCHEDULE);
    Ok(())
}

/// The function that stands for a network: its answer to call `k` is
/// `0.35 x + 0.1 sin(3 x + k) + 0.05 cos(t / 100)`.
struct MadeUp {
    prediction: Prediction,
    time_unit: f64,
    calls: Cell<u32>,
}

impl Denoiser for MadeUp {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        x: Tensor<4>,
        timesteps: Tensor<1>,
        _: &Conditioning,
        _: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        let k = self.calls.replace(self.calls.get() + 1);
        let batch = x.dims()[0];
        let time = timesteps
            .mul_scalar(self.time_unit / 100.0)
            .cos()
            .mul_scalar(0.05)
            .reshape([batch, 1, 1, 1]);
        Answer::from(x.clone() * 0.35 + (x * 3.0 + f64::from(k)).sin() * 0.1 + time)
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }
}
