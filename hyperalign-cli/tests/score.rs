//! `hyperalign score` over good pictures and bad ones, interrupted and compared.

use std::io::Cursor;
use std::path::PathBuf;
use std::process::{Command, Output};

use hyperalign_core::image::{Metadata, Parameters, encode_png};
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::Value;

const PROXY: [&str; 2] = ["--reward", "emoji-proxy"];

/// A folder of pictures.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        path
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("a file");
    }

    /// A picture of the size that the embedded rewards read; `k` makes it another one.
    fn picture(&self, name: &str, k: u8) {
        self.write(name, png(&picture(k), None));
    }

    fn score(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hyperalign"))
            .current_dir(self.0.path())
            .arg("score")
            .args(arguments)
            .output()
            .expect("the program starts")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.score(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no JSON, but: {}", text(&output.stderr)))
    }
}

fn picture(k: u8) -> RgbImage {
    RgbImage::from_fn(64, 64, |x, y| {
        let near = (x as i32 - 20 - i32::from(k % 16)).pow(2) + (y as i32 - 30).pow(2) < 150;
        image::Rgb(if near { [220, 40, k] } else { [250, 250, 250] })
    })
}

fn png(picture: &RgbImage, prompt: Option<&str>) -> Vec<u8> {
    let parameters = prompt.map(|prompt| Parameters {
        prompt: prompt.to_owned(),
        steps: 1,
        size: picture.dimensions(),
        ..Parameters::default()
    });
    encode_png(picture, &Metadata { parameters, hyperalign: None })
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn several_rewards_with_prompts_from_everywhere() {
    let folder = Folder::new();
    folder.write("in/a.png", png(&picture(1), Some("a red heart")));
    folder.picture("in/b.png", 2);
    folder.write("in/b.txt", "a dog\n");
    folder.write("in/c.webp", encoded(picture(3), ImageFormat::WebP));
    folder.write("in/d.jpg", encoded(picture(4), ImageFormat::Jpeg));
    let table = "image\tprompt\tcategory\nc.webp\ta tree\tpets\nd.jpg\ta dog\tpets\n";
    folder.write("prompts.tsv", table);
    let rewards = ["--reward", "emoji-proxy", "--reward", "emoji-heldout", "--reward", "gold"];
    let more = ["in", "--prompts", "prompts.tsv", "--trained-on", "emoji-proxy"];
    let found = folder.json(&[&rewards[..], &more].concat());
    let prompts: Vec<&str> =
        found["scores"].as_array().unwrap().iter().map(|s| s["prompt"].as_str().unwrap()).collect();
    assert_eq!(prompts, ["a red heart", "a dog", "a tree", "a dog"]);
    assert_eq!(found["rewards"][0]["role"], "trained-against");
    assert_eq!(found["rewards"][0]["version"].as_str().unwrap().len(), 64);
    assert_eq!(found["groups"]["pets"]["gold"]["count"], 2);
    let mean = found["all"]["emoji-heldout"].clone();
    let [low, mean, high] = ["low", "mean", "high"].map(|key| mean[key].as_f64().unwrap());
    assert!(low <= mean && mean <= high && low < high);

    let csv = folder.score(&[&rewards[..], &more, &["--csv"]].concat());
    let csv = text(&csv.stdout);
    let head = "image,prompt,group,emoji-proxy,emoji-heldout,gold,emoji-proxy version,\
                emoji-proxy role,emoji-heldout version,emoji-heldout role,gold version,gold role";
    assert_eq!(csv.lines().next(), Some(head));
    let version = found["rewards"][0]["version"].as_str().unwrap();
    for line in csv.lines().skip(1) {
        assert!(line.contains(&format!(",{version},trained-against,")), "{line}");
    }
    assert_eq!(csv.lines().count(), 5);
    let table = text(&folder.score(&[&rewards[..], &more].concat()).stdout);
    assert!(table.contains("emoji-proxy (trained against)") && table.contains("pets"), "{table}");
}

/// A mix is called by what was given, and who was trained against a part is trained against it.
#[test]
fn mixes_are_marked_as_trained_against() {
    let folder = Folder::new();
    folder.picture("in/a.png", 1);
    let mix = "mix:1*emoji-proxy";
    let roles = |[a, b]: [&str; 2], trained_on: &str| -> Vec<String> {
        let rewards = ["--reward", a, "--reward", b];
        let more = ["in", "--prompt", "a dog", "--trained-on", trained_on];
        let found = folder.json(&[&rewards[..], &more].concat());
        let who = found["rewards"].as_array().unwrap().iter();
        who.map(|who| who["role"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(roles([mix, "gold"], mix), ["trained-against", "other"]);
    assert_eq!(roles([mix, "emoji-heldout"], "emoji-proxy"), ["trained-against", "other"]);
    assert_eq!(roles(["emoji-proxy", "gold"], mix), ["trained-against", "other"]);
}

/// Weights that are not those of the published reward leave the others their scores.
#[test]
fn a_reward_that_cannot_be_opened_is_one_line() {
    let folder = Folder::new();
    folder.picture("in/a.png", 1);
    folder.picture("in/b.png", 2);
    let proxy = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/emoji-proxy");
    for name in ["pick_score", "hps_v2", "hps_v2.1", "clip_score"] {
        let given = format!("{name}={proxy}");
        let rewards = ["--reward", name, "--reward-weights", &given];
        let more = [&PROXY[..], &["in", "--prompt", "a dog", "--json"]].concat();
        let output = folder.score(&[&rewards[..], &more].concat());
        assert_eq!(output.status.code(), Some(1));
        let stderr = text(&output.stderr);
        let list = stderr.split_once("1 of 2 rewards were not opened:\n").unwrap().1;
        assert_eq!(list.lines().count(), 1, "{list}");
        assert!(list.contains(name) && list.contains("instead of"), "{list}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["all"]["emoji-proxy"]["count"], 2);
        assert_eq!(found["all"]["emoji-proxy"]["drawn_over"], "pictures");
        assert_eq!(found["rewards"].as_array().unwrap().len(), 1);
        assert_eq!(found["not_opened"][0]["reward"], name);
    }
}

/// The names that `sample` gives, whose numbers have no leading zeros.
#[test]
fn prompts_in_order_are_for_names_in_the_order_of_their_numbers() {
    let folder = Folder::new();
    let (mut prompts, words) = (String::new(), ["dog", "tree", "red heart"]);
    for k in 1..=12 {
        let prompt = format!("a {}", words[k % 3]);
        folder.write(&format!("in/h-{k}.png"), png(&picture(k as u8), Some(&prompt)));
        prompts += &(prompt + "\n");
    }
    folder.write("prompts.txt", &prompts);
    let arguments = [&PROXY[..], &["in", "--prompts", "prompts.txt"]].concat();
    let last = folder.json(&arguments)["scores"][11].clone();
    assert_eq!((&last["image"], &last["prompt"]), (&"in/h-12.png".into(), &"a dog".into()));

    // A picture fewer and a prompt fewer: from there on nothing is of its place.
    std::fs::remove_file(folder.path("in/h-10.png")).unwrap();
    folder.write("prompts.txt", prompts.lines().take(11).collect::<Vec<_>>().join("\n"));
    let output = folder.score(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    let wanted = "in/h-11.png: --prompts gives it `a tree` by its place, and the file says that \
                  it was made for `a red heart`";
    assert!(stderr.contains(wanted), "{stderr}");
}

/// Every bad item has its line, the good one its score, and the list comes at the end.
#[test]
fn bad_items_do_not_stop_the_run() {
    let folder = Folder::new();
    let good = png(&picture(1), Some("a dog"));
    folder.write("in/good.png", &good);
    folder.write("in/text.png", "this is text");
    folder.write("in/cut.png", &good[..good.len() / 2]);
    folder.write("in/dot.png", png(&RgbImage::new(1, 1), Some("a dog")));
    folder.write("in/huge.png", huge());
    folder.write("in/deep.png", encoded(DynamicImage::new_rgb16(64, 64), ImageFormat::Png));
    let mut ink = encoded(picture(1), ImageFormat::Jpeg);
    let frame = ink.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    ink[frame + 9] = 4;
    folder.write("in/ink.jpg", ink);
    folder.picture("in/alone.png", 1);
    folder.picture("in/long.png", 1);
    folder.write("in/long.txt", "dog ".repeat(10_000));
    folder.picture("in/cjk.png", 1);
    folder.write("in/cjk.txt", "犬".repeat(100_000));
    folder.picture("in/latin.png", 1);
    folder.write("in/latin.txt", b"a d\xf6g");
    folder.write("in/size.png", png(&RgbImage::new(1000, 8), Some("a dog")));
    folder.write("in/word.png", png(&picture(1), Some("a gryphon")));
    let output = folder.score(&[&PROXY[..], &["in", "missing.png", "--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["scores"].as_array().unwrap().len(), 1);
    assert_eq!(found["all"]["emoji-proxy"]["count"], 1);
    let stderr = text(&output.stderr);
    let (lines, list) = stderr.split_once("13 of 14 pictures were not scored:\n").unwrap();
    for (name, words) in [
        ("text.png", "not a picture"),
        ("cut.png", "cut off"),
        ("dot.png", "1x1"),
        ("huge.png", "20000x20000"),
        ("deep.png", "16 bits"),
        ("ink.jpg", "CMYK"),
        ("alone.png", "no prompt"),
        ("long.png", "10000 words"),
        ("cjk.png", "100000 characters"),
        ("latin.png", "not UTF-8"),
        ("size.png", "8x1000"),
        ("word.png", "gryphon"),
        ("missing.png", "cannot be read"),
    ] {
        for part in [lines, list] {
            let of_it: Vec<&str> = part.lines().filter(|line| line.contains(name)).collect();
            assert_eq!(of_it.len(), 1, "one line for {name} in {part}");
            assert!(of_it[0].contains(words), "no `{words}` in {}", of_it[0]);
        }
    }
}

/// A PNG file whose header promises 400 million pixels.
fn huge() -> Vec<u8> {
    let mut bytes = png(&picture(0), None);
    bytes[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&20_000_u32.to_be_bytes());
    let crc = !bytes[12..29].iter().fold(u32::MAX, |crc, byte| {
        let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        (0..8).fold(crc ^ u32::from(*byte), step)
    });
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_run_that_was_cut_off_goes_on_without_scoring_again() {
    let folder = Folder::new();
    for k in 0..6 {
        folder.picture(&format!("in/{k}.png"), k);
    }
    let arguments = ["in", "--prompt", "a dog", "--out", "scores.jsonl", "--batch", "2"];
    let first = folder.json(&[&PROXY[..], &arguments].concat());
    let kept = std::fs::read_to_string(folder.path("scores.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 7);

    // What a killed run leaves: three whole lines and a half, one score marked by hand.
    let cut = kept.lines().take(4).collect::<Vec<_>>().join("\n") + "\n{\"image\": \"in/3";
    let last = cut.lines().nth(3).unwrap();
    let marked = last.split("\"scores\":").next().unwrap().to_owned() + "\"scores\":[123.0]}";
    folder.write("scores.jsonl", cut.replace(last, &marked));
    let output = folder.score(&[&PROXY[..], &arguments, &["--json"]].concat());
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(text(&output.stderr).contains("3 of 6 pictures are scored already"));
    let score = |found: &Value, k: usize| found["scores"][k]["scores"]["emoji-proxy"].clone();
    assert_eq!(score(&again, 2), 123.0, "it was not scored again");
    for k in [0, 1, 3, 4, 5] {
        assert_eq!(score(&again, k), score(&first, k));
    }
    assert_eq!(std::fs::read_to_string(folder.path("scores.jsonl")).unwrap().lines().count(), 7);

    let other = ["--reward", "emoji-heldout"];
    let output = folder.score(&[&other[..], &arguments].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("other rewards"), "{}", text(&output.stderr));
}

#[test]
fn the_batch_changes_no_score() {
    let folder = Folder::new();
    for k in 0..7 {
        folder.picture(&format!("in/{k}.png"), 30 * k);
    }
    let scores = |batch: &str| -> Vec<f64> {
        let found =
            folder.json(&[&PROXY[..], &["in", "--prompt", "a tree", "--batch", batch]].concat());
        let scores = found["scores"].as_array().unwrap().iter();
        scores.map(|score| score["scores"]["emoji-proxy"].as_f64().unwrap()).collect()
    };
    let (ones, fives) = (scores("1"), scores("5"));
    assert_eq!((ones.len(), fives.len()), (7, 7));
    for (one, many) in ones.into_iter().zip(fives) {
        assert!((one - many).abs() < 1e-4, "{one} and {many}");
    }
}

#[test]
fn two_folders_are_compared_pair_by_pair() {
    let folder = Folder::new();
    for k in 0..5 {
        folder.picture(&format!("a/{k}.png"), k);
        folder.picture(&format!("b/{k}.png"), k);
    }
    folder.picture("a/only.png", 1);
    folder.write("b/4.png", png(&RgbImage::new(64, 64), None));
    let compare = ["--compare", "a", "b", "--prompt", "a red heart"];
    let output = folder.score(&[&PROXY[..], &compare, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "one has no partner");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let versus = &found["results"]["emoji-proxy"];
    assert_eq!((&found["pairs"], &versus["ties"]), (&5.into(), &4.into()));
    assert_eq!(versus["wins"].as_u64().unwrap() + versus["losses"].as_u64().unwrap(), 1);
    assert!(text(&output.stderr).contains("B has no picture of that name"));
    let table = text(&folder.score(&[&PROXY[..], &compare].concat()).stdout);
    assert!(table.contains("5 pairs") && table.contains("A wins"), "{table}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let folder = Folder::new();
    folder.picture("in/1.png", 1);
    std::fs::create_dir(folder.path("empty")).unwrap();
    folder.write("two.txt", "a dog\na cat\n");
    let fails = |arguments: &[&str], code: i32, words: &str| {
        let output = folder.score(arguments);
        let stderr = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(words), "no `{words}` in {stderr}");
    };
    fails(&["in"], 2, "--reward");
    fails(&PROXY, 2, "IMAGES");
    fails(&["in", "--reward", "nobody"], 1, "gold, emoji-heldout, emoji-proxy");
    fails(&["in", "--reward", "emoji-sd"], 1, "unknown reward `emoji-sd`");
    fails(&["in", "--reward", "gold", "--reward", "gold"], 1, "twice");
    fails(&["in", "--reward", "gold", "--reward-weights", "other=x"], 1, "no `--reward other`");
    fails(
        &["in", "--reward", "gold", "--trained-on", "other"],
        1,
        "`--trained-on other`: there is",
    );
    fails(&["in", "--reward", "pick_score"], 1, "`--reward-weights PATH`");
    // The parts of a mix have files of their own; two of them are not there.
    let mix = ["in", "--reward", "mix:1*pick_score+1*hps_v2"];
    fails(&[&mix[..], &["--reward-weights", "aesthetic=x"]].concat(), 1, "no `--reward aesthetic`");
    // The flag's old name.
    fails(&[&mix[..], &["--weights", "hps_v2=x"]].concat(), 1, "the reward `pick_score` needs");
    let both = ["--reward-weights", "hps_v2=x", "--reward-weights", "pick_score=nowhere"];
    fails(&[&mix[..], &both].concat(), 1, "`nowhere` is neither");
    fails(&[&PROXY[..], &["empty"]].concat(), 1, "no picture");
    fails(&[&PROXY[..], &["in", "--prompts", "two.txt"]].concat(), 1, "2 prompts");
    fails(&[&PROXY[..], &["in", "--prompts", "no.txt"]].concat(), 1, "no.txt");
    fails(&[&PROXY[..], &["in", "--out", "two.txt"]].concat(), 1, "no file of scores");
    fails(&["in", "--reward", "clip", "--reward-weights", "empty"], 1, "config.json");
    // Weights of another model, under the published name and under their own.
    std::fs::create_dir(folder.path("other")).unwrap();
    let header = r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &[0; 4]].concat();
    for (reward, name) in [("pick_score", "model.safetensors"), ("image_reward", "any.pt")] {
        folder.write(&format!("other/{name}"), &file);
        let weights = format!("other/{name}");
        fails(&["in", "--reward", reward, "--reward-weights", &weights], 1, "weight");
    }
}

/// The program's peak in kibibytes, the least of three: by chance its threads hold some MiB more.
fn peak(folder: &Folder, pictures: &str) -> Option<u64> {
    let arguments = [&PROXY[..], &[pictures, "--prompt", "a dog"]].concat();
    let found = (0..3).map(|_| folder.json(&arguments));
    found.filter_map(|found| Some(found["peak_memory_bytes"].as_u64()? / 1024)).min()
}

#[test]
fn memory_does_not_grow_with_the_number_of_pictures() {
    let folder = Folder::new();
    // Noise, so that files are not small: what is kept of a picture would show.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let picture = RgbImage::from_fn(64, 64, |_, _| image::Rgb([noise(), noise(), noise()]));
    let bytes = png(&picture, None);
    (0..50).for_each(|k| folder.write(&format!("few/{k:04}.png"), &bytes));
    (0..1000).for_each(|k| folder.write(&format!("many/{k:04}.png"), &bytes));
    assert!(folder.path("many/0999.png").is_file());
    let (Some(few), Some(many)) = (peak(&folder, "few"), peak(&folder, "many")) else {
        return; // This system does not tell.
    };
    // The pixels alone of 950 pictures are 11 MiB, their files as much, as tensors 45.
    assert!(many < few + 10 * 1024, "{few} KiB for 50 pictures, {many} KiB for 1000");
}
