//! Settings of a method that mean nothing.

/// A setting that no picture can be made with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{name}` is {given}; it must be {expected}")]
pub struct SettingError {
    /// The setting.
    pub name: &'static str,
    /// Its value.
    pub given: String,
    /// What it must be.
    pub expected: &'static str,
}

impl SettingError {
    /// Fails with the rest unless `holds`.
    ///
    /// # Errors
    ///
    /// Fails with what was given and what was expected.
    pub fn unless(
        holds: bool,
        name: &'static str,
        given: impl ToString,
        expected: &'static str,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { name, given: given.to_string(), expected }) }
    }
}
