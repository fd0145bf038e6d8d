//! How numbers are read from the command line.

/// Reads a number of things of which there must be one.
///
/// # Errors
///
/// Fails for 0, below it, and for what is no whole number.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    let refused = || "a whole number of at least 1 is needed".to_owned();
    text.parse().ok().filter(|number| *number > 0).ok_or_else(refused)
}

/// Reads a number of updates.
///
/// # Errors
///
/// Fails where [`at_least_one`] does.
pub fn updates(text: &str) -> Result<u64, String> {
    at_least_one(text).map(|number| number as u64)
}

/// Reads a seed.
///
/// # Errors
///
/// Fails below 0 and for what is no whole number.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a seed is a whole number of at least 0".to_owned())
}

/// Reads a number that is one.
///
/// # Errors
///
/// Fails for what is no number, for infinity and for NaN.
pub fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err("a finite number is needed".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}
