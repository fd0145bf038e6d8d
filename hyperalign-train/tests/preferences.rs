//! Preference sets in the published schemas, as `xtask/golden/preferences.py` makes them.

use hyperalign_core::testing;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;
use hyperalign_core::image::decode_picture;
use hyperalign_train::data::{
    ColumnNames, LabelData as _, PairData as _, PreferenceError, Preferences, PreferredData as _,
    PreferredPictures, ShardError, Shards, TrainingData,
};

fn set(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preferences").join(name)
}

fn open(name: &str, seed: u64) -> Preferences {
    Preferences::open(&set(name), seed).expect("a set")
}

/// Rows of Pick-a-Pic that are neither ties nor without a label.
fn decided() -> BTreeSet<String> {
    let rows = (0..21).filter(|row| row % 3 != 2 && *row != 4);
    rows.map(|row| format!("picture {row}")).collect()
}

fn prompts(preferences: &Preferences, epoch: u64) -> Vec<String> {
    let n = preferences.len() as u64;
    (epoch * n..(epoch + 1) * n).map(|k| preferences.pair(k).expect("a pair").prompt).collect()
}

#[test]
fn every_decided_pair_comes_once_an_epoch() {
    let preferences = open("pick-a-pic", 3);
    let (first, second) = (prompts(&preferences, 0), prompts(&preferences, 1));
    assert_eq!(first.iter().cloned().collect::<BTreeSet<_>>(), decided());
    assert_eq!(second.iter().cloned().collect::<BTreeSet<_>>(), decided());
    assert_eq!(first.len(), decided().len());
    assert_ne!(first, second, "every epoch has its own order");
    assert_ne!(first, prompts(&open("pick-a-pic", 4), 0), "every seed has its own order");
}

#[test]
fn the_preferred_picture_is_the_one_that_was_chosen() {
    for (name, kinds) in [("pick-a-pic", 13), ("hpd", 2), ("hpd/train.json", 4)] {
        let preferences = open(name, 1);
        assert_eq!(preferences.len(), kinds, "{name}");
        for index in 0..kinds as u64 {
            let pair = preferences.pair(index).unwrap();
            let row: u8 = pair.prompt.rsplit(' ').next().unwrap().parse().unwrap();
            if pair.prompt == "picture 7" {
                assert!(decode_picture(&pair.preferred).is_err(), "it is the damaged one");
                continue;
            }
            let colour = |file: &[u8]| decode_picture(file).unwrap().get_pixel(3, 3).0;
            let near = |found: [u8; 3], expected: [u8; 3]| {
                found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) < 6)
            };
            assert!(near(colour(&pair.preferred), [row, 200, 7]), "{pair:?}");
            assert!(near(colour(&pair.rejected), [row, 20, 7]), "{pair:?}");
            let (prompt, preferred) = preferences.preferred(index).unwrap();
            assert_eq!((prompt, preferred), (pair.prompt, pair.preferred));
        }
    }
}

/// A run that stopped at item k and goes on reads what the uninterrupted one would have.
#[test]
fn the_position_is_all_that_a_resumed_run_needs() {
    let uninterrupted = open("pick-a-pic", 9);
    let all: Vec<_> = (0..40).map(|k| uninterrupted.pair(k).unwrap()).collect();
    let resumed = open("pick-a-pic", 9);
    let rest: Vec<_> = (17..40).map(|k| resumed.pair(k).unwrap()).collect();
    assert_eq!(all[17..], rest);
}

#[test]
fn pictures_have_the_size_of_the_base_and_damaged_ones_are_passed_over() {
    let pictures = PreferredPictures::new(open("pick-a-pic", 2), [12, 8], 0.1).unwrap();
    let n = pictures.preferences().len() as u32;
    let indices: Vec<u32> = (0..n).collect();
    let device = testing::device();
    let (images, prompts) = pictures.batch(&indices, &device);
    assert_eq!(images.dims(), [n as usize, 3, 12, 8]);
    assert!(!prompts.contains(&"picture 7".to_owned()));
    assert_eq!(pictures.passed_over(), Some((1, 13)));
    assert!(pictures.notes()[0].contains("1 of 13 pictures cannot be read"));
    assert!(pictures.fault().is_none());
    let green = images.narrow(1, 1, 1);
    let error: f32 = (green - (200.0 / 127.5 - 1.0)).abs().max().into_scalar();
    assert!(error < 1e-6, "only preferred pictures: {error}");
    // Item by item the same, on other threads.
    let (one, prompt) = pictures.batch(&indices[5..6], &device);
    let (again, _) = pictures.batch(&indices, &device);
    assert_eq!(one.into_data(), again.narrow(0, 5, 1).into_data());
    assert_eq!(prompt[0], prompts[5]);
}

/// How far the green of pictures is at most from that of the preferred or the rejected ones.
fn off_green(images: &Tensor<4>, preferred: bool) -> f32 {
    let green = if preferred { 200.0 } else { 20.0 };
    let wanted = green / 127.5 - 1.0;
    (images.clone().narrow(1, 1, 1) - wanted).abs().max().into_scalar()
}

#[test]
fn pairs_are_both_pictures_of_a_prompt() {
    let pictures = PreferredPictures::new(open("pick-a-pic", 2), [12, 8], 0.1).unwrap();
    let device = testing::device();
    let indices: Vec<u32> = (0..pictures.preferences().len() as u32).collect();
    let pairs = pictures.pairs(&indices, &device);
    assert_eq!(pairs.rejected.dims(), [indices.len(), 3, 12, 8]);
    assert!(off_green(&pairs.preferred, true) < 1e-6);
    assert!(off_green(&pairs.rejected, false) < 1e-6);
    assert!(!pairs.prompts.contains(&"picture 7".to_owned()), "one of its pictures is damaged");
    // The stream of the preferred pictures, and a function of the index.
    let (images, prompts) = pictures.batch(&indices, &device);
    assert_eq!(pairs.preferred.into_data(), images.into_data());
    assert_eq!(pairs.prompts, prompts);
    let later = pictures.pairs(&indices[4..], &device);
    assert_eq!(
        later.rejected.into_data(),
        pairs.rejected.narrow(0, 4, indices.len() - 4).into_data()
    );
}

#[test]
fn every_second_labelled_picture_is_desirable() {
    let pictures = PreferredPictures::new(open("pick-a-pic", 2), [12, 8], 0.1).unwrap();
    let device = testing::device();
    let n = pictures.preferences().len() as u32;
    let mut seen = BTreeSet::new();
    for index in 0..2 * n {
        let one = pictures.labelled(&[index], &device);
        assert_eq!(one.desirable, [index % 2 == 0]);
        assert!(off_green(&one.images, one.desirable[0]) < 1e-6);
        seen.insert((one.prompts[0].clone(), one.desirable[0]));
    }
    assert!(seen.len() > n as usize, "another epoch shows other pictures of the pairs");
    let all = pictures.labelled(&[3, 8, 5], &device);
    let one = pictures.labelled(&[5], &device);
    assert_eq!(all.images.narrow(0, 2, 1).into_data(), one.images.into_data());
}

#[test]
fn pairs_serve_every_need_and_others_their_own() {
    let pictures = || Arc::new(PreferredPictures::new(open("hpd", 2), [8, 8], 0.1).unwrap());
    let of = |data: TrainingData| {
        [data.pictures().is_some(), data.pairs().is_some(), data.labels().is_some()]
    };
    assert_eq!(of(TrainingData::Pairs(pictures())), [true, true, true]);
    assert_eq!(of(TrainingData::Pictures(pictures())), [true, false, false]);
    assert_eq!(of(TrainingData::Labels(pictures())), [false, false, true]);
    assert_eq!(of(TrainingData::None), [false; 3]);
}

#[test]
fn prompts_to_learn_from() {
    let preferences = open("pick-a-pic", 2);
    let all = preferences.prompts(100).unwrap();
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), decided());
    assert_eq!(preferences.prompts(4).unwrap(), all[..4]);
}

#[test]
fn what_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let message = |path: &Path| Preferences::open(path, 0).unwrap_err().to_string();
    assert!(message(&at("none")).contains("none"));
    assert!(message(folder.path()).contains("neither a .parquet file"));
    std::fs::write(at("notes.md"), "x").unwrap();
    assert!(message(&at("notes.md")).contains("notes.md"));

    let whole = std::fs::read(set("hpd/test.parquet")).unwrap();
    std::fs::write(at("cut.parquet"), &whole[..whole.len() / 2]).unwrap();
    assert!(message(&at("cut.parquet")).contains("not a whole parquet file"));
    std::fs::write(at("empty.parquet"), "").unwrap();
    assert!(message(&at("empty.parquet")).contains("empty"));

    std::fs::write(at("bad.json"), r#"[{"promt": "x"}]"#).unwrap();
    assert!(message(&at("bad.json")).contains("human_preference"));
    std::fs::write(at("few.json"), r#"[{"prompt": "x", "image_path": ["a"], "rank": [1, 2]}]"#)
        .unwrap();
    assert!(message(&at("few.json")).contains("entry 1"));
    std::fs::write(
        at("ties.json"),
        r#"[{"prompt": "x", "image_path": ["a", "b"], "rank": [1, 1]}]"#,
    )
    .unwrap();
    assert!(message(&at("ties.json")).contains("no pair"));
    std::fs::write(
        at("away.json"),
        r#"[{"prompt": "x", "image_path": ["a", "b"], "rank": [1, 2]}]"#,
    )
    .unwrap();
    let preferences = Preferences::open(&at("away.json"), 0).unwrap();
    let error = PreferredPictures::new(preferences, [8, 8], 1.0).unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");
}

/// The files of Pick-a-Pic from somewhere, of which all but `missing` arrive.
#[derive(Clone, Default)]
struct Remote {
    asked: Arc<Mutex<Vec<usize>>>,
    missing: Option<usize>,
}

impl Shards for Remote {
    fn count(&self) -> usize {
        2
    }

    fn get(&self, index: usize) -> Result<PathBuf, ShardError> {
        self.asked.lock().expect("no panic").push(index);
        match self.missing == Some(index) {
            true => Err("the line is down".into()),
            false => Ok(set(&format!("pick-a-pic/train-0000{index}-of-00002.parquet"))),
        }
    }
}

impl Remote {
    fn open(&self, seed: u64) -> Preferences {
        let names = ColumnNames::default();
        Preferences::stream(Box::new(self.clone()), Path::new("."), seed, &names).expect("a set")
    }

    fn asked(&self) -> Vec<usize> {
        self.asked.lock().expect("no panic").clone()
    }
}

#[test]
fn a_file_is_fetched_when_the_order_comes_to_it() {
    let remote = Remote::default();
    let preferences = remote.open(3);
    let first = preferences.len() as u64;
    assert_eq!(remote.asked().len(), 1);
    for index in 0..first {
        preferences.pair(index).unwrap();
    }
    assert_eq!(remote.asked().len(), 1, "the whole of the first file, and nothing of the second");
    let said = preferences.prompts(first as usize).unwrap();
    assert_eq!((said.len() as u64, remote.asked().len()), (first, 1));
    preferences.pair(first).unwrap();
    let mut asked = remote.asked();
    asked.sort_unstable();
    assert_eq!(asked, [0, 1], "each once");
    // Every epoch is whole, and a resumed run reads what the uninterrupted one would have.
    let (one, two) = (prompts(&preferences, 0), prompts(&preferences, 1));
    assert_eq!(one.iter().cloned().collect::<BTreeSet<_>>(), decided());
    assert_eq!(two.iter().cloned().collect::<BTreeSet<_>>(), decided());
    assert_ne!(one, two);
    assert_eq!(one[..first as usize], said);
    let resumed = Remote::default().open(3);
    assert_eq!(resumed.pair(20).unwrap(), preferences.pair(20).unwrap());
    assert_eq!(resumed.prompts(100).unwrap(), one);
    let starts = |seed| Remote::default().open(seed).pair(0).unwrap().prompt;
    assert!((0..6).map(starts).collect::<BTreeSet<_>>().len() > 1, "the seed says which is first");
}

#[test]
fn a_file_that_does_not_arrive_is_no_damaged_picture() {
    let whole = Remote::default();
    whole.open(3);
    let remote = Remote { missing: Some(1 - whole.asked()[0]), ..Remote::default() };
    let preferences = remote.open(3);
    let error = PreferredPictures::new(preferences, [8, 8], 1.0).unwrap_err();
    assert!(matches!(&error, PreferenceError::Shard { .. }), "{error}");
    assert!(error.to_string().contains("the line is down"), "{error}");

    let none = Remote { missing: Some(whole.asked()[0]), ..Remote::default() };
    let names = ColumnNames::default();
    assert!(Preferences::stream(Box::new(none), Path::new("."), 3, &names).is_err());
}
