//! Reference lines of tokenizers: a text and its ids by several tokenizers each.

use std::path::{Path, PathBuf};

use hyperalign_models::tokenizer::Tokenizer;
use miette::{IntoDiagnostic, WrapErr, miette};

use super::checks::Checks;

/// Long enough for every text to stay whole.
const UNCUT: usize = 4096;
/// The length of a row in Stable Diffusion.
const CONTEXT: usize = 77;

/// One line.
#[derive(serde::Deserialize)]
struct Line {
    text: String,
    /// By `transformers`, not cut and not padded.
    clip_hf: Vec<u32>,
    /// By OpenAI's code and open_clip's, likewise.
    clip_openai: Vec<u32>,
    /// The last ids of a row of 77.
    clip_hf_pad77: Vec<u32>,
}

/// `tokenizers*`: every line a text. One row for each tokenizer, not for each text.
pub(super) fn tokenizers(path: &Path, checks: &mut Checks) -> miette::Result<()> {
    let folder = match &checks.tokenizers {
        Some(folder) => folder.clone(),
        None => default_folder(path)?,
    };
    let file = |name: &str| {
        let path = folder.join("clip").join(name);
        std::fs::read_to_string(&path).into_diagnostic().wrap_err_with(|| {
            format!(
                "cannot read `{}`; `--tokenizers` says where the vocabularies are",
                path.display()
            )
        })
    };
    let (vocab, merges) = (file("vocab.json")?, file("merges.txt")?);
    let clip = |length| Tokenizer::from_vocab_and_merges(&vocab, &merges, length);
    let (uncut, cut) = (clip(UNCUT).into_diagnostic()?, clip(CONTEXT).into_diagnostic()?);

    let open_clip = uncut.clone().as_open_clip();

    let mut whole = Tally::default();
    let mut cleaned = Tally::default();
    let mut ends = Tally::default();
    for (number, line) in std::fs::read_to_string(path).into_diagnostic()?.lines().enumerate() {
        let line: Line = serde_json::from_str(line)
            .into_diagnostic()
            .wrap_err_with(|| format!("line {} cannot be read", number + 1))?;
        let ids = |tokenizer: &Tokenizer| {
            tokenizer.encode(&[&line.text]).map(|mut encoded| encoded.ids.remove(0))
        };
        for (tokenizer, expected, tally) in
            [(&uncut, &line.clip_hf, &mut whole), (&open_clip, &line.clip_openai, &mut cleaned)]
        {
            let given = ids(tokenizer).into_diagnostic()?;
            let padding = given.get(expected.len()..).unwrap_or_default();
            let is_padding = padding.iter().all(|id| *id == tokenizer.pad());
            tally.count(&line.text, given.starts_with(expected) && is_padding);
        }
        let row = ids(&cut).into_diagnostic()?;
        ends.count(&line.text, row.ends_with(&line.clip_hf_pad77));
    }
    whole.report("clip_hf", checks);
    cleaned.report("clip_openai", checks);
    ends.report("clip_hf_pad77", checks);
    for name in ["t5", "bert", "bert_pad35"] {
        checks.not_supported(name, "this tokenizer is not built yet");
    }
    Ok(())
}

/// `assets/tokenizers` beside the folder of the folder of `path`.
fn default_folder(path: &Path) -> miette::Result<PathBuf> {
    let path = path.canonicalize().into_diagnostic()?;
    path.ancestors()
        .nth(3)
        .map(|root| root.join("assets/tokenizers"))
        .filter(|folder| folder.is_dir())
        .ok_or_else(|| miette!("no vocabularies found; say with `--tokenizers` where they are"))
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
