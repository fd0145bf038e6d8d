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

/// Reads a number of updates, which a run's settings can hold.
///
/// # Errors
///
/// Fails where [`at_least_one`] does, and beyond 63 bits.
pub fn updates(text: &str) -> Result<u64, String> {
    let number = at_least_one(text)? as u64;
    match i64::try_from(number) {
        Ok(_) => Ok(number),
        Err(_) => Err(format!("at most {} are possible", i64::MAX)),
    }
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

/// Reads a number above 0.
///
/// # Errors
///
/// Fails for 0, below it, and for what is no finite number.
pub fn positive(text: &str) -> Result<f64, String> {
    finite(text).and_then(|number| {
        if number > 0.0 { Ok(number) } else { Err("a number above 0 is needed".to_owned()) }
    })
}

/// Reads a share.
///
/// # Errors
///
/// Fails outside of 0 to 1 and for what is no number.
pub fn share(text: &str) -> Result<f64, String> {
    let refused = || "a share from 0 to 1 is needed, such as 0.1".to_owned();
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(refused)
}
