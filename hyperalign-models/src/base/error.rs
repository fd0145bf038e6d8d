//! What a base refuses.

/// What a base refuses, in words for the user.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BaseError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

impl BaseError {
    /// Any error, in the words of its own.
    pub(crate) fn of(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// A picture's size that the network cannot read.
#[derive(Debug, thiserror::Error)]
#[error(
    "pictures of {height} x {width} were asked for, but sides of pictures of `{base}` are \
     multiples of {multiple}; take {} x {}",
    nearest(*height, *multiple), nearest(*width, *multiple)
)]
pub(super) struct SizeError {
    pub base: String,
    pub height: usize,
    pub width: usize,
    pub multiple: usize,
}

fn nearest(side: usize, multiple: usize) -> usize {
    ((side + multiple / 2) / multiple).max(1) * multiple
}

/// A picture's size that no memory suffices for.
#[derive(Debug, thiserror::Error)]
#[error(
    "a picture of {height} x {width} takes at least {} GiB to decode, and {} GiB are there; take a \
     smaller one",
    gibibytes(*least), gibibytes(*free)
)]
pub(super) struct MemoryError {
    pub height: usize,
    pub width: usize,
    pub least: u64,
    pub free: u64,
}

/// With a digit behind the point.
fn gibibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 30))
}
