//! `hyperalign inspect pictures FIRST SECOND`: how far two pictures are apart.

use std::path::{Path, PathBuf};

use hyperalign_core::image;
use hyperalign_train::pretrain::psnr;
use miette::{IntoDiagnostic, bail};
use serde::Serialize;

use crate::outcome::Outcome;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A PNG file.
    #[arg(value_name = "FIRST.png")]
    first: PathBuf,

    /// Another, of the same size.
    #[arg(value_name = "SECOND.png")]
    second: PathBuf,
}

/// How far two pictures are apart.
#[derive(Debug, Serialize)]
struct Difference {
    /// Peak signal-to-noise ratio in decibels; none of two equal pictures.
    psnr: Option<f64>,
    /// Mean of the absolute difference of a channel, of 255.
    mean: f64,
    /// Largest difference of a channel, of 255.
    largest: u8,
    /// Share of the channels that differ.
    share: f64,
}

/// Prints the difference as JSON.
pub(super) fn run(args: &Args) -> miette::Result<Outcome> {
    let read = |path: &Path| image::read_png(path).map(|(image, _)| image).into_diagnostic();
    let (first, second) = (read(&args.first)?, read(&args.second)?);
    if first.dimensions() != second.dimensions() {
        bail!(
            "`{}` is {}x{} pixels, `{}` {}x{}; only pictures of one size are compared",
            args.first.display(),
            first.height(),
            first.width(),
            args.second.display(),
            second.height(),
            second.width()
        );
    }
    output::print_json(&difference(first.as_raw(), second.as_raw()))?;
    Ok(Outcome::Done)
}

/// The difference of two lists of channels of the same length.
fn difference(first: &[u8], second: &[u8]) -> Difference {
    let apart = || first.iter().zip(second).map(|(a, b)| a.abs_diff(*b));
    let count = first.len().max(1) as f64;
    // As numbers of [-1, 1], which is what the ratio is of.
    let squares: f64 = apart().map(|apart| (f64::from(apart) / 127.5).powi(2)).sum();
    Difference {
        psnr: (squares > 0.0).then(|| psnr(squares / count)),
        mean: apart().map(f64::from).sum::<f64>() / count,
        largest: apart().max().unwrap_or_default(),
        share: apart().filter(|apart| *apart > 0).count() as f64 / count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_peak() {
        let found = difference(&[0, 10, 255, 7], &[0, 10, 255, 7]);
        assert!(found.psnr.is_none() && found.largest == 0 && found.share == 0.0);
        // One channel of four is off by 51, a fifth of the peak: 10 log10(4 * 25) decibels.
        let found = difference(&[0, 10, 255, 7], &[0, 61, 255, 7]);
        assert!((found.psnr.unwrap() - 20.0).abs() < 1e-9, "{found:?}");
        assert_eq!((found.largest, found.share), (51, 0.25));
        assert!((found.mean - 12.75).abs() < 1e-9);
    }
}
