//! The pictures that are asked for, each with its file.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// One picture that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Picture {
    pub file: PathBuf,
    pub prompt: String,
    pub seed: u64,
}

/// Every prompt with every seed, each with its file.
pub(super) fn pictures(out: &Path, prompts: &[String], seeds: &[u64]) -> Vec<Picture> {
    let pairs = prompts.iter().flat_map(|prompt| seeds.iter().map(move |&seed| (prompt, seed)));
    let count = prompts.len() * seeds.len();
    pairs
        .enumerate()
        .map(|(k, (prompt, seed))| Picture {
            file: if count == 1 { out.to_owned() } else { numbered(out, k + 1) },
            prompt: prompt.clone(),
            seed,
        })
        .collect()
}

fn numbered(out: &Path, k: usize) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}-{k}.png"))
}

/// Reads the name of a picture's file.
pub(super) fn png_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("png") => Ok(path),
        _ => Err("pictures are written as PNG; end the name in .png".to_owned()),
    }
}

/// Reads a size.
pub(super) fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').and_then(|(height, width)| {
        Some([height.trim().parse().ok()?, width.trim().parse().ok()?])
    });
    sides.filter(|sides: &[usize; 2]| !sides.contains(&0)).ok_or_else(|| {
        "a size is written as height x width in pixels, each at least 1: 512x768".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_picture_has_the_name_that_was_given() {
        let one = pictures(Path::new("a/heart.png"), &["a heart".to_owned()], &[7]);
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].file, Path::new("a/heart.png"));
    }

    #[test]
    fn several_are_numbered_prompt_by_prompt() {
        let prompts = ["a".to_owned(), "b".to_owned()];
        let all = pictures(Path::new("x/p.PNG"), &prompts, &[1, 2]);
        let of = |k: usize| (all[k].file.to_str().unwrap(), all[k].prompt.as_str(), all[k].seed);
        assert_eq!(of(1), ("x/p-2.png", "a", 2));
        assert_eq!(of(2), ("x/p-3.png", "b", 1));
    }
}
