//! The pass over the pictures: a few at a time are read, decoded and scored, so that memory does
//! not grow with their number.

use std::{
    io::IsTerminal,
    path::Path,
    time::{Duration, Instant},
};

use hyperalign_core::{
    caught::caught,
    image::{Header, OwnPrompt, png_prompt},
    input,
    stop::Stop,
};
use hyperalign_models::weights::sha256;
use hyperalign_rewards::Prompt;
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use super::{
    batch::Batch,
    items::Item,
    journal::{Journal, JournalError, Line},
};
use crate::output;
use crate::rewards::{Judges, Scores};

/// Larger files are refused before they are read, in bytes: no picture of the allowed size needs
/// so many.
const MAX_FILE: u64 = 256 << 20;
/// Files that are read at once.
const READERS: usize = 4;
/// Seconds between lines of progress where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// A picture that could not be scored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failed {
    /// The file.
    pub image: String,
    /// Why.
    pub reason: String,
}

/// What became of one item.
pub type Result = std::result::Result<Line, Failed>;

struct Loaded {
    index: usize,
    picture: RgbImage,
    prompt: Prompt,
    sha256: String,
}

/// What tells the rules of `item` from others; nothing where no reward judges by rules.
fn rules(judges: &Judges, item: &Item) -> Option<String> {
    let row = item.row.as_ref().filter(|_| judges.need_rules())?;
    let json = serde_json::to_string(row).expect("a row is plain data");
    Some(sha256(json)[..12].to_owned())
}

/// Scores `items`, as many at once as `batch` says, and goes on from the journal. The results are in
/// the order of the items; there are fewer if `stop` was requested.
///
/// # Errors
///
/// Fails if the journal cannot be written. What is wrong with a picture is its own result.
pub fn run(
    judges: &Judges,
    items: &[Item],
    mut batch: Batch,
    mut journal: Option<Journal>,
    stop: &Stop,
) -> std::result::Result<Vec<Result>, JournalError> {
    let mut results: Vec<Option<Result>> = vec![None; items.len()];
    let mut open: Vec<usize> = Vec::new();
    // Each picture that was scored is read again, since a date tells little of what is in a file.
    let known = |item: &Item| {
        let journal = journal.as_ref().filter(|_| !stop.is_requested())?;
        journal.find(item, rules(judges, item).as_deref())
    };
    let known: Vec<Option<&Line>> = items.par_iter().map(known).collect();
    for (index, (item, known)) in items.iter().zip(known).enumerate() {
        match known {
            Some(line) => {
                // Groups are the business of this run, not of the one that scored.
                results[index] = Some(Ok(Line { group: item.group.clone(), ..line.clone() }));
            }
            None => open.push(index),
        }
    }
    let progress = Progress::new(items.len(), items.len() - open.len());
    let mut waiting: Vec<Loaded> = Vec::new();
    let mut next = open.iter().copied();
    while !stop.is_requested() {
        let room = READERS.min(batch.room(waiting.len()));
        let indices: Vec<usize> = next.by_ref().take(room).collect();
        let is_last = indices.len() < room;
        let loaded: Vec<_> = indices
            .into_par_iter()
            .map(|index| {
                let loaded = caught(|| load(judges, index, &items[index]));
                (index, loaded.unwrap_or_else(|panic| Err(format!("cannot be read: {panic}"))))
            })
            .collect();
        for (index, loaded) in loaded {
            match loaded {
                Ok(loaded) => waiting.push(loaded),
                Err(reason) => {
                    results[index] = Some(Err(progress.failed(&items[index], reason)));
                }
            }
        }
        let pixels: u64 =
            waiting.iter().map(|one| u64::from(one.picture.width() * one.picture.height())).sum();
        if batch.is_full(waiting.len(), pixels) || is_last {
            let done = score(judges, items, std::mem::take(&mut waiting), |pictures, prompts| {
                batch.score(judges, pictures, prompts, |line| progress.tell(line))
            });
            let lines: Vec<&Line> = done.iter().filter_map(|(_, r)| r.as_ref().ok()).collect();
            if let Some(journal) = &mut journal {
                journal.append(&lines)?;
            }
            for (index, result) in done {
                results[index] = Some(match result {
                    Ok(line) => Ok(progress.scored(line)),
                    Err(reason) => Err(progress.failed(&items[index], reason)),
                });
            }
        }
        if is_last {
            break;
        }
    }
    progress.finish();
    Ok(results.into_iter().flatten().collect())
}

/// The bytes of the picture at `path`, and what they show; or why it is not read.
pub fn read_picture(path: &Path) -> std::result::Result<(Vec<u8>, RgbImage), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    input::regular(path).map_err(unreadable)?;
    let length = path.metadata().map_err(unreadable)?.len();
    if length > MAX_FILE {
        return Err(format!("it has {length} bytes; at most {MAX_FILE} are read"));
    }
    let bytes = input::read(path).map_err(unreadable)?;
    let header = Header::read(&bytes).map_err(|error| error.to_string())?;
    let picture = header.decode().map_err(|error| error.to_string())?;
    Ok((bytes, picture))
}

/// Reads and decodes a picture, and finds out what it is to show.
fn load(judges: &Judges, index: usize, item: &Item) -> std::result::Result<Loaded, String> {
    let (bytes, picture) = read_picture(&item.path)?;
    let text = prompt(item, &bytes, judges.need_prompts())?;
    let prompt = Prompt { text, row: item.row.clone(), ..Prompt::default() };
    judges.check(&picture, &prompt)?;
    Ok(Loaded { index, picture, prompt, sha256: sha256(&bytes) })
}

/// What the picture in `bytes` is to show; empty where nobody says and it is not needed.
///
/// # Errors
///
/// Says why it is not known.
pub fn prompt(item: &Item, bytes: &[u8], is_needed: bool) -> std::result::Result<String, String> {
    let own = || match png_prompt(bytes) {
        OwnPrompt::Prompt(prompt) => Some(prompt),
        OwnPrompt::Other(_) | OwnPrompt::Nothing => None,
    };
    if let Some(given) = &item.prompt {
        // A list is easily in another order than the pictures; the file knows what it shows.
        return match own().filter(|own| item.by_place && own.trim() != given.trim()) {
            Some(own) => Err(format!(
                "--prompts gives it `{given}` by its place, and the file says that it was made \
                 for `{own}`: name the pictures in the file of prompts, or leave --prompts out"
            )),
            None => Ok(given.clone()),
        };
    }
    match (&item.unread, is_needed) {
        (Some(reason), true) => Err(reason.clone()),
        (None, true) => match png_prompt(bytes) {
            OwnPrompt::Prompt(prompt) => Ok(prompt),
            OwnPrompt::Other(found) => Err(no_prompt(item, &format!("it holds {found}"))),
            OwnPrompt::Nothing => Err(no_prompt(item, "it holds no parameters")),
        },
        (_, false) => Ok(own().unwrap_or_default()),
    }
}

/// Where a prompt was looked for.
fn no_prompt(item: &Item, own: &str) -> String {
    let named = match &item.named_instead {
        Some(name) => format!("--prompts does not name it (it names `{name}`)"),
        None => "no --prompts names it".to_owned(),
    };
    format!("it has no prompt: {named}, no .txt lies beside it, and {own}")
}

fn score(
    judges: &Judges,
    items: &[Item],
    loaded: Vec<Loaded>,
    scores: impl FnOnce(&[RgbImage], &[Prompt]) -> Vec<Scores>,
) -> Vec<(usize, std::result::Result<Line, String>)> {
    if loaded.is_empty() {
        return Vec::new();
    }
    let (mut pictures, mut prompts, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for Loaded { index, picture, prompt, sha256 } in loaded {
        pictures.push(picture);
        prompts.push(prompt);
        rest.push((index, sha256));
    }
    let scores = scores(&pictures, &prompts);
    let lines =
        scores.into_iter().zip(prompts).zip(rest).map(|((scores, prompt), (index, sha256))| {
            let item = &items[index];
            let (image, group, prompt) = (item.path.clone(), item.group.clone(), prompt.text);
            let rules = rules(judges, item);
            (index, scores.map(|scores| Line { image, sha256, prompt, group, rules, scores }))
        });
    lines.collect()
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    lines: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    fn new(all: usize, done: usize) -> Self {
        let bar = ProgressBar::new(all as u64);
        let template = "{wide_bar} {pos}/{len} pictures, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if done > 0 {
            output::note(&format!("{done} of {all} pictures are scored already"));
        }
        bar.set_position(done as u64);
        let lines = (!std::io::stderr().is_terminal()).then(Instant::now);
        Self { bar, lines: lines.into() }
    }

    fn scored(&self, line: Line) -> Line {
        self.step();
        line
    }

    fn failed(&self, item: &Item, reason: String) -> Failed {
        let failed = Failed { image: item.path.display().to_string(), reason };
        self.tell(&format!("{}: {}", failed.image, failed.reason));
        self.step();
        failed
    }

    fn tell(&self, line: &str) {
        self.bar.suspend(|| output::note(line));
    }

    fn step(&self) {
        self.bar.inc(1);
        if let Some(last) = self.lines.get()
            && last.elapsed() > EVERY
        {
            output::note(&format!(
                "{} of {} pictures",
                self.bar.position(),
                self.bar.length().unwrap_or(0)
            ));
            self.lines.set(Some(Instant::now()));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;
    use std::sync::Arc;

    use burn::tensor::Tensor;
    use hyperalign_core::image::{Metadata, Parameters, encode_png};
    use hyperalign_rewards::Reward;

    use super::*;

    /// The first value of a picture; it looks at no prompt.
    struct Corner;

    impl Reward for Corner {
        fn name(&self) -> &str {
            "corner"
        }

        fn version(&self) -> String {
            "1".to_owned()
        }

        fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
            images.slice([0..1, 0..1, 0..1, 0..1]).reshape([1])
        }

        fn differentiable(&self) -> bool {
            false
        }

        fn needs_prompt(&self) -> bool {
            false
        }
    }

    /// It cannot bear one prompt.
    struct Touchy;

    impl Reward for Touchy {
        fn name(&self) -> &str {
            "touchy"
        }

        fn version(&self) -> String {
            "1".to_owned()
        }

        fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
            assert!(!prompts.contains(&"a cat".into()), "no cats");
            images.slice([0..1, 0..1, 0..1, 0..1]).reshape([1])
        }

        fn differentiable(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_panic_costs_its_own_picture_only() {
        let folder = tempfile::tempdir().unwrap();
        let items = ["a dog", "a cat", "a cow"].map(|own| item(&folder, own, Some(own)));
        let judges = Judges::of(vec![Arc::new(Touchy)], &testing::device());
        let results = run(&judges, &items, Batch::of(3), None, &Stop::default()).unwrap();
        assert!(results[0].is_ok() && results[2].is_ok());
        let reason = &results[1].as_ref().unwrap_err().reason;
        assert_eq!(reason, "the reward failed: no cats");
    }

    fn item(folder: &tempfile::TempDir, name: &str, own: Option<&str>) -> Item {
        let path = folder.path().join(name);
        let parameters = own.map(|prompt| Parameters {
            prompt: prompt.to_owned(),
            steps: 1,
            size: (64, 64),
            ..Parameters::default()
        });
        let picture = RgbImage::from_pixel(64, 64, image::Rgb([255; 3]));
        let bytes = encode_png(&picture, &Metadata { parameters, hyperalign: None });
        std::fs::write(&path, bytes).unwrap();
        let (key, prompt) = (name.into(), None);
        let (row, unread, named_instead) = (None, None, None);
        Item { path, key, prompt, row, by_place: false, unread, named_instead, group: None }
    }

    #[test]
    fn no_prompt_is_asked_for_where_none_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let mut items = [item(&folder, "a.png", None), item(&folder, "b.png", Some("a dog"))];
        items[0].unread = Some("it is not UTF-8".to_owned());
        let judges = Judges::of(vec![Arc::new(Corner)], &testing::device());
        let results = run(&judges, &items, Batch::of(2), None, &Stop::default()).unwrap();
        let lines: Vec<Line> = results.into_iter().map(|result| result.unwrap()).collect();
        assert_eq!((lines[0].prompt.as_str(), lines[1].prompt.as_str()), ("", "a dog"));
        assert_eq!(lines[0].scores, [Some(1.0)]);
        // The same pictures for a reward that looks.
        let bytes = std::fs::read(&items[0].path).unwrap();
        assert_eq!(prompt(&items[0], &bytes, true), Err("it is not UTF-8".to_owned()));
        items[0].unread = None;
        assert!(prompt(&items[0], &bytes, true).unwrap_err().contains("no prompt"));
    }
}
