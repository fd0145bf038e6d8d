use burn::tensor::{Tensor, s};
use hyperalign_core::{
    contract::{Decoder, NoAdapter, Prompt, Reward},
    sampler::{StepState, unobserved},
    schedule::{Solver, SolverChoice},
    stop::Stop,
    testing::{self, Brightness, distance},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    base::{Adaptable, Base, BaseError, PromptEncoder},
    hypernet::{
        Adapter, AdapterError, AdapterKind, AdapterMeta, HypernetConfig, StaticLoraConfig, Variant,
    },
    pipeline::StableDiffusion,
    testing::{shaken, small_base},
};

const SAMPLING: Sampling = Sampling::new(4, 2.0);

fn base() -> StableDiffusion {
    small_base(1, &testing::device())
}

fn shots() -> [Shot; 3] {
    [Shot::new("a red dog", 5), Shot::new("a blue heart", 6), Shot::new("a dog", 7)]
}

/// The batches of `shots`, and what all of them cost.
pub(super) fn batches(
    base: &dyn Base,
    way: &dyn Way,
    sampling: &Sampling,
    shots: &[Shot],
) -> Result<(Vec<Batch>, Cost), GenerateError> {
    let (mut all, mut cost) = (Vec::new(), Cost::default());
    let meter = Meter::default();
    let job = Job { base, sampling, shots, decoder: None, meter: &meter };
    let done = generate(way, &job, &Stop::default(), &mut |_, batch| {
        assert!(batch.seconds > 0.0);
        cost += batch.cost;
        all.push(batch);
        Ok::<_, GenerateError>(())
    });
    assert!(done?);
    Ok((all, cost))
}

/// Pictures of `shots`, one after the other, and what all of them cost.
fn made(
    base: &dyn Base,
    way: &dyn Way,
    sampling: &Sampling,
    shots: &[Shot],
) -> Result<(Tensor<4>, Cost), GenerateError> {
    let (batches, cost) = batches(base, way, sampling, shots)?;
    Ok((Tensor::cat(batches.into_iter().map(|batch| batch.images).collect(), 0), cost))
}

fn pictures(way: &dyn Way, sampling: &Sampling, shots: &[Shot]) -> Tensor<4> {
    made(&base(), way, sampling, shots).unwrap().0
}

fn hypernet_meta() -> AdapterMeta {
    let base = base();
    let config = HypernetConfig {
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    AdapterMeta::new(base.name(), base.hash(), Variant::S, AdapterKind::Hypernet(config))
}

fn hypernet() -> Adapter {
    hypernet_meta().init(3, &testing::device()).unwrap()
}

fn adapted(adapter: &Adapter, variant: Variant) -> Adapted<'_> {
    Adapted { adapter, variant, key_steps: vec![2], dose: Dose::default() }
}

#[test]
fn a_picture_depends_on_its_own_shot_and_settings_only() {
    let adapter = shaken(hypernet(), 0.3);
    let s = adapted(&adapter, Variant::S);
    let solver = SolverChoice { solver: Some(Solver::EulerAncestral), eta: Some(0.5) };
    let sampling = Sampling { solver, ..SAMPLING };
    for way in [&Plain as &dyn Way, &s] {
        let together = pictures(way, &sampling, &shots());
        assert_eq!(together.dims(), [3, 3, 8, 8]);
        for batch in [1, 2] {
            let apart = pictures(way, &Sampling { batch, ..sampling.clone() }, &shots());
            assert!(distance(together.clone(), apart) < 1e-5);
        }
        let second = together.slice(s![1..2]);
        let to = |sampling: &Sampling, shot: Shot| {
            distance(second.clone(), pictures(way, sampling, &[shot]))
        };
        let [_, shot, _] = shots();
        assert!(to(&sampling, Shot { seed: 7, ..shot.clone() }) > 1e-3, "the seed is not used");
        assert!(to(&sampling, Shot::new("a red dog", 6)) > 1e-4, "the prompt is not used");
        let other = |sampling: Sampling| to(&sampling, shot.clone());
        assert!(other(Sampling { guidance_scale: 1.0, ..sampling.clone() }) > 1e-5, "no guidance");
        let negative_prompt = "red dog".to_owned();
        assert!(other(Sampling { negative_prompt, ..sampling.clone() }) > 1e-6, "no negative");
        assert!(other(SAMPLING) > 1e-4, "the solver is not used");
    }
}

/// Every solver that fits makes pictures, and the others are refused before any work.
#[test]
fn solvers_by_name() {
    let mut all: Vec<Tensor<4>> = Vec::new();
    for solver in Solver::ALL {
        let choice = SolverChoice { solver: Some(solver), eta: None };
        let sampling = Sampling { solver: choice, ..SAMPLING };
        if solver.is_for_flows() {
            let error = made(&base(), &Plain, &sampling, &shots()).unwrap_err().to_string();
            assert!(error.contains(solver.name()), "{error}");
            continue;
        }
        let picture = pictures(&Plain, &sampling, &shots()[..1]);
        for other in &all {
            assert!(distance(picture.clone(), other.clone()) > 1e-5, "{solver}");
        }
        all.push(picture);
    }
}

#[test]
fn what_the_base_refuses_is_an_error() {
    let base = base();
    let error = |sampling: Sampling, prompt: &str| {
        made(&base, &Plain, &sampling, &[Shot::new(prompt, 0)]).unwrap_err().to_string()
    };
    assert!(error(Sampling::new(0, 2.0), "a red dog").contains("0 sampling steps"));
    assert!(error(SAMPLING, "a purple dog").contains("unknown words: purple"));
    let size = |size| Sampling { size: Some(size), ..SAMPLING };
    let message = error(size([9, 12]), "a dog");
    assert!(message.contains("multiples of 2") && message.contains("take 10 x 12"), "{message}");
    error(size([0, 8]), "a dog");
    let wide = made(&base, &Plain, &size([12, 8]), &shots()[..1]).unwrap().0;
    assert_eq!(wide.dims(), [1, 3, 12, 8]);
}

#[test]
fn variants_differ_and_an_untrained_adapter_changes_nothing() {
    let plain = pictures(&Plain, &SAMPLING, &shots());
    let variants = [Variant::S, Variant::P, Variant::I];
    let fresh = hypernet();
    for variant in variants {
        let same = pictures(&adapted(&fresh, variant), &SAMPLING, &shots());
        assert_eq!(distance(same, plain.clone()), 0.0);
    }
    let trained = shaken(fresh, 0.3);
    let ways = variants.map(|variant| adapted(&trained, variant));
    let [s, p, i] = ways.map(|way| pictures(&way, &SAMPLING, &shots()));
    assert!(distance(s.clone(), plain) > 1e-6 && distance(s.clone(), p.clone()) > 1e-6);
    assert!(distance(p, i.clone()) > 1e-6 && distance(s, i) > 1e-6);
}

/// Where a step looks twice, P computes its update anew before the first look of a key step.
#[test]
fn key_steps_are_steps_and_not_evaluations() {
    let solver = SolverChoice { solver: Some(Solver::Heun), eta: None };
    let sampling = Sampling { solver, ..SAMPLING };
    let trained = shaken(hypernet(), 0.3);
    let (base, meter, stop) = (base(), Meter::default(), Stop::default());
    let shots = shots();
    let job = Job { base: &base, sampling: &sampling, shots: &shots, decoder: None, meter: &meter };
    let made = adapted(&trained, Variant::P).make(&job, &stop).unwrap().unwrap().images;
    assert_eq!(meter.read().denoiser_evaluations, 3 * 7);
    let with = |key: usize| {
        let source = trained.source(&base, Variant::P, vec![key]);
        job.sample(source.as_ref(), &stop).unwrap().unwrap().images
    };
    assert_eq!(distance(made.clone(), with(4)), 0.0);
    assert!(distance(made, with(2)) > 1e-6);
}

/// The base takes the last steps alone, in sampling steps whatever the solver.
#[test]
fn an_adapter_is_used_as_much_and_as_long_as_is_said() {
    let trained = shaken(hypernet(), 0.3);
    for solver in [Solver::Ddim, Solver::Heun] {
        let choice = SolverChoice { solver: Some(solver), eta: None };
        let sampling = Sampling { solver: choice, ..SAMPLING };
        for variant in [Variant::S, Variant::I] {
            let with = |scale: f64, share: f64| {
                let dose = Dose::new(scale, share, sampling.steps);
                pictures(&Adapted { dose, ..adapted(&trained, variant) }, &sampling, &shots())
            };
            let plain = pictures(&Plain, &sampling, &shots());
            let whole = pictures(&adapted(&trained, variant), &sampling, &shots());
            assert_eq!(distance(with(1.0, 1.0), whole.clone()), 0.0);
            assert_eq!(distance(with(1.0, 0.0), plain.clone()), 0.0);
            assert!(distance(with(0.0, 1.0), plain.clone()) < 1e-6);
            let half = with(1.0, 0.5);
            assert!(distance(half.clone(), plain) > 1e-7, "{solver}");
            assert!(distance(half, whole) > 1e-7, "{solver}");
        }
    }
    let name = |scale, share| {
        let dose = Dose::new(scale, share, 4);
        Adapted { dose, ..adapted(&trained, Variant::S) }.name()
    };
    assert_eq!(name(1.0, 1.0), "hyperalign-s");
    assert_eq!(name(0.5, 0.5), "hyperalign-s x0.5 until step 2");
}

/// As the published tables count: an evaluation a step, and a decoding.
#[test]
fn what_pictures_cost() {
    let adapter = hypernet();
    let s = adapted(&adapter, Variant::S);
    for way in [&Plain as &dyn Way, &s] {
        let (_, cost) = made(&base(), way, &Sampling { batch: 2, ..SAMPLING }, &shots()).unwrap();
        assert_eq!((cost.denoiser_evaluations, cost.decodes), (3 * 4, 3));
        assert_eq!((cost.gradient_passes, cost.reward_calls), (0, 0));
        assert!(cost.seconds > 0.0);
    }
    let meter = Meter::default();
    let images = Tensor::zeros([2, 3, 8, 8], &testing::device());
    let prompts = Prompt::of(&["a", "b"]);
    let reward = Metered::new(&Brightness as &dyn Reward, &meter);
    reward.score(images.clone(), &prompts);
    reward.measure(&images, &prompts);
    reward.score_with_gradient(images, &prompts);
    meter.gradient_pass(2);
    assert_eq!((meter.read().reward_calls, meter.read().gradient_passes), (6, 2));
}

/// Another way is one `impl`: two pictures of each shot, of which the brighter is kept.
#[derive(Debug)]
struct BestOfTwo;

impl Way for BestOfTwo {
    fn name(&self) -> String {
        "best of 2".to_owned()
    }

    fn identity(&self) -> Value {
        json!({ "candidates": 2, "reward": Brightness.version() })
    }

    fn make(&self, job: &Job, stop: &Stop) -> Result<Option<Made>, GenerateError> {
        let reward = Metered::new(&Brightness as &dyn Reward, job.meter);
        let mut best: Vec<(f32, Tensor<4>)> = Vec::new();
        for candidate in 0..2 {
            let other = |shot: &Shot| Shot { seed: shot.seed + 100 * candidate, ..shot.clone() };
            let shots: Vec<Shot> = job.shots.iter().map(other).collect();
            let Some(made) = Plain.make(&Job { shots: &shots, ..*job }, stop)? else { break };
            let scores = reward.measure(&made.images, &job.prompts());
            for (k, score) in scores.into_iter().enumerate() {
                let image = made.images.clone().slice(s![k..k + 1]);
                match best.get_mut(k) {
                    Some(kept) if kept.0 >= score => {}
                    Some(kept) => *kept = (score, image),
                    None => best.push((score, image)),
                }
            }
        }
        let images: Vec<Tensor<4>> = best.into_iter().map(|(_, image)| image).collect();
        Ok((!images.is_empty()).then(|| Made::new(Tensor::cat(images, 0))))
    }
}

#[test]
fn a_search_is_a_way() {
    let scores = |images: &Tensor<4>| Brightness.measure(images, &shots().map(|shot| shot.prompt));
    let (kept, cost) = made(&base(), &BestOfTwo, &SAMPLING, &shots()).unwrap();
    let other = shots().map(|shot| Shot { seed: shot.seed + 100, ..shot });
    let [first, second] =
        [&shots(), &other].map(|shots| scores(&pictures(&Plain, &SAMPLING, shots)));
    assert_ne!(first, second);
    for (k, kept) in scores(&kept).into_iter().enumerate() {
        assert!((kept - first[k].max(second[k])).abs() < 1e-6);
    }
    // Two runs of four steps, two decodings and two scores for each of three pictures.
    assert_eq!((cost.denoiser_evaluations, cost.decodes, cost.reward_calls), (24, 6, 6));
}

/// Another decoder makes other pictures of the same latents.
#[test]
fn a_decoder_can_stand_in_for_the_bases_own() {
    struct Grey;

    impl Decoder for Grey {
        fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
            Tensor::zeros([latents.dims()[0], 3, 8, 8], &latents.device())
        }
    }

    let (base, meter) = (base(), Meter::default());
    let shots = shots();
    let decoder = Some(&Grey as &dyn Decoder);
    let job = Job { base: &base, sampling: &SAMPLING, shots: &shots, decoder, meter: &meter };
    let made = Plain.make(&job, &Stop::default()).unwrap().unwrap();
    assert_eq!(made.images.abs().max().into_scalar::<f32>(), 0.0);
    assert_eq!(meter.read().decodes, 3);
}

/// A stop ends the work within a batch, and no half-made picture is handed on.
#[test]
fn a_stop_ends_after_the_step_at_hand() {
    let (base, stop) = (base(), Stop::default());
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let progress = |_| {
        // The second step of the second batch.
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 5 {
            stop.request();
        }
    };
    let meter = Meter::with_progress(&progress);
    let shots = shots();
    let sampling = Sampling { batch: 1, ..SAMPLING };
    let job = Job { base: &base, sampling: &sampling, shots: &shots, decoder: None, meter: &meter };
    let mut handed = 0;
    let done = generate(&Plain, &job, &stop, &mut |shots, _| {
        handed += shots.len();
        Ok::<_, GenerateError>(())
    });
    assert!(!done.unwrap());
    assert_eq!((handed, meter.read().denoiser_evaluations), (1, 6));
}

/// Whoever looks on sees every step of every batch, and may stop the work by it.
#[test]
fn steps_are_shown() {
    let (base, stop, seen) = (base(), Stop::default(), std::sync::Mutex::new(Vec::new()));
    let on_step = |state: &StepState| {
        let mut seen = seen.lock().unwrap();
        seen.push((state.i, state.pred_original.dims()[0]));
        if seen.len() == 6 {
            stop.request();
        }
    };
    let meter = Meter::default().showing(&on_step);
    let (shots, sampling) = (shots(), Sampling { batch: 2, ..SAMPLING });
    let job = Job { base: &base, sampling: &sampling, shots: &shots, decoder: None, meter: &meter };
    let done = generate(&Plain, &job, &stop, &mut |_, _| Ok::<_, GenerateError>(()));
    assert!(!done.unwrap());
    assert_eq!(*seen.lock().unwrap(), [(0, 2), (1, 2), (2, 2), (3, 2), (0, 1), (1, 1)]);
}

#[test]
fn broken_weights_are_an_error() {
    let broken = shaken(hypernet(), f64::NAN);
    let way = adapted(&broken, Variant::S);
    let error = made(&base(), &way, &SAMPLING, &shots()).unwrap_err();
    let GenerateError::NotFinite { way, prompt, seed } = error else { panic!("{error}") };
    assert_eq!((way.as_str(), prompt.as_str(), seed), ("hyperalign-s", "a red dog", 5));
}

/// One trajectory, from the noise of other streams than those of seeds.
#[test]
fn a_generation_is_what_pictures_are_sampled_with() -> Result<(), BaseError> {
    let base = base();
    let prompts = Prompt::texts(&shots().map(|shot| shot.prompt));
    let generation = Generation::new(&base, &SAMPLING, &prompts)?;
    let end = generation.run(&NoAdapter, &[5, 6, 7], &mut unobserved);
    let images = base.decode(end.sample).clamp(-1.0, 1.0);
    assert_eq!(distance(images, pictures(&Plain, &SAMPLING, &shots())), 0.0);
    let encoded = generation.conditioning().clone();
    let again = Generation::of(&base, &SAMPLING, encoded)?;
    assert_eq!(again.scheduler().steps(), 4);
    assert_eq!(again.conditioning().batch(), 3);
    Ok(())
}

#[test]
fn an_adapter_is_used_on_its_own_base() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.safetensors");
    let base = base();
    let config = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base.lora_targets() };
    let network = AdapterKind::StaticLora(config);
    let mut meta = AdapterMeta::new(base.name(), base.hash(), Variant::P, network);
    meta.key_steps = vec![5];
    meta.key_steps_of = 10;
    meta.init(1, &testing::device()).unwrap().save(&path, &meta).unwrap();
    let file = AdapterFile::open(&path, &base, &testing::device()).unwrap();
    let way = file.adapted(None, 4);
    assert_eq!(
        (way.variant, &way.key_steps[..], way.name()),
        (Variant::P, &[2][..], "static-lora".into())
    );
    assert_eq!(file.adapted(Some(Variant::I), 4).variant, Variant::I);
    let other = small_base(2, &testing::device());
    let error = AdapterFile::open(&path, &other, &testing::device()).unwrap_err();
    assert!(matches!(error, AdapterError::OtherBase { .. }), "{error}");
}
