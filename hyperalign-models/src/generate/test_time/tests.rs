use std::{cell::RefCell, sync::Arc};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Prompt, Reads, Reward},
    guidance::{Dymo, Freedom},
    noise::{Purpose, Stream},
    schedule::{Solver, SolverChoice},
    search::{BestOfN, Das, NoiseSearch},
    testing::{self, distance},
};

mod together;

use super::{
    super::{tests::batches, *},
    *,
};
use crate::{
    base::Base,
    testing::{small_base, small_flux},
};

const SAMPLING: Sampling = Sampling::new(4, 2.0);

/// How red a picture is.
struct Red {
    differentiable: bool,
}

impl Reward for Red {
    fn name(&self) -> &str {
        "red"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
        let pixels: Tensor<2> = images.slice(burn::tensor::s![.., 0..1]).flatten(1, 3);
        pixels.mean_dim(1).squeeze_dim(1)
    }

    fn differentiable(&self) -> bool {
        self.differentiable
    }

    fn reads(&self) -> Reads {
        Reads::Tensors
    }
}

fn red() -> Arc<dyn Reward> {
    Arc::new(Red { differentiable: true })
}

fn sought(method: TestTime) -> Sought<'static> {
    Sought {
        method,
        reward: red(),
        adapted: None,
        budget: Budget::default(),
        knowledge: Knowledge::default(),
    }
}

fn shots() -> [Shot; 2] {
    [Shot::new("a red dog", 5), Shot::new("a blue heart", 6)]
}

/// The methods with settings that are done in a moment.
fn small() -> Vec<TestTime> {
    let noise = |settings| NoiseSearch { candidates: 3, iterations: 2, ..settings };
    let settings = TestTimeSettings {
        best_of_n: BestOfN { n: 3 },
        zero_order: noise(NoiseSearch::zero_order()),
        epsilon_greedy: noise(NoiseSearch::epsilon_greedy()),
        das: Das { alpha: Some(1e-4), ..Das::default() },
        // A repeated step draws other noise, and a better picture is no longer sure.
        freedom: Freedom { repeats: 1, ..Freedom::default() },
        dymo: Dymo { views: 1, rounds: [0.0, 0.0], ..Dymo::default() },
    };
    settings.all()
}

fn bases() -> [Box<dyn Base>; 2] {
    let device = testing::device();
    [Box::new(small_base(1, &device)), Box::new(small_flux(true, &device))]
}

#[test]
fn methods_have_their_names() {
    let names: Vec<&str> = TestTimeSettings::default().all().iter().map(TestTime::name).collect();
    assert_eq!(names, TestTime::NAMES);
    for method in TestTimeSettings::default().all() {
        let json = serde_json::to_value(&method).unwrap();
        assert_eq!(json["name"], method.name());
        assert_eq!(serde_json::from_value::<TestTime>(json).unwrap(), method);
    }
    assert!(TestTimeSettings::default().method("worst-of-n").is_none());
}

/// On both kinds of base: the picture is better than the plain one, says how it was made, and does
/// not depend on what else is made.
#[test]
fn every_method_makes_pictures_of_every_base() {
    for base in bases() {
        for method in small() {
            let way = sought(method.clone());
            let sampling = way.sampling(base.as_ref(), &SAMPLING);
            let (both, _) = batches(base.as_ref(), &way, &SAMPLING, &shots()).unwrap();
            let (plain, _) = batches(base.as_ref(), &Plain, &sampling, &shots()[1..]).unwrap();
            let apart = Sampling { batch: 1, ..SAMPLING };
            let (second, _) = batches(base.as_ref(), &way, &apart, &shots()[1..]).unwrap();
            let about = format!("{} of {}", method.name(), base.name());
            assert!(distance(both[1].images.clone(), second[0].images.clone()) < 1e-4, "{about}");
            assert!(
                distance(both[1].images.clone(), plain[0].images.clone()) > 1e-4,
                "{about} does nothing"
            );
            let prompts = [shots()[1].prompt.clone()];
            let score = |batch: &Batch| f64::from(red().measure(&batch.images, &prompts)[0]);
            assert!(score(&both[1]) > score(&plain[0]), "{about} is not better");
            if let Some(stated) = both[1].notes[0]["score"].as_f64() {
                assert!((stated - score(&both[1])).abs() < 1e-5, "{about}");
            }
            assert_eq!(both[1].notes[0]["skipped"], 0);
        }
    }
}

#[test]
fn what_methods_cost() {
    let base = small_base(1, &testing::device());
    let cost = |method| batches(&base, &sought(method), &SAMPLING, &shots()[..1]).unwrap().1;
    let counters = |cost: Cost| {
        [cost.denoiser_evaluations, cost.gradient_passes, cost.decodes, cost.reward_calls]
    };
    // N T evaluations, N decodings, N scores.
    assert_eq!(counters(cost(TestTime::BestOfN(BestOfN { n: 3 }))), [3 * 4, 0, 3, 3]);
    // 1 + K N evaluations a step and K N scores. The last step's candidates are pictures.
    let search = NoiseSearch { candidates: 3, iterations: 2, ..NoiseSearch::zero_order() };
    assert_eq!(counters(cost(TestTime::ZeroOrder(search))), [4 + 3 * 6, 0, 4 * 6, 4 * 6]);
    // P T evaluations and gradients, and P T + P scores.
    let das = Das { particles: 3, alpha: Some(1.0), ..Das::default() };
    assert_eq!(counters(cost(TestTime::Das(das))), [3 * 4, 3 * 4, 3 * 5, 3 * 5]);
    // Of four steps two are guided, one of them three times; decoded once more at the end.
    let freedom = TestTime::Freedom(Freedom { end: 0.8, ..Freedom::default() });
    assert_eq!(counters(cost(freedom)), [4 + 2, 4, 5, 4]);
    // Four steps, of the first of which only the semantics count; each other one and a view.
    let dymo = Dymo { preference_start: 0.25, views: 1, rounds: [0.0, 0.0], ..Dymo::default() };
    assert_eq!(counters(cost(TestTime::Dymo(dymo))), [4, 4, 3 + 1, 2 * 3]);
    let compat = NoiseSearch { compat_lookahead: true, ..search };
    assert_eq!(counters(cost(TestTime::ZeroOrder(compat))), [4 * 7, 0, 4 * 6 + 1, 4 * 6]);
}

#[test]
fn what_cannot_run_is_an_error() {
    let base = small_base(1, &testing::device());
    let error = |way: &Sought, sampling: &Sampling| {
        batches(&base, way, sampling, &shots()).unwrap_err().to_string()
    };
    let none = sought(TestTime::BestOfN(BestOfN { n: 0 }));
    assert!(error(&none, &SAMPLING).contains("`best-of-n` cannot run: `n` is 0"));
    for method in small() {
        let budget = Budget { evaluations: Some(3), seconds: None };
        let way = Sought { budget, ..sought(method.clone()) };
        assert!(error(&way, &SAMPLING).contains("3 evaluations"), "{method:?}");
        if method.needs_gradient() {
            let reward = Arc::new(Red { differentiable: false });
            let way = Sought { reward, ..sought(method.clone()) };
            assert!(error(&way, &SAMPLING).contains("`red` has none"), "{method:?}");
        }
        if let TestTime::Das(das) = &method {
            let way = sought(TestTime::Das(Das { alpha: None, ..*das }));
            assert!(error(&way, &SAMPLING).contains("`--option alpha=X`"), "{method:?}");
        }
        if method.needs_noise() {
            let solver = SolverChoice { solver: Some(Solver::Ddim), eta: Some(0.0) };
            let message = error(&sought(method), &Sampling { solver, ..SAMPLING });
            assert!(message.contains("draw none"), "{message}");
        }
    }
}

/// Both networks show where they look, without a change of what they answer, and for each row of
/// the prompt: what is looked at adds up to 1 with the picture itself.
#[test]
fn networks_show_where_they_look() {
    for base in bases() {
        let prompts = shots().map(|shot| shot.prompt.text);
        let generation = Generation::new(base.as_ref(), &SAMPLING, &prompts).unwrap();
        let sampler = generation.sampler();
        assert!(sampler.shows_text(), "{}", base.name());
        let streams = [5, 6].map(|seed| Stream::new(seed, Purpose::Start, 0, 0));
        let start = sampler.start(generation.noise(streams));
        let maps = RefCell::new(Vec::new());
        let watch = |map: Tensor<4>| maps.borrow_mut().push(map);
        let look = sampler.look_with(&start, None, Some(&watch));
        let plain = sampler.look(&start);
        assert!(distance(look.model_output.clone(), plain.model_output.clone()) < 1e-6);
        let maps = maps.into_inner();
        assert!(!maps.is_empty());
        let tokens = generation.conditioning().context.dims()[1];
        for map in &maps {
            let [rows, of, height, width] = map.dims();
            assert!(rows == 2 && of == tokens && height * width > 1);
            let sums: Vec<f32> = map.clone().sum_dim(1).try_into_vec_as().unwrap();
            assert!(sums.iter().all(|sum| *sum > 0.0 && *sum < 1.0 + 1e-5), "{sums:?}");
        }
        assert!(
            distance(maps[0].clone().slice(0..1).clone(), maps[0].clone().slice(1..2).clone())
                > 1e-6
        );
        // The words of a prompt are found among its tokens.
        let prompt = "a red dog";
        let nouns = words::places(base.as_ref(), prompt, &words::parse(prompt));
        let [dog] = &nouns[..] else { panic!("{nouns:?} of {}", base.name()) };
        assert_eq!(dog.tokens.len(), 1, "{nouns:?}");
        assert_eq!(dog.attributes, [[dog.tokens[0] - 1]], "{nouns:?}");
    }
}
