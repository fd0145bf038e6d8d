//! Reference lines of tokenizers: a text and its ids by several tokenizers each.

use std::path::Path;

use hyperalign_core::input;
use hyperalign_models::{blip::BLIP_MARKS, tokenizer::Tokenizer};
use miette::{IntoDiagnostic, WrapErr};

use super::checks::Checks;

/// Long enough for every text to stay whole.
const UNCUT: usize = 4096;
/// The length of a row in Stable Diffusion.
const CONTEXT: usize = 77;

/// The length of a row in ImageReward.
const REWARD_CONTEXT: usize = 35;

/// One line. Ids are not cut and not padded where nothing else is said.
#[derive(serde::Deserialize)]
struct Line {
    text: String,
    /// By `transformers`.
    clip_hf: Vec<u32>,
    /// By OpenAI's code and open_clip's.
    clip_openai: Vec<u32>,
    /// The last ids of a row of 77.
    clip_hf_pad77: Vec<u32>,
    t5: Vec<u32>,
    bert: Vec<u32>,
    /// A row of 35.
    bert_pad35: Vec<u32>,
}

/// What is compared: its name, the tokenizer, and the ids of a line.
type Column = (&'static str, Tokenizer, Judge);

/// Whether a row of ours is that of the line.
type Judge = fn(&Line, &[u32], u32) -> bool;

/// `tokenizers*`: every line a text. One row for each tokenizer, not for each text.
pub(super) fn tokenizers(path: &Path, checks: &mut Checks) -> miette::Result<()> {
    let folder = match &checks.tokenizers {
        Some(folder) => folder.clone(),
        None => {
            checks.asset("tokenizers").wrap_err("`--tokenizers` says where vocabularies are")?
        }
    };
    let columns = columns(&folder)?;
    let text = input::read_text(path).into_diagnostic()?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(line)
            .into_diagnostic()
            .wrap_err_with(|| format!("line {} cannot be read", number + 1))?;
        lines.push(line);
    }
    for (name, tokenizer, is_right) in columns {
        let mut tally = Tally::default();
        for line in &lines {
            let ids = tokenizer.encode(&[&line.text]).into_diagnostic()?.ids.remove(0);
            tally.count(&line.text, is_right(line, &ids, tokenizer.pad()));
        }
        tally.report(name, checks);
    }
    Ok(())
}

/// The tokenizers whose vocabularies are in `folder`.
fn columns(folder: &Path) -> miette::Result<Vec<Column>> {
    let file = |name: &str| {
        let path = folder.join(name);
        input::read_text(&path).into_diagnostic().wrap_err_with(|| {
            format!(
                "cannot read `{}`; `--tokenizers` says where the vocabularies are",
                path.display()
            )
        })
    };
    let (vocab, merges) = (file("clip/vocab.json")?, file("clip/merges.txt")?);
    let clip = |length| Tokenizer::from_vocab_and_merges(&vocab, &merges, length).into_diagnostic();
    let t5 = Tokenizer::from_json_with(&file("t5/tokenizer.json")?, UNCUT, "<pad>");
    let pieces = file("bert/tokenizer.json")?;
    // The reference is BLIP's tokenizer.
    let blip = |tokenizer: Tokenizer| tokenizer.with_marks(&BLIP_MARKS).into_diagnostic();
    let bert =
        |length| blip(Tokenizer::from_json_with(&pieces, length, "[PAD]").into_diagnostic()?);
    let list = Tokenizer::from_word_pieces(&file("bert/vocab.txt")?, UNCUT).into_diagnostic()?;
    Ok(vec![
        ("clip_hf", clip(UNCUT)?, |line, ids, pad| begins(ids, &line.clip_hf, pad)),
        ("clip_openai", clip(UNCUT)?.as_open_clip(), |line, ids, pad| {
            begins(ids, &line.clip_openai, pad)
        }),
        ("clip_hf_pad77", clip(CONTEXT)?, |line, ids, _| ids.ends_with(&line.clip_hf_pad77)),
        ("t5", t5.into_diagnostic()?, |line, ids, pad| begins(ids, &line.t5, pad)),
        ("bert", bert(UNCUT)?, |line, ids, pad| begins(ids, &line.bert, pad)),
        ("bert_vocab_txt", blip(list)?, |line, ids, pad| begins(ids, &line.bert, pad)),
        ("bert_pad35", bert(REWARD_CONTEXT)?, |line, ids, _| ids == line.bert_pad35),
    ])
}

/// Whether `ids` are `expected` and padding after them.
fn begins(ids: &[u32], expected: &[u32], pad: u32) -> bool {
    let padding = ids.get(expected.len()..).unwrap_or_default();
    ids.starts_with(expected) && padding.iter().all(|id| *id == pad)
}

/// How many texts come out right, and the first that does not.
#[derive(Default)]
struct Tally {
    right: usize,
    all: usize,
    first_wrong: Option<String>,
}

impl Tally {
    fn count(&mut self, text: &str, right: bool) {
        self.all += 1;
        self.right += usize::from(right);
        if !right {
            self.first_wrong.get_or_insert_with(|| text.to_owned());
        }
    }

    fn report(self, name: &str, checks: &mut Checks) {
        let wrong = self.first_wrong.map(|text| format!(", the first wrong one is {text:?}"));
        let ok = self.all > 0 && wrong.is_none();
        let wrong = wrong.unwrap_or_default();
        checks.verdict(name, ok, format!("{} of {} texts{wrong}", self.right, self.all));
    }
}
