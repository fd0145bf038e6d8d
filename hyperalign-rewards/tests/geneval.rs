//! GenEval's scorer from its folder, with tiny networks in it.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use hyperalign_core::testing;
use std::path::Path;

use hyperalign_models::{
    mask2former::{Detector, DetectorError, mmdet::COCO},
    testing::{
        checkpoint, mmdet_file, small_detector, write_clip, write_detector, write_geneval,
        write_mmdet,
    },
    weights::{Folder, LoadError, published::MmdetNames},
};
use hyperalign_rewards::{
    Files, OpenError, Reward, ScoreError,
    geneval::{COLORS, GenEval, Reason, Row, crop},
    open,
    prompts::Prompt,
};
use image::{Rgb, RgbImage};

const LABELS: [&str; 4] = ["person", "dog", "keyboard", "car"];
const DOG: usize = 1;

fn picture(width: u32, height: u32, phase: f64) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |k: f64| (f64::from(x) * 0.21 * k + f64::from(y) * 0.13 + phase).sin();
        Rgb([1.0, 1.7, 2.9].map(|k| (127.5 + 120.0 * wave(k)) as u8))
    })
}

fn row(json: &str) -> Row {
    Row::read_jsonl(json).unwrap().remove(0)
}

fn one(class: &str) -> Row {
    row(&format!(
        r#"{{"tag":"single_object","include":[{{"class":"{class}","count":1}}],"prompt":"a {class}"}}"#
    ))
}

fn colored(color: &str) -> Row {
    row(&format!(
        r#"{{"tag":"colors","include":[{{"class":"dog","count":1,"color":"{color}"}}],"prompt":"p"}}"#
    ))
}

fn scorer() -> (tempfile::TempDir, GenEval) {
    let folder = tempfile::tempdir().unwrap();
    write_geneval(folder.path(), &LABELS, DOG);
    let scorer = GenEval::from_folder(folder.path(), &testing::device()).unwrap();
    (folder, scorer)
}

#[test]
fn pictures_are_judged_by_their_own_rules() {
    let (folder, scorer) = scorer();
    let pictures = [picture(64, 64, 0.0), picture(96, 40, 1.0), picture(30, 70, 2.0)];
    let found = scorer.look(&pictures, scorer.protocol().confidence).unwrap();
    assert!(found.iter().all(|objects| !objects.is_empty()), "{found:?}");
    assert!(found.iter().flatten().all(|object| object.class == "dog"));

    let rows = [one("dog"), one("car"), one("dog")];
    let verdicts = scorer.judge(&pictures, &rows);
    assert_eq!(verdicts.iter().map(|v| v.correct).collect::<Vec<_>>(), [true, false, true]);
    assert!(matches!(verdicts[1].reasons[..], [Reason::Missing { found: 0, .. }]));

    // The same through the reward, which is opened by its name.
    let files = Files::new([folder.path().to_str().unwrap()]);
    let reward = open("geneval", &files, &testing::device()).unwrap();
    assert!(reward.needs_rules() && !reward.needs_prompt() && !reward.differentiable());
    let prompts = rows.map(Prompt::from);
    let size = [64, 64];
    reward.check(size, &prompts).unwrap();
    assert_eq!(reward.score_pictures(&pictures, &prompts, &testing::device()), [1.0, 0.0, 1.0]);
    assert!(reward.version().starts_with("not of the published sizes, Mask2Former "));
    assert_eq!(reward.passed_over(), ["criterion.empty_weight"]);
    assert!(reward.memory_per_picture() > 0);
}

/// One look says what two would, wherever the threshold lies.
#[test]
fn what_is_shown_and_what_is_judged_come_of_one_look() {
    let (_folder, scorer) = scorer();
    let picture = picture(64, 64, 0.4);
    let pictures = std::slice::from_ref(&picture);
    for confidence in [0.0, 0.1, 0.3, 0.95] {
        let objects = scorer.look(pictures, confidence).unwrap().remove(0);
        for row in [one("dog"), one("car"), colored("red")] {
            let verdict = scorer.judge(pictures, std::slice::from_ref(&row)).remove(0);
            let both = scorer.look_and_judge(&picture, confidence, &row).unwrap();
            assert_eq!(both, (objects.clone(), verdict), "{confidence}");
        }
    }
    assert!(scorer.look_and_judge(&picture, 0.3, &one("toaster")).is_err());
}

/// The colour of the surest object decides, and is the one that CLIP says.
#[test]
fn colours_are_those_of_the_surest_object() {
    let (_folder, scorer) = scorer();
    let pictures = [picture(64, 64, 0.4)];
    let objects = scorer.look(&pictures, 0.3).unwrap().remove(0);
    let color = objects[0].color.unwrap();
    for asked in COLORS {
        let verdict = scorer.judge(&pictures, &[colored(asked)]).remove(0);
        assert_eq!(verdict.correct, asked == color, "{asked} {color}");
        if asked != color {
            let found = vec![color.to_owned()];
            let reason = &verdict.reasons[0];
            assert!(matches!(reason, Reason::Color { found: f, .. } if *f == found), "{reason:?}");
        }
    }
    let of_mask = crop(&pictures[0], &objects[0].instance.mask, objects[0].instance.bounds);
    assert!(of_mask.width() <= 64);
}

/// A number is asked for with more confidence, and one too many is wrong.
#[test]
fn counting_counts_the_sure_ones() {
    let (_folder, scorer) = scorer();
    let pictures = [picture(64, 64, 0.4)];
    let objects = scorer.look(&pictures, 0.3).unwrap().remove(0);
    let sure = objects.iter().filter(|object| object.instance.score > 0.9).count();
    let exactly = |count: usize| {
        row(&format!(
            r#"{{"tag":"counting","include":[{{"class":"dog","count":{count}}}],
                "exclude":[{{"class":"dog","count":{}}}],"prompt":"p"}}"#,
            count + 1
        )
        .replace('\n', " "))
    };
    for count in 1..=4 {
        let verdict = scorer.judge(&pictures, &[exactly(count)]).remove(0);
        assert_eq!(verdict.correct, count == sure, "{count} of {sure}: {:?}", verdict.reasons);
    }
}

#[test]
fn classes_have_genevals_names() {
    let (_folder, scorer) = scorer();
    assert_eq!(scorer.classes(), ["person", "dog", "computer keyboard", "car"]);
    scorer.check_rows([&one("computer keyboard")]).unwrap();
}

#[test]
fn what_cannot_be_judged_is_said_before() {
    let (folder, scorer) = scorer();
    let error = scorer.check_rows([&one("cat")]).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, ScoreError::UnknownClass { .. }), "{message}");
    assert!(message.contains("`cat`") && message.contains("`car`"), "{message}");
    let error = scorer.check_rows([&colored("teal")]).unwrap_err().to_string();
    assert!(error.contains("`teal`") && error.contains("purple"), "{error}");

    let text = Prompt { text: "a dog".to_owned(), ..Prompt::default() };
    let error = scorer.check([64; 2], &[text]).unwrap_err().to_string();
    assert!(error.contains("`a dog`") && error.contains("metadata"), "{error}");

    // Without CLIP all but colours is judged.
    std::fs::remove_dir_all(folder.path().join("clip")).unwrap();
    let blind = GenEval::from_folder(folder.path(), &testing::device()).unwrap();
    blind.check_rows([&one("dog")]).unwrap();
    assert!(matches!(blind.check_rows([&colored("red")]), Err(ScoreError::NoColors { .. })));
    assert!(blind.version().ends_with("no CLIP"));
    let objects = blind.look(&[picture(64, 64, 0.0)], 0.3).unwrap().remove(0);
    assert!(objects.iter().all(|object| object.color.is_none()));
}

fn opening(folder: &Path) -> OpenError {
    GenEval::from_folder(folder, &testing::device()).unwrap_err()
}

#[test]
fn what_is_no_detector_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let empty = opening(folder.path()).to_string();
    assert!(empty.contains("folder `detector`") && empty.contains("mask2former"), "{empty}");

    // A detector that lies in the folder itself is one.
    write_detector(folder.path(), &LABELS, DOG);
    assert!(GenEval::from_folder(folder.path(), &testing::device()).is_ok());

    // Stuff is segmented by heads for other tasks.
    write_detector(folder.path(), &["dog", "sky-other-merged"], 0);
    let error = opening(folder.path());
    let is_stuff = matches!(error, OpenError::Detector(DetectorError::Stuff { .. }));
    assert!(is_stuff && error.to_string().contains("instances"), "{error}");

    // Fewer classes than the weights have.
    write_detector(folder.path(), &LABELS, DOG);
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(r#","3":"car""#, "")).unwrap();
    let error = opening(folder.path()).to_string();
    assert!(error.contains("class_predictor") && error.contains("[4, 32]"), "{error}");

    // Another network.
    std::fs::write(&config, r#"{"model_type": "detr"}"#).unwrap();
    let error = opening(folder.path());
    let is_config =
        matches!(error, OpenError::Detector(DetectorError::Load(LoadError::Config { .. })));
    assert!(is_config && error.to_string().contains("`detr`"), "{error}");
    write_clip(folder.path());
    let error = opening(folder.path()).to_string();
    assert!(error.contains("does not fit the network") && error.contains("text_model"), "{error}");
}

/// The file that GenEval names, wherever its own script puts it: sizes and classes come from it, and
/// pictures are prepared as there.
#[test]
fn genevals_own_detector_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let name = "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.pth";
    let dog = COCO.iter().position(|class| *class == "dog").unwrap();
    let file = folder.path().join("detector").join(name);
    write_mmdet(&file, dog);
    write_clip(&folder.path().join("clip"));
    let scorer = GenEval::from_folder(folder.path(), &testing::device()).unwrap();
    assert_eq!(scorer.classes().len(), 80);
    assert_eq!(scorer.classes()[64..67], ["computer mouse", "tv remote", "computer keyboard"]);
    assert_eq!(scorer.passed_over().len(), 5, "lists of places");
    let version = scorer.version();
    assert!(version.contains(" (mmdet), CLIP "), "{version}");
    let picture = picture(40, 30, 0.4);
    let (objects, verdict) = scorer.look_and_judge(&picture, 0.1, &one("dog")).unwrap();
    assert!(verdict.correct && objects.iter().all(|object| object.class == "dog"));
    assert!(objects.iter().all(|object| object.instance.mask.size() == [40, 30]));

    // In the folder itself, and by its own name; the same detector without colours.
    let own = folder.path().join("detector");
    for path in [&own, &file] {
        let other = GenEval::from_folder(path, &testing::device()).unwrap();
        let detector = |version: &str| version.split(", CLIP").next().map(str::to_owned);
        assert_eq!(other.version(), detector(&version).unwrap() + ", no CLIP");
    }

    // Which of two is meant, nobody says.
    std::fs::copy(&file, own.join("another.pth")).unwrap();
    let error = opening(&own).to_string();
    assert!(error.contains("folder `detector`"), "{error}");
}

#[test]
fn checkpoints_of_other_classes_are_refused_unless_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.pth");
    let bytes = checkpoint(&mmdet_file(&LABELS, DOG, MmdetNames::Named));
    std::fs::write(&file, &bytes).unwrap();
    let error = opening(&file);
    let is_unnamed =
        matches!(error, OpenError::Detector(DetectorError::Unnamed { count: 4, known: 80, .. }));
    assert!(is_unnamed && error.to_string().contains("config.json"), "{error}");
    // With the classes beside it, in transformers' words.
    let config = serde_json::to_string(&small_detector(&LABELS)).unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let scorer = GenEval::from_folder(&file, &testing::device()).unwrap();
    assert_eq!(scorer.classes(), ["person", "dog", "computer keyboard", "car"]);
    // Cut off in a download.
    std::fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
    let error = opening(folder.path()).to_string();
    assert!(error.contains("cut off"), "{error}");
}

/// Pictures smaller than a window, of which a network makes maps of one pixel.
#[test]
fn small_pictures_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    write_detector(folder.path(), &LABELS, DOG);
    let file = folder.path().join("preprocessor_config.json");
    std::fs::write(file, r#"{"do_resize": false}"#).unwrap();
    let detector = Detector::open(&Folder::disk(folder.path()), &testing::device()).unwrap();
    for (width, height) in [(1, 1), (3, 9), (33, 5)] {
        let found = detector.detect(&[picture(width, height, 0.3)], 0.3);
        let size = [width as usize, height as usize];
        assert!(found[0].iter().all(|instance| instance.mask.size() == size));
    }
    // A threshold that nothing reaches.
    assert_eq!(detector.detect(&[picture(40, 40, 0.0)], 1.0), [[]]);
    assert!(detector.detect(&[], 0.3).is_empty());
}

/// Scores do not depend on what else is looked at.
#[test]
fn pictures_do_not_see_each_other() {
    let (_folder, scorer) = scorer();
    let pictures = [picture(64, 64, 0.0), picture(64, 64, 3.0)];
    let together = scorer.look(&pictures, 0.3).unwrap();
    for (picture, together) in pictures.iter().zip(&together) {
        let alone = scorer.look(std::slice::from_ref(picture), 0.3).unwrap().remove(0);
        assert_eq!(alone.len(), together.len());
        for (a, b) in alone.iter().zip(together) {
            assert!((a.instance.score - b.instance.score).abs() < 1e-4);
            assert_eq!((a.instance.bounds, a.color), (b.instance.bounds, b.color));
        }
    }
}
