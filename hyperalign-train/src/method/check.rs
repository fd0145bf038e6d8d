//! Checks that several methods make of their settings.

use crate::learner::SettingsError;

type Checked = Result<(), SettingsError>;

/// Fails where a setting is not `ok`.
pub(super) fn require(
    ok: bool,
    name: &'static str,
    given: impl ToString,
    expected: impl Into<String>,
) -> Checked {
    if ok {
        return Ok(());
    }
    Err(SettingsError { name, given: given.to_string(), expected: expected.into() })
}

/// A number of samples that is cut into as many equal parts as there are shards.
pub(super) fn batch(name: &'static str, given: usize, shards: usize) -> Checked {
    let expected = format!("a multiple of training.shards * training.accumulate, {shards}");
    require(given > 0 && given.is_multiple_of(shards), name, given, expected)
}

/// A number of at least 1.
pub(super) fn count(name: &'static str, given: u64) -> Checked {
    require(given > 0, name, given, "1 or more")
}

/// A probability or a part of a whole.
pub(super) fn share(name: &'static str, given: f64) -> Checked {
    require((0.0..=1.0).contains(&given), name, given, "between 0 and 1")
}

/// A number above 0.
pub(super) fn positive(name: &'static str, given: f64) -> Checked {
    require(given > 0.0 && given.is_finite(), name, given, "above 0")
}

/// A weight, which may be 0.
pub(super) fn weight(name: &'static str, given: f64) -> Checked {
    require(given >= 0.0 && given.is_finite(), name, given, "0 or more")
}
