//! Reference files of CLIP's image preprocessing.

use hyperalign_core::resize::{Filter, Normalization, resize};
use hyperalign_models::clip::ClipPreprocess;
use miette::miette;

use super::{checks::Checks, golden::Golden};

/// Tolerance of values of resized pictures, which go from 0 to 1.
const RESIZE: f64 = 1e-5;

#[derive(serde::Deserialize)]
struct Config {
    size: usize,
    mean: [f64; 3],
    std: [f64; 3],
}

/// `clip_preprocess*`: one 8-bit picture, prepared as PIL and torchvision do, and resized as
/// torch does to the size of each result.
pub(super) fn preprocess(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let Config { size, mean, std } = golden.config()?;
    let picture = golden.picture("in.rgb_u8")?;
    let preprocess =
        ClipPreprocess { normalization: Normalization { mean, std }, ..ClipPreprocess::new(size) };
    checks.tensor("out.pil_bicubic_norm", preprocess.picture(&picture, &checks.device));

    let device = checks.device.clone();
    let pixels = golden.tensor::<3>("in.rgb_u8", &device)?.permute([2, 0, 1]).unsqueeze::<4>();
    for (name, filter) in [
        ("out.torch_bicubic_antialias", Filter::Bicubic),
        ("out.torch_bilinear_antialias", Filter::Bilinear),
        ("out.torch_bicubic_noaa", Filter::BicubicSampled),
    ] {
        if !golden.has(name) {
            continue;
        }
        let expected = golden.values(name)?;
        let &[.., height, width] = expected.shape.as_slice() else {
            return Err(miette!("`{name}` is no picture"));
        };
        // Filters overshoot 1, and tolerances are relative to the largest value.
        let largest = expected.values.iter().fold(1.0, |a: f64, b| a.max(b.abs()));
        let resized = resize(pixels.clone() / 255.0, height, width, filter);
        checks.tensor_within(name, resized, RESIZE / largest);
    }
    Ok(())
}
