//! Which files of a data set are wanted.

/// The files of `all` that `path` names and that are to be read, in the order of their names: a
/// single file whatever its ending; else those of the first of `endings` that any file has, and of
/// them, where some are of a split for training by their names, those alone.
pub(super) fn files(all: &[String], path: &str, endings: &[&str]) -> Vec<String> {
    if all.iter().any(|file| file == path) {
        return vec![path.to_owned()];
    }
    let is_named = |file: &str| match path {
        "" => true,
        pattern if pattern.contains('*') => fits(file, pattern),
        folder => file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')),
    };
    let is_visible = |file: &str| !file.split('/').any(|part| part.starts_with('.'));
    let named: Vec<&String> = all.iter().filter(|f| is_named(f) && is_visible(f)).collect();
    let of_ending = |ending: &&str| -> Vec<String> {
        named.iter().filter(|file| has_ending(file, ending)).map(|file| (**file).clone()).collect()
    };
    let mut found =
        endings.iter().map(of_ending).find(|found| !found.is_empty()).unwrap_or_default();
    if !path.contains('*') && found.iter().any(|file| is_for_training(file)) {
        found.retain(|file| is_for_training(file));
    }
    found.sort();
    found
}

fn has_ending(file: &str, ending: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, own)| own.eq_ignore_ascii_case(ending))
}

/// Whether a word of the path is `train`, as in `data/train-00000-of-00004.parquet`: what Python's
/// `datasets` goes by.
fn is_for_training(file: &str) -> bool {
    let mut words = file.split(|c: char| !c.is_ascii_alphabetic());
    words.any(|word| ["train", "training"].iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Whether `text` fits a pattern in which `*` stands for anything but a slash.
fn fits(text: &str, pattern: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return text == pattern };
    let Some(rest) = text.strip_prefix(head) else { return false };
    let within = rest.find('/').unwrap_or(rest.len());
    let mut starts = rest[..within].char_indices().map(|(at, _)| at).chain([within]);
    starts.any(|at| fits(&rest[at..], tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Vec<String> {
        let all = [
            ".gitattributes",
            "README.md",
            "data/test-00000-of-00001.parquet",
            "data/train-00001-of-00002.parquet",
            "data/train-00000-of-00002.parquet",
            "data/.train.parquet",
            "extra/all.parquet",
            "prompts.tsv",
        ];
        let all: Vec<String> = all.iter().map(|name| (*name).to_owned()).collect();
        files(&all, path, &["parquet", "tsv"])
    }

    #[test]
    fn of_several_splits_that_for_training_is_taken() {
        let train = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];
        assert_eq!(found(""), train);
        assert_eq!(found("data"), train);
        assert_eq!(found("data/t*-00001.parquet"), ["data/test-00000-of-00001.parquet"]);
        assert_eq!(found("*/*.parquet").len(), 4, "a pattern says itself which split");
        assert_eq!(found("*.parquet"), [] as [&str; 0], "`*` passes no slash");
        assert_eq!(found("extra"), ["extra/all.parquet"]);
    }

    #[test]
    fn a_file_is_taken_by_its_name() {
        assert_eq!(found("prompts.tsv"), ["prompts.tsv"]);
        assert_eq!(found("README.md"), ["README.md"]);
        assert_eq!(found("dat"), [] as [&str; 0]);
    }
}
