//! Reference files of schedulers: trajectories under a made-up network.

use std::cell::Cell;

use burn::tensor::{Tensor, s};
use hyperalign_core::{
    adapter::NoAdapter,
    denoiser::{Conditioning, Denoiser, Prediction},
    diffusion::Process,
    lora::LoraSet,
    sampler::sample,
    schedule::{Scheduler, SchedulerConfig},
};
use miette::{IntoDiagnostic, WrapErr, miette};

use super::{
    checks::{Checks, SCHEDULE},
    golden::{Golden, Values},
};

/// One run of the file, as its config describes it.
#[derive(serde::Deserialize)]
struct Run {
    cls: String,
    config: SchedulerConfig,
    steps: usize,
    #[serde(default)]
    eta: f64,
}

/// `schedulers*`: each entry of the config is a run.
pub(super) fn schedulers(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let runs = golden.json().as_object().ok_or_else(|| miette!("the config is no object"))?;
    for (name, run) in runs {
        let class = run.get("cls").and_then(serde_json::Value::as_str).unwrap_or_default();
        if class != "DDIMScheduler" {
            for row in checks.left() {
                if row.starts_with(&format!("out.{name}.")) {
                    checks.not_supported(&row, &format!("{class} is not built yet"));
                }
            }
            continue;
        }
        let run: Run = serde_json::from_value(run.clone())
            .into_diagnostic()
            .wrap_err_with(|| format!("the config of `{name}` cannot be read"))?;
        self::run(name, &run, golden, checks)
            .wrap_err_with(|| format!("`{name}` ({}) cannot be run", run.cls))?;
    }
    Ok(())
}

fn run(name: &str, run: &Run, golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let out = |what: &str| format!("out.{name}.{what}");
    let device = checks.device.clone();
    let scheduler = run.config.ddim(run.steps, run.eta).into_diagnostic()?;
    let process = run.config.process().into_diagnostic()?;
    if let Process::VariancePreserving { alphas_cumprod } = &process {
        let shape = vec![alphas_cumprod.len()];
        let values = Values { shape, values: alphas_cumprod.clone() };
        checks.values("out.alphas_cumprod", &values, SCHEDULE);
    }
    let timesteps: Vec<f64> = (0..scheduler.steps()).map(|i| scheduler.timestep(i)).collect();
    let values = Values { shape: vec![timesteps.len()], values: timesteps };
    checks.values(&out("timesteps"), &values, SCHEDULE);
    let sigma = Values { shape: Vec::new(), values: vec![scheduler.init_noise_sigma()] };
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
    let network = MadeUp { prediction: scheduler.prediction(), calls: Cell::new(0) };
    let start = unit.clone() * scheduler.init_noise_sigma();
    let mut trajectory = vec![start.clone()];
    let batch = start.dims()[0];
    let unread = Conditioning { context: Tensor::zeros([batch, 1, 1], &device), pooled: None };
    sample(
        &network,
        &scheduler,
        &NoAdapter,
        start,
        &unread,
        &draw,
        0..scheduler.steps(),
        &mut |state| trajectory.push(state.prev_sample.clone()),
    );
    checks.tensor_within(&out("trajectory"), Tensor::stack::<5>(trajectory, 0), SCHEDULE);
    Ok(())
}

/// The function that stands for a network: its answer to call `k` is
/// `0.35 x + 0.1 sin(3 x + k) + 0.05 cos(t / 100)`.
struct MadeUp {
    prediction: Prediction,
    calls: Cell<u32>,
}

impl Denoiser for MadeUp {
    fn predict(
        &self,
        x: Tensor<4>,
        timesteps: Tensor<1>,
        _: &Conditioning,
        _: Option<&LoraSet>,
    ) -> Tensor<4> {
        let k = self.calls.replace(self.calls.get() + 1);
        let batch = x.dims()[0];
        let time = timesteps.div_scalar(100.0).cos().mul_scalar(0.05).reshape([batch, 1, 1, 1]);
        x.clone() * 0.35 + (x * 3.0 + f64::from(k)).sin() * 0.1 + time
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }
}
