//! The adapters that come with the program, where a flag asks for one and none is named.

use hyperalign_models::hypernet::AdapterPlace;
use miette::Diagnostic;

/// A flag that has nothing to be used on.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{flag} {given}` needs an adapter, and the program has none for `{base}`")]
#[diagnostic(help("add `--adapter FILE`, or take `{flag} none`"))]
pub struct NoneShipped {
    /// The flag.
    flag: &'static str,
    /// What it was given.
    given: String,
    /// The base.
    base: String,
}

/// The program's own adapter for `base`, which `flag` asks for with `given`.
///
/// # Errors
///
/// Fails if there is none.
pub fn adapter(flag: &'static str, given: String, base: &str) -> Result<AdapterPlace, NoneShipped> {
    let missing = || NoneShipped { flag, given, base: base.to_owned() };
    AdapterPlace::shipped_for(base).ok_or_else(missing)
}
