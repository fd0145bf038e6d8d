//! The other methods, of a LoRA on a diffusion and on a flow.

use std::sync::Arc;

use burn::{module::Module, tensor::Device};
use hyperalign_core::diffusion::Process;
use hyperalign_models::{
    base::Base,
    hypernet::{Adapter, AdapterKind, AdapterMeta, StaticLoraConfig, Variant},
    testing::{shaken, small_base, small_flux},
};
use hyperalign_rewards::Prompt;
use hyperalign_train::{
    data::{LabelData, Labelled, PairData, Pairs, PreferredData, TrainingData},
    learner::{Emitted, Objective, Part, Shard},
    method::{
        AlignPropSettings, DanceGrpoSettings, DiffusionDpoSettings, DiffusionKtoSettings,
        DraftLvSettings, DraftSettings, FlowGrpoSettings, FlowSampling, Materials, Method,
        RaftSettings, ReflSettings, Setup, SpoSettings, SrpoSettings, TrajectorySettings, Utility,
    },
};

use crate::{Noise, Ripple, device, probe::Probe};

impl PairData for Noise {
    fn pairs(&self, indices: &[u32], device: &Device) -> Pairs {
        let (preferred, prompts) = self.batch(indices, device);
        let others: Vec<u32> = indices.iter().map(|k| k + 1000).collect();
        Pairs { preferred, rejected: self.batch(&others, device).0, prompts }
    }
}

impl LabelData for Noise {
    fn labelled(&self, indices: &[u32], device: &Device) -> Labelled {
        let (images, prompts) = self.batch(indices, device);
        Labelled { images, prompts, desirable: indices.iter().map(|k| k % 2 == 0).collect() }
    }
}

fn setup(base: Arc<dyn Base>) -> Setup {
    let materials = Materials {
        base,
        reward: Some(Arc::new(Ripple)),
        reward_decoder: None,
        prompts: Prompt::of(&["a red dog", "blue"]),
        data: TrainingData::Pairs(Arc::new(Noise)),
        sample_prompts: Vec::new(),
        held_out: None,
        attribution: None,
        device: device(),
    };
    let trajectory =
        TrajectorySettings { steps: 4, guidance_scale: 3.0, ..TrajectorySettings::default() };
    Setup { seed: 3, materials, trajectory, threads: 1, micro_steps: 1 }
}

fn lora(base: &dyn Base) -> Adapter {
    let targets = base.lora_targets().into_iter().step_by(5).collect();
    let config = StaticLoraConfig { rank: 2, alpha: 2.0, targets };
    let meta = AdapterMeta::new("small", "", Variant::S, AdapterKind::StaticLora(config));
    shaken(meta.init(1, &device().autodiff()).unwrap(), 0.3)
}

fn assert_gradient<M: Method>(method: &M, base: Arc<dyn Base>, update: u64) {
    // The flow computes a part in f32, whose last digits are much in a small difference.
    let (h, tolerance) = match base.process() {
        Process::VariancePreserving { .. } => (1e-4, 1e-5),
        Process::RectifiedFlow => (2e-2, 1e-2),
    };
    let adapter = lora(base.as_ref());
    let objective = method.objective(setup(base));
    // The gradient takes what is prepared for given, and so must the differences.
    let first = update - update % method.span();
    let batch = objective.prepare(&adapter.valid(), first);
    let loss = |adapter: &Adapter| {
        let mut emitted = Emitted::default();
        let shard = Shard { index: 0, count: 1 };
        objective.losses(adapter, &batch, update, shard, &mut emitted);
        let weighted = |part: Part| part.loss * part.weight;
        emitted.parts.into_iter().map(weighted).reduce(|a, b| a + b).unwrap()
    };
    let gradients = loss(&adapter).backward();
    let mut probe = Probe::of(&gradients);
    adapter.visit(&mut probe);
    assert!(probe.found.len() > 4, "{} parameters", probe.found.len());
    let largest = probe.found.values().map(|(_, of)| of.abs()).fold(0.0, f64::max);
    assert!(largest > 1e-6, "{}: {largest}", M::NAME);
    for (path, (index, gradient)) in probe.found {
        let moved = |change: f64| {
            let adapter = adapter.clone().map(&mut Probe::nudge(&path, index, change));
            loss(&adapter).into_scalar::<f64>()
        };
        let difference = (moved(h) - moved(-h)) / (2.0 * h);
        let error = (difference - gradient).abs() / gradient.abs().max(1e-2 * largest);
        assert!(error < tolerance, "{} {path}: {gradient}, by differences {difference}", M::NAME);
    }
}

fn diffusion() -> Arc<dyn Base> {
    Arc::new(small_base(1, &device()))
}

fn flow() -> Arc<dyn Base> {
    Arc::new(small_flux(false, &device()))
}

#[test]
fn of_preferences() {
    // Far from where a sigmoid is flat.
    let dpo = DiffusionDpoSettings { batch: 3, beta: 2.0, ..DiffusionDpoSettings::default() };
    assert_gradient(&dpo, diffusion(), 5);
    assert_gradient(&dpo, flow(), 5);
    for utility in [Utility::KahnemanTversky, Utility::LossAverse, Utility::RiskSeeking] {
        let kto = DiffusionKtoSettings { batch: 4, beta: 2.0, utility, ..Default::default() };
        assert_gradient(&kto, diffusion(), 5);
    }
}

/// Through one step and through all of them.
#[test]
fn of_a_reward_through_steps() {
    for last_steps in [1, 4] {
        let draft = DraftSettings { trajectories: 2, last_steps };
        assert_gradient(&draft, diffusion(), 5);
        assert_gradient(&draft, flow(), 5);
    }
    let align_prop = AlignPropSettings { trajectories: 2, eta: 1.0, ..Default::default() };
    assert_gradient(&align_prop, diffusion(), 5);
    assert_gradient(&DraftLvSettings { trajectories: 2, noises: 2 }, diffusion(), 5);
    assert_gradient(&SrpoSettings { trajectories: 2, ..SrpoSettings::default() }, flow(), 5);
    let refl = ReflSettings { trajectories: 2, preferred_batch: 2, ..ReflSettings::default() };
    assert_gradient(&refl, diffusion(), 5);
}

#[test]
fn of_the_best_and_of_branches() {
    let raft = RaftSettings { prompts: 2, candidates: 2, ..RaftSettings::default() };
    assert_gradient(&raft, diffusion(), 4);
    // Ratios that stay in their range.
    let spo = SpoSettings { trajectories: 3, clip_range: 0.5, ..SpoSettings::default() };
    assert_gradient(&SpoSettings { least_preference: 0.0, beta: 2.0, ..spo }, diffusion(), 4);
}

/// Of the second update of a rollout, whose likelihoods are compared with those of the first model, and
/// whose range is wide enough for the differences.
#[test]
fn of_likelihoods() {
    let dance = DanceGrpoSettings {
        groups: 2,
        group_size: 3,
        updates_per_rollout: 2,
        clip_range: 0.5,
        ..DanceGrpoSettings::default()
    };
    assert_gradient(&dance, diffusion(), 3);
    let grpo = FlowGrpoSettings {
        groups: 2,
        group_size: 3,
        clip_range: 0.5,
        kl_weight: 2.0,
        ..FlowGrpoSettings::default()
    };
    assert_gradient(&grpo, flow(), 3);
    assert_gradient(&FlowGrpoSettings { sampling: FlowSampling::Cps, ..grpo }, flow(), 3);
}
