//! Methods over adapters, gradients through real networks, and rewards that fail.

use std::ops::ControlFlow;

use hyperalign_core::{
    contract::NoAdapter,
    one_picture::{Draws, OnePicture, Unlimited},
    sampler::Trajectory,
};

use super::*;
use crate::{
    base::{Adaptable, PromptEncoder},
    hypernet::{Adapter, AdapterKind, AdapterMeta, HypernetConfig, StaticLoraConfig, Variant},
    testing::shaken,
};

fn adapters() -> [Adapter; 2] {
    let base = small_base(1, &testing::device());
    let hypernet = HypernetConfig {
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    let lora = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base.lora_targets() };
    [AdapterKind::Hypernet(hypernet), AdapterKind::StaticLora(lora)].map(|kind| {
        let meta = AdapterMeta::new(base.name(), base.hash(), Variant::S, kind);
        shaken(meta.init(3, &testing::device()).unwrap(), 0.3)
    })
}

/// Over a hypernetwork and over a static LoRA: what an adapter makes is searched, and best of one
/// is what the adapter makes.
#[test]
fn methods_work_over_adapters() {
    let base = small_base(1, &testing::device());
    for adapter in &adapters() {
        let adapted =
            Adapted { adapter, variant: Variant::S, key_steps: Vec::new(), dose: Dose::default() };
        let over = |method| Sought { adapted: Some(adapted.clone()), ..sought(method) };
        let picture = |way: &dyn Way| {
            batches(&base, way, &SAMPLING, &shots()[..1]).unwrap().0.remove(0).images
        };
        let one = TestTime::BestOfN(BestOfN { n: 1 });
        assert_eq!(distance(picture(&over(one.clone())), picture(&adapted)), 0.0);
        assert!(distance(picture(&adapted), picture(&sought(one))) > 1e-5, "no update");
        for method in small() {
            let (bare, adapted) = (sought(method.clone()), over(method));
            assert!(
                distance(picture(&bare).clone(), picture(&adapted).clone()) > 1e-6,
                "{}",
                adapted.name()
            );
            assert!(adapted.name().contains(" of ") && bare.identity() != adapted.identity());
        }
    }
}

/// Through the decoder, the guided denoiser and the reward, along some directions.
#[test]
fn the_gradient_against_finite_differences() {
    for base in bases() {
        let sampling = Sampling { guidance_scale: 3.0, ..SAMPLING };
        let prompts = [shots()[0].prompt.text.clone()];
        let generation = Generation::new(base.as_ref(), &sampling, &prompts).unwrap();
        let mut middle = None;
        generation.run(&NoAdapter, &[5], &mut |state| {
            middle = Some(state.prev_sample.clone());
            if state.i == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let middle = middle.unwrap();
        let device = middle.device();
        let prompt = &shots()[0].prompt;
        let reward = red();
        let picture = OnePicture {
            sampler: generation.sampler(),
            conditioning: generation.conditioning(),
            decoder: base.as_ref(),
            reward: reward.as_ref(),
            prompt,
            nouns: &[],
            draws: Draws::new(5, generation.latent_shape(), &device),
            batch: 1,
            account: &Unlimited,
        };
        let value = |sample: Tensor<4>| -> f64 {
            let look = picture.sampler.look(&Trajectory::at(2, sample));
            picture.tracked_scores(&look).into_scalar::<f32>().into()
        };
        let trajectory = Trajectory::at(2, middle.clone());
        let graded =
            picture.graded(&picture.sampler, &trajectory, |look| picture.tracked_scores(look));
        assert!((graded.values[0].unwrap() - value(middle.clone())).abs() < 1e-5);
        assert!(!graded.look.model_output.is_autodiff() && !graded.gradient.is_autodiff());
        // Along the gradient itself the slope is its length.
        let along = |direction: Tensor<4>| {
            let length: f32 = direction.clone().square().sum().sqrt().into_scalar();
            let direction = direction.div_scalar(length);
            let step = 3e-2;
            let moved = |by: f64| value(middle.clone() + direction.clone() * by);
            let found = (moved(step) - moved(-step)) / (2.0 * step);
            let expected: f32 = (graded.gradient.clone() * direction.clone()).sum().into_scalar();
            (found, f64::from(expected))
        };
        let (found, expected) = along(graded.gradient.clone());
        let about = format!("{}: {found} {expected}", base.name());
        assert!(expected > 0.0 && (found / expected - 1.0).abs() < 0.02, "{about}");
        let (other, stated) = along(picture.draws.search(9, 0..1));
        assert!((other - stated).abs() < 0.02 * expected, "{about}: {other} {stated}");
    }
}

/// A reward that fails now and then, or always, is passed over and counted, and the picture made.
#[test]
fn scores_that_are_no_numbers_are_counted() {
    struct Broken;

    impl Reward for Broken {
        fn name(&self) -> &str {
            "broken"
        }

        fn version(&self) -> String {
            "1".to_owned()
        }

        fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
            let pixels: Tensor<2> = images.flatten(1, 3);
            pixels.mean_dim(1).squeeze_dim::<1>(1).mul_scalar(f64::NAN)
        }

        fn differentiable(&self) -> bool {
            true
        }

        fn reads(&self) -> Reads {
            Reads::Tensors
        }
    }

    let base = small_base(1, &testing::device());
    for method in small() {
        let way = Sought { reward: Arc::new(Broken), ..sought(method) };
        let sampling = way.sampling(&base, &SAMPLING);
        let (found, _) = batches(&base, &way, &SAMPLING, &shots()[..1]).unwrap();
        let (plain, _) = batches(&base, &Plain, &sampling, &shots()[..1]).unwrap();
        let about = way.name();
        assert!(found[0].notes[0]["skipped"].as_u64().unwrap() > 0, "{about}");
        assert!(found[0].notes[0]["score"].is_null(), "{about}");
        // With nothing to go by it is the picture that plain sampling makes, but for dymo, which
        // binds words all the same.
        if about != "dymo" {
            assert!(distance(found[0].images.clone(), plain[0].images.clone()) < 1e-5, "{about}");
        }
    }
}

/// A flow that was not distilled is guided by its answer to the empty prompt, as a diffusion.
#[test]
fn flows_with_an_answer_of_their_own() {
    let base = small_flux(false, &testing::device());
    for method in small() {
        let (pictures, _) = batches(&base, &sought(method), &SAMPLING, &shots()[..1]).unwrap();
        assert_eq!(pictures[0].images.dims(), [1, 3, 8, 8]);
    }
}

/// A limit of time ends a search; the picture is whole all the same.
#[test]
fn a_budget_of_no_time_is_the_plain_picture() {
    let base = small_base(1, &testing::device());
    for method in small() {
        let budget = Budget { seconds: Some(0.0), evaluations: None };
        let way = Sought { budget, ..sought(method) };
        let sampling = way.sampling(&base, &SAMPLING);
        let (found, cost) = batches(&base, &way, &SAMPLING, &shots()[..1]).unwrap();
        let (plain, _) = batches(&base, &Plain, &sampling, &shots()[..1]).unwrap();
        assert!(
            distance(found[0].images.clone(), plain[0].images.clone()) < 1e-5,
            "{}",
            way.name()
        );
        assert_eq!(cost.denoiser_evaluations, 4, "{}", way.name());
    }
}
