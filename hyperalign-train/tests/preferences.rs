//! Preference sets in the published schemas, as `xtask/golden/preferences.py` makes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hyperalign_core::image::decode_picture;
use hyperalign_core::testing;
use hyperalign_train::data::{Preferences, PreferredData, PreferredPictures};

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
    let pictures = PreferredPictures::new(open("pick-a-pic", 2), [12, 8]).unwrap();
    let n = pictures.preferences().len() as u32;
    let indices: Vec<u32> = (0..n).collect();
    let device = testing::device();
    let (images, prompts) = pictures.batch(&indices, &device);
    assert_eq!(images.dims(), [n as usize, 3, 12, 8]);
    assert!(!prompts.contains(&"picture 7".to_owned()));
    let green = images.narrow(1, 1, 1);
    let error: f32 = (green - (200.0 / 127.5 - 1.0)).abs().max().into_scalar();
    assert!(error < 1e-6, "only preferred pictures: {error}");
    // Item by item the same, on other threads.
    let (one, prompt) = pictures.batch(&indices[5..6], &device);
    let (again, _) = pictures.batch(&indices, &device);
    assert_eq!(one.into_data(), again.narrow(0, 5, 1).into_data());
    assert_eq!(prompt[0], prompts[5]);
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
    assert!(message(&at("empty.parquet")).contains("not a whole parquet file"));

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
    let error = PreferredPictures::new(preferences, [8, 8]).unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");
}
