//! Layouts that others publish the same networks in.
//!
//! A rule says, for each key of ours, which tensor of their file holds its values: under which
//! name, whether stacked with others along the rows, whether in another order. Both uses
//! follow from it: reading their files (`read_as`) and telling which keys such a file must have
//! ([`published_keys`]). There is no list of keys.

mod bfl;
mod extras;
mod kind;
mod ldm_unet;
mod ldm_vae;
mod mmdet;
mod old_attention;
mod single_file;

use std::collections::BTreeMap;

pub use bfl::flux;
pub(crate) use extras::without_extras;
pub use extras::{extras, summary};
pub use kind::{Kind, identify, unknown};
pub use ldm_unet::unet;
pub use ldm_vae::vae;
pub use mmdet::MmdetNames;
pub use old_attention::old_attention;
pub use single_file::{SingleFile, has_autoencoder, with_text_level};

pub use super::tensors::{Order, Part};
use super::{Key, LoadError, Tensors, load::check};

/// Where the values of a key of ours lie in a published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The key in the file.
    pub name: String,
    /// The place among the keys of ours that are stacked along the rows of the same tensor.
    pub place: usize,
    /// In which order they lie there.
    pub order: Order,
    /// Whether the matrix is stored as a convolution of one pixel.
    pub pixel: bool,
}

impl Source {
    /// The same values under the name `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), place: 0, order: Order::Same, pixel: false }
    }
}

/// The keys of a published file that holds the network whose keys are `ours`.
pub fn published_keys(ours: &[Key], rule: impl Fn(&Key) -> Source) -> Vec<Key> {
    let mut names = Vec::new();
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for key in ours {
        let source = rule(key);
        match shapes.get_mut(&source.name) {
            Some(shape) => shape[0] += key.shape[0],
            None => {
                let mut shape = key.shape.clone();
                if source.pixel {
                    shape.extend([1, 1]);
                }
                shapes.insert(source.name.clone(), shape);
                names.push(source.name);
            }
        }
    }
    let key = |name: String| Key { shape: shapes.remove(&name).unwrap_or_default(), name };
    names.into_iter().map(key).collect()
}

/// For each of the keys `ours`, the part of a published file that holds its values.
pub fn parts(ours: &[Key], rule: impl Fn(&Key) -> Source) -> Vec<(String, Part)> {
    let mut stacks: BTreeMap<String, Vec<(Source, &Key)>> = BTreeMap::new();
    for key in ours {
        let source = rule(key);
        stacks.entry(source.name.clone()).or_default().push((source, key));
    }
    let mut parts = Vec::new();
    for (_, mut stack) in stacks {
        stack.sort_by_key(|(source, _)| source.place);
        let mut first_row = 0;
        for (Source { name: source, order, .. }, key) in stack {
            let part = Part { source, first_row, order, shape: key.shape.clone() };
            first_row += key.shape.first().copied().unwrap_or(1);
            parts.push((key.name.clone(), part));
        }
    }
    parts
}

/// The tensors of a published file under our names, which are those of `ours`.
///
/// # Errors
///
/// Fails if the file does not hold exactly the keys of [`published_keys`], in the file's names.
pub(crate) fn read_as(
    tensors: &Tensors,
    ours: &[Key],
    rule: impl Fn(&Key) -> Source,
) -> Result<Tensors, LoadError> {
    check(&published_keys(ours, &rule), tensors)?;
    Ok(tensors.rearranged(parts(ours, rule)))
}

/// `name` with each of `replacements` (ours, theirs) made where it occurs, in their order.
fn replaced(name: &str, replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

/// The number that `text` begins with, and what comes after its point.
fn numbered(text: &str) -> Option<(usize, &str)> {
    let (number, rest) = text.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// One more than the highest number that follows `prefix` in a key.
fn count(keys: &[Key], prefix: &str) -> usize {
    let numbers = keys.iter().filter_map(|key| numbered(key.name.strip_prefix(prefix)?));
    numbers.map(|(number, _)| number + 1).max().unwrap_or(0)
}
