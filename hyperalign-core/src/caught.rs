//! Panics of code that is not ours, on inputs that nobody checked: they end with the input, not with
//! the program.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// What `call` gives, or what it panicked with.
///
/// # Errors
///
/// Fails with the words of the panic.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let before = EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    EXPECTED.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// Whether a panic of this thread would be [`caught`].
fn is_expected() -> bool {
    EXPECTED.get()
}

/// Reports the panics of this process from here on as before, but for those that are [`caught`]: they
/// are told as the errors that they become, and not twice. For programs, once.
pub fn report_the_others() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !is_expected() {
                report(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_the_outer_call_is_still_expected() {
        assert_eq!(caught(|| 3), Ok(3));
        let outer = caught(|| {
            let inner = caught(|| panic!("no {}", "cats"));
            (inner, is_expected())
        });
        assert_eq!(outer, Ok((Err::<(), _>("no cats".to_owned()), true)));
        assert!(!is_expected());
    }
}
