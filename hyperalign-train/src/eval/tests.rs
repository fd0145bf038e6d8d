//! Whole evaluations of the toy base.

use hyperalign_core::testing::Brightness;
use hyperalign_models::{base::Base, hypernet::Variant};
use hyperalign_rewards::{
    Reward,
    emoji::{self, Split},
    geneval::Task,
    prompts::Prompt,
};

use super::{toy::adapter, *};
use crate::learner::Stop;

const BRIGHTNESS: Brightness = Brightness;

fn evaluation<'a>(
    base: &'a dyn Base,
    methods: Vec<Method<'a>>,
    prompts: &'a [Prompt],
) -> Evaluation<'a> {
    let scorer = |column: &str, role| Scorer {
        column: column.to_owned(),
        reward: &BRIGHTNESS as &dyn Reward,
        role,
    };
    Evaluation {
        base,
        methods,
        prompts,
        seeds: 2,
        first_seed: 40,
        sampling: Sampling::new(3, 2.0),
        measures: Measures {
            gold: Some(&EmojiGold),
            scorers: vec![scorer("proxy", Role::TrainedAgainst), scorer("heldout", Role::HeldOut)],
            space: &Pixels,
        },
        cache: None,
        stop: Stop::default(),
    }
}

fn prompts(split: Split, n: usize, seed: u64) -> Vec<Prompt> {
    emoji::World::SMALL.prompts(split, n, seed).into_iter().map(Prompt::from).collect()
}

fn method<'a>(adapter: &'a hyperalign_models::hypernet::Adapter, variant: Variant) -> Method<'a> {
    let adapted = Adapted { adapter, variant, key_steps: vec![0, 1], dose: Dose::default() };
    Method::new(variant.label(), adapted)
}

fn run(evaluation: &Evaluation) -> Vec<Measured> {
    evaluation.run(&mut |_| {}).unwrap().unwrap()
}

#[test]
fn a_summary_says_what_was_measured() {
    let (base, adapter) = (toy::base(), adapter(3, 0.5));
    let rows = prompts(Split::Test, 12, 1);
    let methods = vec![
        Method::base(),
        method(&adapter, Variant::S),
        method(&adapter, Variant::P),
        method(&adapter, Variant::I),
    ];
    let evaluation = evaluation(&base, methods, &rows);
    let measured = run(&evaluation);
    let summary = Summary::new(&evaluation, &measured);

    let json = serde_json::to_value(&summary).unwrap();
    let names: Vec<&String> = json["methods"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["base", "hyperalign-s", "hyperalign-p", "hyperalign-i"]);
    let s = &json["methods"]["hyperalign-s"];
    for key in ["proxy", "heldout", "diversity", "seconds_per_image"] {
        assert!(s[key].is_f64(), "{key} in {s}");
    }
    assert!(s["gold"]["mean"].is_f64());
    assert_eq!(s["gold"]["per_task"].as_object().unwrap().len(), Task::ALL.len());
    assert!(s["variation"]["over_prompts"].is_f64() && s["variation"]["over_steps"].is_f64());
    assert_eq!(json["methods"]["base"].get("variation"), None);
    let difference = &json["differences"]["hyperalign-s"];
    for column in ["gold", "proxy", "heldout"] {
        let of = |key: &str| difference[column][key].as_f64().unwrap();
        assert!(of("low") <= of("mean") && of("mean") <= of("high"), "{difference}");
    }
    let mean = |name: &str| summary.method(name).unwrap().scores["heldout"];
    let expected = mean("hyperalign-s") - mean("base");
    let found = summary.difference("hyperalign-s").unwrap()["heldout"].mean;
    assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
    assert!(found.abs() > 1e-5, "the adapter does something");
    let Comparisons { method, against } = summary.comparisons.as_ref().unwrap();
    assert_eq!(method, "hyperalign-s");
    let others: Vec<&str> = against.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(others, ["hyperalign-p", "hyperalign-i"]);
    let expected = mean("hyperalign-s") - mean("hyperalign-i");
    let found = against[1].1["heldout"].mean;
    assert!((found - expected).abs() < 1e-9 && found != 0.0, "{found} for {expected}");

    let again: Summary = serde_json::from_value(json).unwrap();
    assert_eq!(again, summary);

    let text = summary.report(Format::Plain);
    for word in [
        "base",
        "hyperalign-i",
        "hyperalign-s against",
        "color_attr",
        "held-out: brightness, version 1; a reward that nothing was trained against.",
        "proxy: brightness, version 1; the reward that was trained against",
        "gold and its tasks (version emoji 1)",
        "in pixels",
        "24 pictures",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
    // The toy draws nothing that is right, whatever the adapter does.
    let gold = text.lines().find(|line| line.contains("gold") && line.contains('[')).unwrap();
    assert!(gold.contains("no difference shown"), "{gold}");
    let width = |line: &str| line.matches('|').count();
    let markdown = summary.report(Format::Markdown);
    let table: Vec<usize> = markdown.lines().take(6).map(width).collect();
    assert!(table.iter().all(|bars| *bars == table[0] && *bars > 10), "{markdown}");
}

#[test]
fn a_fresh_adapter_is_the_base() {
    let (base, adapter) = (toy::base(), adapter(3, 0.0));
    let rows = prompts(Split::Test, 6, 1);
    let evaluation = evaluation(&base, vec![Method::base(), method(&adapter, Variant::S)], &rows);
    let summary = Summary::new(&evaluation, &run(&evaluation));
    assert_eq!(summary.comparisons, None, "there is nothing to compare it with");
    for interval in summary.difference("hyperalign-s").unwrap().values() {
        assert_eq!(*interval, Interval { mean: 0.0, low: 0.0, high: 0.0 });
    }
}

#[test]
fn every_picture_has_a_seed_of_its_own_that_methods_share() {
    let base = toy::base();
    // The test split has few prompts of a single object: a long list repeats them.
    let row = prompts(Split::Test, 1, 1).remove(0);
    let rows = vec![row.clone(), row];
    let other = Method::new("the base again", Plain);
    let evaluation = evaluation(&base, vec![Method::base(), other], &rows);
    let measured = run(&evaluation);
    let seeds = |m: &Measured| -> Vec<u64> {
        m.records.iter().flat_map(|record| record.seeds.clone()).collect()
    };
    assert_eq!(seeds(&measured[0]), [40, 41, 42, 43]);
    // All four pictures of the prompt are compared, once.
    let [first, second] = &measured[0].records[..] else { panic!("two rows") };
    assert!(first.diversity.is_some() && second.diversity.is_none());
    let scores = |m: &Measured| -> Vec<f32> {
        m.records.iter().flat_map(|record| record.scores["proxy"].clone()).collect()
    };
    assert_eq!(scores(&measured[0]), scores(&measured[1]));
    let values = scores(&measured[0]);
    assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "{values:?}");
    let summary = Summary::new(&evaluation, &measured);
    assert_eq!((summary.rows, summary.prompts), (2, 1));
    // Drawing one prompt again and again says nothing of others.
    let text = summary.report(Format::Plain);
    let gold = text
        .lines()
        .find(|line| line.starts_with("the base again") && line.contains("  gold  "))
        .unwrap();
    assert!(gold.contains("+0.000") && gold.contains("nothing: one prompt"), "{gold}");
    assert!(!gold.contains('['), "{gold}");
    let task = measured[0].records[0].task.unwrap();
    assert!(text.contains(&format!("2 rows (1 prompt: 1 of {})", task.tag())), "{text}");
}

#[test]
fn prompts_are_counted_by_task_and_roles_are_told() {
    let base = toy::base();
    let rows = prompts(Split::Test, 12, 1);
    let mut evaluation = evaluation(&base, vec![Method::base()], &rows);
    evaluation.measures.scorers[0].role = Role::Other;
    evaluation.measures.scorers[1].column = "brightness".to_owned();
    evaluation.measures.scorers[1].role = Role::TrainedAgainst;
    let summary = Summary::new(&evaluation, &run(&evaluation));
    let text = summary.report(Format::Plain);
    assert!(text.contains("12 rows (12 different prompts) with"), "{text}");
    assert!(text.contains("proxy: brightness, version 1.\n"), "{text}");
    assert!(text.contains("  brightness (trained against)  proxy  "), "{text}");
    assert!(!text.contains("held-out"), "{text}");

    let twice = [rows.clone(), rows.clone()].concat();
    let evaluation = Evaluation { prompts: &twice, ..evaluation };
    let summary = Summary::new(&evaluation, &run(&evaluation));
    assert_eq!(summary.prompts_per_task.values().sum::<usize>(), 12);
    let text = summary.report(Format::Plain);
    let two = summary.prompts_per_task[&Task::TwoObject];
    assert!(text.contains("24 rows (12 different prompts: "), "{text}");
    assert!(text.contains(&format!(", {two} of two_object, ")), "{text}");
}

#[test]
fn an_interrupted_evaluation_goes_on_where_it_was() {
    let (base, adapter) = (toy::base(), adapter(3, 0.5));
    let rows = prompts(Split::Test, 10, 1);
    let folder = tempfile::tempdir().unwrap();
    let make = |cache: bool| Evaluation {
        cache: cache.then(|| folder.path().to_owned()),
        ..evaluation(&base, vec![Method::base(), method(&adapter, Variant::S)], &rows)
    };
    // Two seeds and a batch of 8 make groups of 4 rows: stop after the first of `s`.
    let cut = make(true);
    let mut groups = 0;
    let stopped = cut.run(&mut |_| {
        groups += 1;
        if groups == 4 {
            cut.stop.request();
        }
    });
    assert_eq!(stopped.unwrap(), None);

    let mut resumed = Vec::new();
    let measured = make(true).run(&mut |done| {
        resumed.push((done.method.to_owned(), done.pictures, done.of));
    });
    let expected = [("hyperalign-s".to_owned(), 16, 20), ("hyperalign-s".to_owned(), 20, 20)];
    assert_eq!(resumed, expected, "only what was missing is made");
    let scores = |measured: &[Measured]| -> Vec<_> {
        let records = measured.iter().flat_map(|m| m.records.clone());
        records.map(|r| (r.row, r.seeds, r.gold, r.scores, r.diversity)).collect()
    };
    assert_eq!(scores(&measured.unwrap().unwrap()), scores(&run(&make(false))));

    // Other settings are other results.
    let mut other = make(true);
    other.sampling.steps = 2;
    let mut made = 0;
    other.run(&mut |_| made += 1).unwrap();
    assert_eq!(made, 6);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let base = toy::base();
    let rows = prompts(Split::Test, 2, 1);
    let refused = |evaluation: Evaluation| evaluation.run(&mut |_| {}).unwrap_err().to_string();
    let whole = || evaluation(&base, vec![Method::base()], &rows);
    assert!(refused(Evaluation { prompts: &[], ..whole() }).contains("prompts is 0"));
    assert!(refused(Evaluation { seeds: 0, ..whole() }).contains("seeds is 0"));
    let twice = Evaluation { methods: vec![Method::base(), Method::base()], ..whole() };
    assert!(refused(twice).contains("`base` comes twice"));
    // Before the first picture: a prompt that a scorer does not read.
    let mut strange = rows.clone();
    strange[1] = "a gryphon".into();
    let mut unread = Evaluation { prompts: &strange, ..whole() };
    unread.measures.scorers[0].reward = &emoji::Gold;
    let message = refused(unread);
    assert!(message.contains("the scores `proxy`") && message.contains("gryphon"), "{message}");
}
