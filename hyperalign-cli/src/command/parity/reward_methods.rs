//! Reference files of the methods that follow the gradient of a reward, over a network that is one
//! trained number a channel.

use burn::tensor::{Device, Tensor};
use hyperalign_core::schedule::{History, Scheduler, SchedulerConfig, Transition};
use hyperalign_train::method::{recovered, to_raise};
use miette::IntoDiagnostic;

use super::{checks::Checks, golden::Golden};

/// Constants of the reference, as `methods.py` has them.
const STEPS: usize = 5;
const LEARNED: [usize; 3] = [1, 2, STEPS];
const DRAWS: usize = 3;
const THRESHOLD: f64 = -0.9;
const EARLY: f64 = 0.9;
const LATE: f64 = 0.8;
const EMPHASIS: [f64; 2] = [1.1 + 0.15 * 0.6, 1.3 - 0.29 * 0.4];

/// `methods_gradient*`: losses and their gradients.
pub(super) fn methods(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let scheduler = SchedulerConfig::stable_diffusion().ddim(STEPS, 0.0).into_diagnostic()?;
    let run = Run { golden, device: checks.device.clone(), scheduler: &scheduler };
    run.draft(checks)?;
    run.draft_lv(checks)?;
    run.refl(checks)?;
    run.srpo(checks)
}

struct Run<'a> {
    golden: &'a Golden,
    device: Device,
    scheduler: &'a dyn Scheduler,
}

/// The score of each row: the negative distance to its target.
fn score(x: Tensor<4>, target: &Tensor<4>) -> Tensor<1> {
    (x - target.clone()).square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim::<1>(1).neg()
}

impl Run<'_> {
    fn input<const D: usize>(&self, name: &str) -> miette::Result<Tensor<D>> {
        self.golden.tensor(&format!("in.{name}"), &self.device)
    }

    /// The trained numbers, where samples start, and what is sought.
    fn inputs(&self, name: &str) -> miette::Result<(Tensor<1>, Tensor<4>, Tensor<4>)> {
        let weight = self.input::<1>(&format!("{name}.weight"))?.autodiff().require_grad();
        Ok((weight, self.input(&format!("{name}.start"))?, self.input(&format!("{name}.target"))?))
    }

    fn step(&self, weight: &Tensor<1>, sample: Tensor<4>, i: usize) -> Transition {
        let weight = weight.clone().reshape([1, -1, 1, 1]);
        let output = weight * sample.clone().tanh();
        self.scheduler.transition(i, output, sample, &mut History::default())
    }

    /// The sample that enters step `to`, off the tape.
    fn rollout(&self, weight: &Tensor<1>, start: Tensor<4>, to: usize) -> Tensor<4> {
        let weight = weight.clone().inner();
        (0..to).fold(start, |sample, i| self.step(&weight, sample, i).mean)
    }

    fn compare<const D: usize>(
        name: &str,
        (key, leaf): (&str, &Tensor<D>),
        loss: Tensor<1>,
        checks: &mut Checks,
    ) {
        checks.tensor(&format!("out.{name}.loss"), loss.clone().detach());
        if let Some(gradient) = leaf.grad(&loss.backward()) {
            checks.tensor(&format!("grad.{name}.{key}"), gradient);
        }
    }

    fn draft(&self, checks: &mut Checks) -> miette::Result<()> {
        for learned in LEARNED {
            let name = format!("draft.{learned}");
            let (weight, start, target) = self.inputs(&name)?;
            let first = STEPS - learned;
            let reached = self.rollout(&weight, start, first).autodiff();
            let end = (first..STEPS).fold(reached, |x, i| self.step(&weight, x, i).mean);
            let loss = to_raise(score(end, &target), None).mean();
            Self::compare(&name, ("weight", &weight), loss, checks);
        }
        Ok(())
    }

    fn draft_lv(&self, checks: &mut Checks) -> miette::Result<()> {
        let name = "draft_lv";
        let (weight, start, target) = self.inputs(name)?;
        let noise: Tensor<4> = self.input(&format!("{name}.noise"))?;
        let (last, rows) = (STEPS - 1, start.dims()[0]);
        let end = self.rollout(&weight, start, STEPS);
        let level = self.scheduler.level(last);
        let losses = noise.split(rows, 0).into_iter().take(DRAWS).map(|noise| {
            let sample = level.mix(end.clone(), noise).autodiff();
            let end = self.step(&weight, sample, last).mean;
            to_raise(score(end, &target), None).mean() / DRAWS as f64
        });
        if let Some(loss) = losses.reduce(|a, b| a + b) {
            Self::compare(name, ("weight", &weight), loss, checks);
        }
        Ok(())
    }

    fn refl(&self, checks: &mut Checks) -> miette::Result<()> {
        let (weight, start, target) = self.inputs("refl")?;
        let i = STEPS - LEARNED[1];
        let reached = self.rollout(&weight, start, i).autodiff();
        let estimate = self.step(&weight, reached, i).pred_original;
        let loss = to_raise(score(estimate, &target), Some(THRESHOLD)).mean();
        Self::compare("refl", ("weight", &weight), loss, checks);
        Ok(())
    }

    fn srpo(&self, checks: &mut Checks) -> miette::Result<()> {
        let branches = [("denoising", EARLY..LATE), ("inversion", LATE..EARLY)];
        for ((branch, levels), emphasis) in branches.into_iter().zip(EMPHASIS) {
            let name = format!("srpo.{branch}");
            let of = |key: &str| self.input::<4>(&format!("{name}.{key}"));
            let velocity = of("velocity")?.autodiff().require_grad();
            let (data, noise) = (of("data")?, of("noise")?);
            let sample = data * (1.0 - levels.start) + noise.clone() * levels.start;
            let picture = recovered(sample.autodiff(), noise.autodiff(), velocity.clone(), levels);
            let mut targets = [of("wanted")?, of("unwanted")?];
            if branch == "inversion" {
                targets.reverse();
            }
            let [first, second] = targets.map(|target| score(picture.clone(), &target));
            let loss = to_raise(first * emphasis - second, None).mean();
            Self::compare(&name, ("velocity", &velocity), loss, checks);
        }
        Ok(())
    }
}
