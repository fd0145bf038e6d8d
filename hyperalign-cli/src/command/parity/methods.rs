//! Reference files of the losses of fine-tuning methods, by what a network answers.

use burn::tensor::{Device, Tensor};
use hyperalign_core::schedule::Transition;
use hyperalign_train::method::{
    Spread, Utility, advantages, policy_loss, preference_loss, step_preference_loss, utility_loss,
};
use miette::IntoDiagnostic;

use super::{checks::Checks, golden::Golden};

/// Constants of the reference, as `methods.py` has them.
const DESIRABLE_SHARE: f64 = 0.8;
const GROUP: usize = 3;
const CLIP: f64 = 0.05;
const ADVANTAGE_CLIP: f64 = 1.1;
const KL_WEIGHT: f64 = 0.5;
const GRPO_DEVIATION: f64 = 0.3;
const SPO_DEVIATION: f64 = 0.4;
const SPO_CLIP: f64 = 0.1;

/// Strengths of the tie to the base.
#[derive(serde::Deserialize)]
struct Betas {
    dpo: f64,
    kto: f64,
    spo: f64,
}

/// `methods*`: losses and their gradients.
pub(super) fn methods(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let betas: Betas = golden.config()?;
    let batch = Batch { golden, device: checks.device.clone() };
    batch.dpo(betas.dpo, checks)?;
    batch.kto(betas.kto, checks)?;
    batch.grpo(checks)?;
    batch.spo(betas.spo, checks)
}

struct Batch<'a> {
    golden: &'a Golden,
    device: Device,
}

/// The mean squared error of each row.
fn error(output: Tensor<4>, target: &Tensor<4>) -> Tensor<1> {
    (output - target.clone()).square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1)
}

fn transition(mean: Tensor<4>, deviation: f64) -> Transition {
    Transition { pred_original: mean.clone(), mean, deviation }
}

impl Batch<'_> {
    fn input<const D: usize>(&self, name: &str) -> miette::Result<Tensor<D>> {
        self.golden.tensor(&format!("in.{name}"), &self.device)
    }

    fn leaf(&self, name: &str) -> miette::Result<Tensor<4>> {
        Ok(self.input::<4>(name)?.autodiff().require_grad())
    }

    fn compare(
        &self,
        name: &str,
        (key, leaf): (&str, &Tensor<4>),
        loss: Tensor<1>,
        checks: &mut Checks,
    ) {
        checks.tensor(&format!("out.{name}.loss"), loss.clone().detach());
        if let Some(gradient) = leaf.grad(&loss.backward()) {
            checks.tensor(&format!("grad.{name}.{key}"), gradient);
        }
    }

    /// The gains of the rows of `output` over the base.
    fn gains(&self, name: &str, output: &Tensor<4>) -> miette::Result<Tensor<1>> {
        let target = self.input(&format!("{name}.target"))?;
        let reference = error(self.input(&format!("{name}.reference"))?, &target);
        Ok(reference - error(output.clone(), &target))
    }

    fn dpo(&self, beta: f64, checks: &mut Checks) -> miette::Result<()> {
        let output = self.leaf("dpo.output")?;
        let gains = self.gains("dpo", &output)?;
        let pairs = gains.dims()[0] / 2;
        let (preferred, rejected) =
            (gains.clone().narrow(0, 0, pairs), gains.narrow(0, pairs, pairs));
        let (loss, _) = preference_loss(preferred, rejected, beta);
        self.compare("dpo", ("output", &output), loss.mean(), checks);
        Ok(())
    }

    fn kto(&self, beta: f64, checks: &mut Checks) -> miette::Result<()> {
        for utility in [Utility::KahnemanTversky, Utility::LossAverse, Utility::RiskSeeking] {
            let name = serde_json::to_value(utility).into_diagnostic()?;
            let name = format!("kto.{}", name.as_str().unwrap_or_default());
            let output = self.leaf(&format!("{name}.output"))?;
            let gains = self.gains(&name, &output)?;
            let reference = gains.clone().detach().mean().into_scalar::<f64>().max(0.0);
            let signs: Tensor<1> = self.input(&format!("{name}.sign"))?;
            // 1 and -1 to the weights of what is desirable and what is not.
            let weights = signs.clone() * (2.0 * DESIRABLE_SHARE - 1.0) + 1.0;
            let loss = utility_loss(gains, signs, reference, beta, utility) * weights;
            self.compare(&name, ("output", &output), loss.mean(), checks);
        }
        Ok(())
    }

    fn grpo(&self, checks: &mut Checks) -> miette::Result<()> {
        for (name, spread) in [("grpo.group", Spread::Group), ("grpo.rollout", Spread::Rollout)] {
            let of = |key: &str| format!("{name}.{key}");
            let mean = self.leaf(&of("mean"))?;
            let scores: Vec<f64> =
                self.input::<1>(&of("reward"))?.into_data().iter::<f64>().collect();
            let advantages = advantages(&scores, GROUP, spread, ADVANTAGE_CLIP);
            let row = Tensor::<1>::from_data(&advantages[..], &self.device);
            checks.tensor(&format!("out.{}", of("advantages")), row);
            let step = transition(mean.clone(), GRPO_DEVIATION);
            let base = transition(self.input(&of("base"))?, GRPO_DEVIATION);
            let parts = step.log_prob(self.input(&of("sample"))?).zip(step.kl(&base));
            let Some((log_prob, divergence)) = parts else { continue };
            let (loss, _) = policy_loss(log_prob, self.input(&of("old"))?, &advantages, CLIP);
            let loss = (loss + divergence * KL_WEIGHT).mean();
            self.compare(name, ("mean", &mean), loss, checks);
        }
        Ok(())
    }

    fn spo(&self, beta: f64, checks: &mut Checks) -> miette::Result<()> {
        let mean = self.leaf("spo.mean")?;
        let step = transition(mean.clone(), SPO_DEVIATION);
        let base = transition(self.input("spo.base")?, SPO_DEVIATION);
        let log_ratio = |sample: Tensor<4>| {
            let (own, base) = (step.log_prob(sample.clone()), base.log_prob(sample));
            own.zip(base).map(|(own, base)| own - base)
        };
        let ratios = log_ratio(self.input("spo.better")?).zip(log_ratio(self.input("spo.worse")?));
        if let Some((better, worse)) = ratios {
            let (loss, _) = step_preference_loss(better, worse, beta, SPO_CLIP);
            self.compare("spo", ("mean", &mean), loss.mean(), checks);
        }
        Ok(())
    }
}
