//! What flags name by `hf:`: models and data sets of the Hugging Face hub, or of its cache.

#[cfg(feature = "hub")]
mod data;
#[cfg(feature = "hub")]
mod downloads;
#[cfg(not(feature = "hub"))]
mod without;

use std::path::{Path, PathBuf};

#[cfg(feature = "hub")]
pub use data::{Data, DataError, download};
#[cfg(feature = "hub")]
pub use downloads::{Asked, Downloads};
#[cfg(not(feature = "hub"))]
pub use without::{Asked, Data, DataError, Downloads, download};

/// What the name of something on the hub begins with.
const HUB: &str = "hf:";

/// The name on the hub of what is `given` in the place of a path, if it is one.
pub fn name(given: &Path) -> Option<&str> {
    given.to_str()?.strip_prefix(HUB)
}

/// `given` relative to `folder`, where it is a path.
pub fn beside(folder: &Path, given: &Path) -> PathBuf {
    if name(given).is_some() { given.to_owned() } else { folder.join(given) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_hub_is_no_path() {
        let given = Path::new("hf:datasets/a/b");
        assert_eq!(name(given), Some("datasets/a/b"));
        assert_eq!(beside(Path::new("/x"), given), given);
        assert_eq!(name(Path::new("datasets/a/b")), None);
        assert_eq!(beside(Path::new("/x"), Path::new("a.tsv")), Path::new("/x/a.tsv"));
    }
}
