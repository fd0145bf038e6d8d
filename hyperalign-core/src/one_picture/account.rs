//! Who pays for a picture.

/// Says how much more a picture may cost, and is told what cannot be counted from outside.
///
/// Evaluations, decodings and scores are counted where the parts are wrapped; a method asks before
/// it spends, and keeps enough for the steps that it has yet to take.
pub trait Account {
    /// Whether so many more evaluations of the denoiser, a row each, may be spent.
    fn allows(&self, evaluations: usize) -> bool {
        let _ = evaluations;
        true
    }

    /// Whether somebody wants an end now. A method without any picture leaves off without one.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Told of a backward pass through the denoiser for so many rows.
    fn gradient_pass(&self, rows: usize) {
        let _ = rows;
    }

    /// Told of so many scores or gradients that are no numbers, and were passed over.
    fn skipped(&self, count: usize) {
        let _ = count;
    }

    /// Told of the best score so far.
    fn best(&self, score: f64) {
        let _ = score;
    }
}

/// Pays for everything, and keeps no books.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Account for Unlimited {}
