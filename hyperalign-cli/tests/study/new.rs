//! What a study is made of, and what it cannot be made of.

use super::*;
use crate::gallery::names;

#[test]
fn nothing_of_a_study_but_its_plan_names_a_method() {
    let gallery = study();
    let folder = gallery.path("made");
    assert_eq!(names(&folder), ["pictures", "study.json"]);
    let pictures = names(&folder.join("pictures"));
    assert_eq!(pictures.len(), 16);
    assert_eq!(pictures[..2], ["0-left.png", "0-right.png"]);
    for name in &pictures {
        let bytes = std::fs::read(folder.join("pictures").join(name)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("variant") && !text.contains("a thing"), "{name}");
    }
    let plan = plan(&gallery);
    let items = plan["study"]["items"].as_array().unwrap();
    let checks = items
        .iter()
        .filter(|item| item["left"]["is_degraded"] == true || item["right"]["is_degraded"] == true);
    assert_eq!((items.len(), checks.count()), (8, 2));
    // Both pictures of an item are of one prompt and one seed, which is in their files.
    assert!(items.iter().all(|item| {
        let prompt = item["subject"]["prompt"].as_str().unwrap();
        let seed = item["subject"]["noise"]["seed"].as_u64().unwrap();
        prompt == format!("a thing {}", seed - 100)
    }));
    let names: Vec<&str> = plan["study"]["questions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|question| question["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["overall", "visual", "prompt"]);

    // The same seed draws the same study, another one another.
    let again = |seed: &str, out: &str| {
        let runs = ["study", "new", "base", "ours", "theirs", "--items", "6", "--checks", "2"];
        gallery.done(&[&runs[..], &["--seed", seed, "--out", out]].concat());
        let text = std::fs::read(gallery.path(out).join("study.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["id"].clone()
    };
    assert_eq!(again("3", "same"), plan["id"]);
    assert_ne!(again("4", "other"), plan["id"]);
}

#[test]
fn each_mistake_is_one_clear_message_and_leaves_nothing() {
    let gallery = Gallery::new();
    for (method, prompts) in [("base", 0..4), ("ours", 2..6), ("far", 9..12)] {
        gallery.pictures(method, prompts, 16);
    }
    gallery.pictures("deep/base", 0..4, 16);
    std::fs::create_dir(gallery.path("empty")).unwrap();
    std::fs::create_dir(gallery.path("there")).unwrap();
    let before = names(&gallery.path("."));
    let taken = ["--out", "there"];
    let text = "x".repeat(300);
    for (arguments, words) in [
        (&["base"][..], "there is one method, `base`"),
        (&["base", "base"], "two methods are called `base`"),
        (&["base", "deep/base"], "`NAME=FOLDER`"),
        (&["base", "far"], "no two methods have pictures of the same prompt"),
        (&["base", "far"], "far has 3, such as `a thing 10` (seed 110)"),
        (&["base", "empty"], "there is no picture"),
        (&["base", "gone"], "`gone`"),
        (&["base", "ours", "--against", "theirs"], "there are base, ours"),
        (&["base", "ours", "x=deep/base", "--items", "2"], "3 pairs of methods, and 2 items"),
        (&["base", "ours", "--questions", "overall", "--questions", "overall=x"], "two questions"),
        (&[&["base", "ours"], &taken[..]].concat(), "is there already"),
    ] {
        let out = if arguments.contains(&"--out") { &[][..] } else { &["--out", "made"] };
        let output = gallery.run(&[&["study", "new"], arguments, out].concat());
        let told = message(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
        assert_eq!(names(&gallery.path(".")), before, "{arguments:?}");
    }
    let own = format!("own={text}");
    for arguments in [
        &["--questions", "what"][..],
        &["--items", "0"],
        &["--checks", "-1"],
        &["--questions", &own],
    ] {
        let all = [&["study", "new", "base", "ours", "--out", "made"], arguments].concat();
        assert_eq!(gallery.run(&all).status.code(), Some(2), "{arguments:?}");
    }
    // What only some have in common is shown, and who is left out is told.
    let output = gallery.run(&["study", "new", "base", "ours", "far", "--out", "made"]);
    let told = message(&output);
    assert!(output.status.success() && told.contains("base and far have no pictures"), "{told}");
    assert!(told.contains("in common: 2"), "{told}");
}

#[test]
fn a_damaged_picture_is_named_and_never_shown() {
    let gallery = Gallery::new();
    gallery.pictures("base", 0..2, 64);
    gallery.pictures("ours", 0..2, 64);
    let path = gallery.path("ours/ours-1.png");
    let whole = std::fs::read(&path).unwrap();
    let new = ["study", "new", "base", "ours", "--out", "made", "--checks", "0"];
    // Cut off, it is told and passed over.
    std::fs::write(&path, &whole[..whole.len() - 40]).unwrap();
    let output = gallery.run(&new);
    let told = message(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("ours-1.png: it is cut off or damaged"), "{told}");
    assert!(told.contains("in common: 1"), "{told}");
    std::fs::remove_dir_all(gallery.path("made")).unwrap();
    // Where none is left, nothing is made.
    std::fs::write(gallery.path("ours/ours-0.png"), &whole[..whole.len() / 2]).unwrap();
    let output = gallery.run(&new);
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    assert!(message(&output).contains("ours-0.png: it is cut off"), "{}", message(&output));
    assert_eq!(names(&gallery.path(".")), ["base", "ours"]);
}
