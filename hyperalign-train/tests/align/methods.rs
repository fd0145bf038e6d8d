//! What is known of each method's loss without a computation, and that it learns.

use std::{collections::BTreeMap, sync::Arc};

use burn::{module::Module, tensor::Tensor};
use hyperalign_core::{
    contract::NoAdapter,
    testing::{self, Brightness},
};
use hyperalign_models::{
    hypernet::{Adapter, AdapterMeta, Variant},
    testing::{shaken, small_base, small_flux},
};
use hyperalign_rewards::{Mix, MixPart, Prompt, Reward, emoji::parse};
use hyperalign_train::{
    align::{AlignSettings, align, check},
    data::TrainingData,
    learner::{Emitted, Objective, Run, Shard},
    method::{
        AlignPropSettings, DanceGrpoSettings, DiffusionDpoSettings, DiffusionKtoSettings,
        DraftLvSettings, DraftSettings, FlowGrpoSettings, Materials, Method, MethodSettings,
        MixGrpoSettings, Plan, RaftSettings, Ratios, ReflSettings, Setup, SpoSettings, Summed,
        Utility,
    },
};

use crate::toy::{Bright, Colour, gain, materials, materials_of, scores, settings, static_lora};

pub fn setup(materials: &Materials) -> Setup {
    let (materials, trajectory) = (materials.clone(), settings().trajectory);
    Setup { seed: 1, materials, trajectory, threads: 1, micro_steps: 1 }
}

/// A LoRA as it begins: the base itself.
pub fn fresh(materials: &Materials) -> Adapter {
    let kind = static_lora().kind(materials.base.as_ref()).unwrap();
    let meta = AdapterMeta::new("small", "", Variant::S, kind);
    meta.init(3, &materials.device.clone().autodiff()).unwrap()
}

/// Everything that a method emits in update `update`: parts, then metrics.
pub fn emitted<M: Method>(
    method: &M,
    setup: Setup,
    adapter: &Adapter,
    update: u64,
) -> BTreeMap<String, f64> {
    let objective = method.objective(setup);
    let batch = objective.prepare(&adapter.valid(), update);
    let mut emitted = Emitted::default();
    objective.losses(adapter, &batch, update, Shard { index: 0, count: 1 }, &mut emitted);
    let mut values = BTreeMap::new();
    for part in emitted.parts {
        *values.entry(format!("part {}", part.name)).or_insert(0.0) +=
            part.loss.into_scalar::<f64>();
    }
    for metric in emitted.metrics {
        values.insert(metric.name.to_owned(), metric.sum / metric.count as f64);
    }
    values
}

fn judged() -> Materials {
    let base = Arc::new(small_base(1, &testing::device()));
    Materials { data: TrainingData::Pairs(Arc::new(Bright)), ..materials_of(base) }
}

/// Where the model is the base, nothing is gained, and every pair and every picture is undecided.
#[test]
fn preference_losses_of_the_base_are_known() {
    let materials = judged();
    let adapter = fresh(&materials);
    let of = |method: DiffusionDpoSettings| emitted(&method, setup(&materials), &adapter, 3);
    let dpo = of(DiffusionDpoSettings::default());
    assert!((dpo["part preference"] - std::f64::consts::LN_2).abs() < 1e-6, "{dpo:?}");
    assert_eq!((dpo["preferred_gain"], dpo["implicit_accuracy"]), (0.0, 0.0));
    for (utility, expected) in [
        (Utility::KahnemanTversky, 0.5),
        (Utility::LossAverse, std::f64::consts::LN_2),
        (Utility::RiskSeeking, -std::f64::consts::LN_2),
    ] {
        let method = DiffusionKtoSettings { utility, ..DiffusionKtoSettings::default() };
        let kto = emitted(&method, setup(&materials), &adapter, 3);
        assert!((kto["part utility"] - expected).abs() < 1e-6, "{utility:?}: {kto:?}");
        assert_eq!((kto["divergence"], kto["desirable_gain"]), (0.0, 0.0));
    }
    let spo = SpoSettings { least_preference: 0.0, ..SpoSettings::default() };
    let spo = emitted(&spo, setup(&materials), &adapter, 3);
    assert!((spo["part preference"] - std::f64::consts::LN_2).abs() < 1e-6, "{spo:?}");
    assert_eq!((spo["decided_share"], spo["implicit_accuracy"]), (1.0, 0.0));
}

/// Every prompt's best candidate is learned from, whichever it is.
#[test]
fn the_best_candidate_is_learned_from() {
    let materials = materials();
    let objective =
        RaftSettings { prompts: 4, ..RaftSettings::default() }.objective(setup(&materials));
    let round = objective.prepare(&fresh(&materials).valid(), 8);
    let best = &round[0];
    for (row, highest) in best.best().into_iter().enumerate() {
        let scores: Vec<f64> = best.scores().iter().map(|of| of[row]).collect();
        assert!(scores.contains(&highest) && scores.iter().all(|score| *score <= highest));
        assert!(scores.iter().any(|score| *score < highest), "{scores:?}");
    }
    let images = setup(&materials).base().decode(best.latents().clone()).clamp(-1.0, 1.0);
    let again: Vec<f64> =
        Colour.measure(&images, best.prompts()).into_iter().map(f64::from).collect();
    for (again, highest) in again.iter().zip(best.best()) {
        assert!((again - highest).abs() < 1e-5, "{again}, not {highest}");
    }
}

fn trained(materials: &Materials, method: MethodSettings, updates: u64) -> Adapter {
    let mut settings = AlignSettings { method, network: static_lora(), ..settings() };
    settings.training.updates = updates;
    // The update of a LoRA begins at zero, and there is little time.
    settings.training.optimizer.lr = 3e-2;
    let dir = tempfile::tempdir().unwrap();
    align(materials, &settings, &[], &Run::new(dir.path(), "")).unwrap().adapter
}

/// On pictures and noise of another seed.
#[test]
fn preference_methods_tell_what_is_preferred() {
    let materials = Materials { reward: None, ..judged() };
    let unseen = Setup { seed: 99, ..setup(&materials) };
    let dpo = DiffusionDpoSettings { batch: 8, beta: 50.0, ..DiffusionDpoSettings::default() };
    let kto = DiffusionKtoSettings { batch: 8, beta: 50.0, ..DiffusionKtoSettings::default() };
    let gains = |of: &dyn Fn(u64) -> BTreeMap<String, f64>, names: [&str; 2]| {
        let values: Vec<[f64; 2]> = (0..32).map(of).map(|of| names.map(|name| of[name])).collect();
        let [more, less] = [0, 1].map(|k| values.iter().map(|of| of[k]).collect::<Vec<_>>());
        gain(&more, &less)
    };
    let adapter = trained(&materials, dpo.clone().into(), 80);
    let measure = DiffusionDpoSettings { batch: 64, ..dpo };
    let of = |update| emitted(&measure, unseen.clone(), &adapter, update);
    let (mean, error) = gains(&of, ["preferred_gain", "rejected_gain"]);
    assert!(mean > 3.0 * error, "preferred pictures gain {mean} +- {error} more");

    let adapter = trained(&materials, kto.clone().into(), 80);
    let measure = DiffusionKtoSettings { batch: 64, ..kto };
    let of = |update| emitted(&measure, unseen.clone(), &adapter, update);
    let (mean, error) = gains(&of, ["desirable_gain", "undesirable_gain"]);
    assert!(mean > 3.0 * error, "desirable pictures gain {mean} +- {error} more");
}

/// What a method makes of the reward on new noise, after so many updates.
fn assert_raises(materials: &Materials, method: MethodSettings, updates: u64) {
    let materials = Materials { data: TrainingData::None, ..materials.clone() };
    let name = method.name();
    let before = scores(&materials, &NoAdapter);
    let adapter = trained(&materials, method, updates);
    let source = adapter.source(materials.base.as_ref(), Variant::S, Vec::new());
    let (mean, error) = gain(&scores(&materials, source.as_ref()), &before);
    assert!(mean > 3.0 * error && mean > 0.005, "{name} gains {mean} +- {error}");
}

#[test]
fn gradients_of_a_reward_raise_it_on_new_noise() {
    let methods: [MethodSettings; 4] = [
        DraftSettings { trajectories: 4, last_steps: 2 }.into(),
        DraftLvSettings { trajectories: 4, noises: 2 }.into(),
        AlignPropSettings { trajectories: 4, ..AlignPropSettings::default() }.into(),
        ReflSettings { trajectories: 4, preferred_batch: 0, ..ReflSettings::default() }.into(),
    ];
    for method in methods {
        assert_raises(&materials(), method, 60);
    }
}

#[test]
fn scores_alone_raise_a_reward_on_new_noise() {
    let dance = DanceGrpoSettings { eta: 1.0, learned_steps: 1.0, ..DanceGrpoSettings::default() };
    assert_raises(&materials(), dance.into(), 150);
    let flow = materials_of(Arc::new(small_flux(false, &testing::device())));
    assert_raises(&flow, FlowGrpoSettings::default().into(), 150);
}

#[test]
fn preferences_of_steps_raise_a_reward_on_new_noise() {
    let spo = SpoSettings { trajectories: 8, least_preference: 0.0, ..SpoSettings::default() };
    assert_raises(&materials(), spo.into(), 240);
}

/// On the best pictures of a round of another seed.
#[test]
fn the_best_are_denoised_better_and_better() {
    let materials = Materials { data: TrainingData::None, ..materials() };
    let raft = RaftSettings { prompts: 8, candidates: 2, ..RaftSettings::default() };
    let unseen = Setup { seed: 99, ..setup(&materials) };
    let losses = |adapter: &Adapter| -> Vec<f64> {
        let of = |round: u64| emitted(&raft, unseen.clone(), adapter, 4 * round)["part denoising"];
        (0..16).map(of).collect()
    };
    let adapter = trained(&materials, raft.clone().into(), 40);
    let (mean, error) = gain(&losses(&adapter), &losses(&fresh(&materials)));
    assert!(mean < -4.0 * error, "the loss changes by {mean} +- {error}");
}

/// What is rolled out off the tape, and how many steps the gradient leads through.
#[test]
fn truncation_leaves_the_steps_that_it_names() {
    let materials = materials();
    let adapter = fresh(&materials);
    let steps = settings().trajectory.steps;
    for last_steps in 1..=steps {
        let method = DraftSettings { trajectories: 2, last_steps };
        let objective = method.objective(setup(&materials));
        let reached = objective.prepare(&adapter.valid(), 0);
        assert_eq!(reached[0].steps(), steps - last_steps);
        let values = emitted(&method, setup(&materials), &adapter, 0);
        assert_eq!(values["supervised_steps"], last_steps as f64);
    }
}

/// The likelihoods that steps were drawn under are computed as those that they are compared with, also
/// for updates that come later and learn from other pictures.
#[test]
fn ratios_of_likelihoods_begin_at_one() {
    let base = Arc::new(small_flux(false, &testing::device()));
    for materials in [materials(), materials_of(base)] {
        let adapter = shaken(fresh(&materials), 0.1);
        let method = DanceGrpoSettings {
            updates_per_rollout: 3,
            learned_steps: 0.7,
            ..DanceGrpoSettings::default()
        };
        let objective = method.objective(setup(&materials));
        let batch = objective.prepare(&adapter.valid(), 3);
        let advantages: Vec<f64> =
            (0..3).flat_map(|turn| batch.of_update(turn)[0].advantages().to_vec()).collect();
        for group in advantages.chunks(method.group_size) {
            assert!(group.iter().sum::<f64>().abs() < 1e-6 && group[0] != 0.0, "{group:?}");
        }
        for turn in 0..3 {
            // Two of three steps, which differ from picture to picture.
            let learned: Vec<_> = batch.of_update(turn)[0].learned().collect();
            assert_eq!(learned.iter().map(|(_, rows)| rows).sum::<usize>(), 2 * 16);
            assert_eq!(learned.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 1, 2]);
            let mut emitted = Emitted::default();
            let shard = Shard { index: 0, count: 1 };
            objective.losses(&adapter, &batch, 3 + turn as u64, shard, &mut emitted);
            let ratios = emitted.metrics.iter().filter(|metric| metric.name == "ratio_deviation");
            let furthest =
                ratios.map(|metric| metric.sum / metric.count as f64).fold(0.0, f64::max);
            assert!(furthest < 1e-5, "update {turn}: {furthest}");
        }
    }
}

/// Brightness, against which colours have to be weighed.
fn colour_and_brightness(weights: [f64; 2]) -> Arc<dyn Reward> {
    let part = |reward: Arc<dyn Reward>, weight, std| MixPart { reward, weight, mean: 0.0, std };
    let parts =
        vec![part(Arc::new(Colour), weights[0], 0.1), part(Arc::new(Brightness), weights[1], 1e-3)];
    Arc::new(Mix::new(parts).unwrap())
}

/// The advantages by each reward are added up, so that the unit of none matters.
#[test]
fn rewards_that_are_summed_as_advantages_have_the_same_say() {
    let of = |weights, summed| {
        let materials = Materials { reward: Some(colour_and_brightness(weights)), ..materials() };
        let method = DanceGrpoSettings { group_size: 4, summed, ..DanceGrpoSettings::default() };
        let objective = method.objective(setup(&materials));
        let batch = objective.prepare(&fresh(&materials).valid(), 0);
        (batch.scores().to_vec(), batch.of_update(0)[0].advantages().to_vec())
    };
    let (_, colour) = of([1.0, 0.0], Summed::Advantages);
    let (_, brightness) = of([0.0, 1.0], Summed::Advantages);
    let (scores, both) = of([1.0, 2.0], Summed::Advantages);
    for ((both, colour), brightness) in both.iter().zip(&colour).zip(&brightness) {
        assert!((both - (colour + 2.0 * brightness)).abs() < 1e-6);
    }
    let (sums, by_score) = of([1.0, 2.0], Summed::Scores);
    // The sum of scores goes by the one of the larger unit, here brightness.
    let differ =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(differ(&by_score, &brightness) < 0.2 && differ(&both, &by_score) > 0.5);
    assert!(scores.iter().zip(&sums).all(|(a, b)| (a - b).abs() < 1e-3 * b.abs().max(1.0)));
}

/// By its gradient; by scores the advantages above.
#[test]
fn a_mix_of_rewards_is_raised_on_new_noise() {
    let part = |reward: Arc<dyn Reward>, weight| MixPart { reward, weight, mean: 0.0, std: 0.1 };
    let mix = vec![part(Arc::new(Colour), 1.0), part(Arc::new(Brightness), 0.05)];
    let materials = Materials { reward: Some(Arc::new(Mix::new(mix).unwrap())), ..materials() };
    assert_raises(&materials, DraftSettings { trajectories: 4, last_steps: 2 }.into(), 60);
}

/// Guarded ratios begin at one, and their loss has the direction of the plain one.
#[test]
fn guarded_ratios_begin_at_one_and_learn() {
    let flow = materials_of(Arc::new(small_flux(false, &testing::device())));
    let guarded = FlowGrpoSettings {
        ratios: Ratios::Guarded,
        updates_per_rollout: 2,
        kl_weight: 0.0,
        ..FlowGrpoSettings::default()
    };
    let adapter = shaken(fresh(&flow), 0.1);
    let objective = guarded.objective(setup(&flow));
    let batch = objective.prepare(&adapter.valid(), 2);
    for turn in 0..2 {
        let mut emitted = Emitted::default();
        let shard = Shard { index: 0, count: 1 };
        objective.losses(&adapter, &batch, 2 + turn, shard, &mut emitted);
        let ratios = emitted.metrics.iter().filter(|metric| metric.name == "ratio_deviation");
        let furthest = ratios.map(|metric| metric.sum / metric.count as f64).fold(0.0, f64::max);
        assert!(furthest < 1e-5, "update {turn}: {furthest}");
    }
    assert_raises(&flow, guarded.into(), 150);
    let scheduler = materials().base.scheduler(4).unwrap();
    let plan = Plan { scheduler: scheduler.as_ref(), shards: 1 };
    let dance = DanceGrpoSettings { ratios: Ratios::Guarded, ..DanceGrpoSettings::default() };
    let told = dance.check(&plan).unwrap_err().to_string();
    assert!(told.contains("`method.ratios = guarded`") && told.contains("flows"), "{told}");
}

/// A short tail saves evaluations after the window, and learns from the same steps.
#[test]
fn a_short_tail_learns_from_the_window() {
    let materials = materials();
    let adapter = fresh(&materials);
    let of = |tail| {
        let method = MixGrpoSettings { group_size: 4, window: 1, tail, ..Default::default() };
        let objective = method.objective(setup(&materials));
        let batch = objective.prepare(&adapter.valid(), 0);
        let learned: Vec<_> = batch.of_update(0)[0].learned().collect();
        (batch.of_update(0)[0].steps(), learned)
    };
    let ((whole, learned), (short, same)) = (of(1.0), of(0.4));
    assert_eq!((whole, short), (4, 2));
    assert_eq!(learned, same);
}

#[test]
fn a_flow_is_asked_for_where_a_method_is_defined_for_flows() {
    let settings = AlignSettings { method: FlowGrpoSettings::default().into(), ..settings() };
    let told = check(&materials(), &settings).unwrap_err().to_string();
    assert!(told.contains("`flow-grpo` is defined for rectified flows"), "{told}");
    let base = Arc::new(small_flux(false, &testing::device()));
    check(&materials_of(base), &settings).unwrap();
}

/// Judges by the rules of prompts, and has no gradient.
struct ByRules;

impl Reward for ByRules {
    fn name(&self) -> &str {
        "by-rules"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        assert!(prompts.iter().all(|prompt| prompt.row.is_some()), "a prompt has lost its rules");
        Colour.score(images, prompts)
    }
    fn differentiable(&self) -> bool {
        false
    }
    fn needs_rules(&self) -> bool {
        true
    }
}

#[test]
fn a_reward_that_judges_by_rules_is_told_them() {
    let prompts: Vec<Prompt> =
        ["a red heart", "a blue heart"].map(|text| parse(text).unwrap().into()).to_vec();
    let materials = Materials { reward: Some(Arc::new(ByRules)), prompts, ..materials() };
    let methods: [MethodSettings; 3] = [
        DanceGrpoSettings { group_size: 4, ..DanceGrpoSettings::default() }.into(),
        RaftSettings { prompts: 2, candidates: 2, ..RaftSettings::default() }.into(),
        SpoSettings { trajectories: 2, candidates: 2, ..SpoSettings::default() }.into(),
    ];
    for method in methods {
        let updates = method.span();
        trained(&materials, method, updates);
    }
    let draft = AlignSettings { method: DraftSettings::default().into(), ..settings() };
    let told = check(&materials, &draft).unwrap_err().to_string();
    assert!(told.contains("`by-rules` has no gradient"), "{told}");
}
