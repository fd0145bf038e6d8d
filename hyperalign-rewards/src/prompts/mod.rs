//! Prompt sets in the formats that they are published in.
//!
//! PartiPrompts' TSV, GenEval's metadata rows, HPSv2's and ImageReward's JSON, tables with a
//! column of prompts, and plain text. What a file says beside the prompt is kept where it is of
//! use: the group that a mean is taken over, the picture that the prompt was made into, GenEval's
//! rules.

mod json;
mod parquet;
mod table;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use hyperalign_core::input;

pub use hyperalign_core::contract::Prompt;

use crate::geneval::RowError;

/// Why a file of prompts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptFileError {
    /// It cannot be read.
    #[error("cannot read the prompts `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its name ends in nothing known.
    #[error(
        "cannot tell the format of the prompts `{}` from its name; expected .txt, .jsonl, .json, \
         .tsv, .csv or .parquet, or a folder of .json files",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A line or an entry is not what it should be.
    #[error("`{}`, {place}: {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Where in the file: `line 3`, `entry 7`.
        place: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A line is no metadata row of GenEval.
    #[error("`{}`: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        source: RowError,
    },
    /// There is no prompt in it.
    #[error("`{}` has no prompts", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file of prompts by the ending of its name, or a folder of `.json` files, each of which
/// is a group (HPSv2's benchmark).
///
/// | ending | content |
/// |---|---|
/// | `.txt` | a prompt a line; a line that begins with `#` is a comment |
/// | `.jsonl` | an object a line: GenEval's metadata rows, or any with `prompt` |
/// | `.json` | a list of texts or objects (HPSv2, ImageReward), or lists by group |
/// | `.tsv` | PartiPrompts, or any table with a column `prompt` |
/// | `.csv` | a table with a column `prompt` |
/// | `.parquet` | the same, such as the captions of Pick-a-Pic |
///
/// The keys of objects and the columns of tables, in any case: `prompt`, `caption` or `text`;
/// `group`, `category`, `style` or `tag`; `image`, `file_name`, `file_path`, `filename`, `path` or
/// `image_path`.
///
/// A mark before the first letter and the line ends of any system are taken as such. What begins
/// with a dot in a folder is no group.
///
/// # Errors
///
/// Fails if the file cannot be read, is no regular file or no UTF-8, has an entry that is no
/// prompt, or has none.
pub fn read(path: &Path) -> Result<Vec<Prompt>, PromptFileError> {
    let prompts = if path.is_dir() { read_folder(path)? } else { read_file(path)? };
    if prompts.is_empty() {
        return Err(PromptFileError::Empty { path: path.to_owned() });
    }
    Ok(prompts)
}

fn read_file(path: &Path) -> Result<Vec<Prompt>, PromptFileError> {
    if is_parquet(path) {
        return parquet::file(path);
    }
    // What cannot be told by its name is not read at all.
    parser(path)?;
    let unreadable = |source| PromptFileError::Unreadable { path: path.to_owned(), source };
    parse(path, &input::read(path).map_err(unreadable)?)
}

/// Reads the `bytes` of a file by the ending of its name, `path`, as [`read`] does.
///
/// # Errors
///
/// Fails if they are not UTF-8 or have an entry that is no prompt.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Prompt>, PromptFileError> {
    if is_parquet(path) {
        return parquet::bytes(path, bytes);
    }
    let parser = parser(path)?;
    parser(path, &decoded(path, bytes)?)
}

/// The one format that is no text.
fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

type Parser = fn(&Path, &str) -> Result<Vec<Prompt>, PromptFileError>;

fn parser(path: &Path) -> Result<Parser, PromptFileError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    Ok(match ending.as_deref() {
        Some("txt") => |_, text| Ok(plain(text)),
        Some("jsonl" | "ndjson") => json::lines,
        Some("json") => json::document,
        Some("tsv") => table::tabs,
        Some("csv") => table::commas,
        _ => return Err(PromptFileError::Format { path: path.to_owned() }),
    })
}

fn decoded<'a>(name: &Path, bytes: &'a [u8]) -> Result<Cow<'a, str>, PromptFileError> {
    let told = |what: &str| PromptFileError::Unreadable {
        path: name.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, what),
    };
    input::decode_text(bytes).map_err(|error| told(&error.to_string()))
}

/// Reads prompts that have no file, such as those of standard input: an object a line if the first
/// line is one, else a prompt a line. `name` stands for them in errors.
///
/// # Errors
///
/// Fails if the text is not UTF-8, has a line that is no prompt, or has none.
pub fn read_bytes(name: &Path, bytes: &[u8]) -> Result<Vec<Prompt>, PromptFileError> {
    let text = decoded(name, bytes)?;
    let is_object = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object())
    };
    let prompts = match text.lines().find(|line| !line.trim().is_empty()) {
        Some(first) if is_object(first) => json::lines(name, &text)?,
        _ => plain(&text),
    };
    match prompts.is_empty() {
        true => Err(PromptFileError::Empty { path: name.to_owned() }),
        false => Ok(prompts),
    }
}

fn read_folder(folder: &Path) -> Result<Vec<Prompt>, PromptFileError> {
    let unreadable = |source| PromptFileError::Unreadable { path: folder.to_owned(), source };
    let entries: Vec<_> =
        std::fs::read_dir(folder).and_then(Iterator::collect).map_err(unreadable)?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| {
        let is_json = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        is_json && !input::is_hidden(file)
    });
    files.sort();
    let mut prompts = Vec::new();
    for file in files {
        let group = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        prompts.extend(read_file(&file)?.into_iter().map(|mut prompt| {
            prompt.group = prompt.group.or_else(|| group.clone());
            prompt
        }));
    }
    Ok(prompts)
}

/// A prompt a line. Comments are those of the files that trainers sample from while they train.
fn plain(text: &str) -> Vec<Prompt> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(Prompt::from).collect()
}

/// The names that each thing goes by, the most telling first.
const TEXT: [&str; 3] = ["prompt", "caption", "text"];
const GROUP: [&str; 4] = ["group", "category", "style", "tag"];
const IMAGE: [&str; 6] = ["image", "file_name", "file_path", "filename", "path", "image_path"];

fn entry(path: &Path, place: String, reason: impl Into<String>) -> PromptFileError {
    PromptFileError::Entry { path: path.to_owned(), place, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geneval::Task;

    fn from(name: &str, text: &str) -> Result<Vec<Prompt>, PromptFileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn texts(name: &str, text: &str) -> Vec<String> {
        from(name, text).unwrap().into_iter().map(|prompt| prompt.text).collect()
    }

    #[test]
    fn plain_text() {
        let text = "\u{FEFF}a dog\r\n\r\n  a \"red\" heart, big \n";
        assert_eq!(texts("p.txt", text), ["a dog", "a \"red\" heart, big"]);
    }

    #[test]
    fn text_as_tools_write_it() {
        assert_eq!(texts("p.TXT", "# of today\na dog\ra cat #2\r\n"), ["a dog", "a cat #2"]);
        let rows = "\u{FEFF}{\"prompt\": \"a dog\"}\r\n{\"prompt\": \"a cat\"}\r\n";
        assert_eq!(texts("p.jsonl", rows), ["a dog", "a cat"]);
        assert_eq!(texts("p.json", "\u{FEFF}[\"a dog\"]"), ["a dog"]);
        assert_eq!(texts("p.csv", "\u{FEFF}prompt,x\ra dog,1\ra cat,2\r"), ["a dog", "a cat"]);
        assert_eq!(texts("p.tsv", "\u{FEFF}prompt\tx\r\na dog\t1\r\n"), ["a dog"]);
        let folder = tempfile::tempdir().unwrap();
        for name in ["p.txt", "p.jsonl", "p.json", "p.csv", "p.tsv"] {
            let path = folder.path().join(name);
            let wide: Vec<u8> = "\u{FEFF}a dog".encode_utf16().flat_map(u16::to_le_bytes).collect();
            std::fs::write(&path, wide).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("UTF-16"), "{message}");
        }
    }

    #[test]
    fn without_a_file() {
        let read = |text: &str| {
            let prompts = read_bytes(Path::new("-"), text.as_bytes()).unwrap();
            prompts.into_iter().map(|prompt| prompt.text).collect::<Vec<_>>()
        };
        assert_eq!(read("a dog\r\n[a cat:2]\n"), ["a dog", "[a cat:2]"]);
        assert_eq!(read("\n{\"prompt\": \"a dog\"}\n"), ["a dog"]);
        assert!(read_bytes(Path::new("-"), b"\n").is_err());
    }

    /// The four columns of PartiPrompts; quotes are part of its texts.
    #[test]
    fn parti_prompts() {
        let text = "Prompt\tCategory\tChallenge\tNote\n\
                    bond\tAbstract\tBasic\tBiology-inspired concepts with multiple meanings\n\
                    \"a sign\" that reads \"x\"\tWorld Knowledge\tWriting & Symbols\t\n";
        let prompts = from("p.tsv", text).unwrap();
        assert_eq!(prompts[0].group.as_deref(), Some("Abstract"));
        assert_eq!(prompts[1].text, "\"a sign\" that reads \"x\"");
        let message = from("p.tsv", "Promt\tCategory\na\tb\n").unwrap_err().to_string();
        assert!(message.contains("line 1") && message.contains("`Promt`"), "{message}");
        let message = from("p.tsv", "Prompt\tCategory\na\tb\nc\n").unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains('2'), "{message}");
    }

    #[test]
    fn geneval() {
        let row = r#"{"tag":"counting","include":[{"class":"clock","count":2}],"prompt":"two"}"#;
        let prompts = from("p.jsonl", row).unwrap();
        assert_eq!(
            (prompts[0].text.as_str(), prompts[0].group.as_deref()),
            ("two", Some("counting"))
        );
        assert_eq!(prompts[0].row.as_ref().unwrap().tag, Task::Counting);
        let bad = format!("{row}\n\n{}", row.replace("clock", "").replace("class", "clas"));
        let message = from("p.jsonl", &bad).unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("clas"), "{message}");
    }

    #[test]
    fn objects_a_line() {
        let text = "{\"file_name\": \"a.png\", \"text\": \"a dog\", \"style\": \"photo\"}\n";
        let prompt = Prompt {
            text: "a dog".to_owned(),
            group: Some("photo".to_owned()),
            image: Some("a.png".to_owned()),
            row: None,
        };
        assert_eq!(from("p.jsonl", text).unwrap(), [prompt]);
        for (bad, words) in [
            ("{\"promt\": \"x\"}", "`promt`"),
            ("{\"prompt\": 3}", "`prompt` is 3"),
            ("{\"prompt\": \"x\"", "line 1"),
            ("[1]", "an object"),
            ("", "has no prompts"),
        ] {
            let message = from("p.jsonl", bad).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn json_lists() {
        assert_eq!(texts("p.json", r#"["a dog", "a cat"]"#), ["a dog", "a cat"]);
        // ImageReward's and HPDv2's: objects, of which only the prompt is read here.
        assert_eq!(
            texts("p.json", r#"[{"text": "a dog"}, {"text": "a cat"}]"#),
            ["a dog", "a cat"]
        );
        let hpd = r#"[{"prompt": "a dog", "image_path": ["1.jpg", "2.jpg"], "human_preference": [1, 0]}]"#;
        assert_eq!(from("p.json", hpd).unwrap()[0].image, None, "a list is no picture");
        let groups = from("p.json", r#"{"photo": ["a dog"], "anime": ["a cat"]}"#).unwrap();
        assert_eq!(groups[1].group.as_deref(), Some("anime"));
        let message = from("p.json", r#"["a", 5]"#).unwrap_err().to_string();
        assert!(message.contains("entry 2"), "{message}");
    }

    #[test]
    fn comma_separated() {
        let text = "file_path,caption,split\n1.jpg,\"a \"\"red\"\" dog, big\",exclusive_win\n";
        let prompts = from("p.csv", text).unwrap();
        assert_eq!(prompts[0].text, "a \"red\" dog, big");
        assert_eq!(prompts[0].image.as_deref(), Some("1.jpg"));
        let message = from("p.csv", "prompt,style\na,b\n\"a,b\n").unwrap_err().to_string();
        assert!(message.contains("line 3"), "{message}");
    }

    #[test]
    fn a_folder_of_styles() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("photo.json"), r#"["a dog"]"#).unwrap();
        std::fs::write(folder.path().join("anime.JSON"), r#"["a cat", "a cow"]"#).unwrap();
        std::fs::write(folder.path().join("._anime.json"), b"\0\x05\x16\x07").unwrap();
        let groups: Vec<_> =
            read(folder.path()).unwrap().into_iter().filter_map(|prompt| prompt.group).collect();
        assert_eq!(groups, ["anime", "anime", "photo"]);
    }

    #[test]
    fn other_files() {
        assert!(from("p.md", "a dog").unwrap_err().to_string().contains(".jsonl"));
        let message = read(Path::new("none.txt")).unwrap_err().to_string();
        assert!(message.contains("none.txt"), "{message}");
    }
}
