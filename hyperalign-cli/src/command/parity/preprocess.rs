//! Reference files of CLIP's image preprocessing.

use hyperalign_core::resize::{Filter, Normalization, resize};
use hyperalign_models::clip::ClipPreprocess;
use image::RgbImage;
use miette::miette;

use super::{checks::Checks, golden::Golden};

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
    let input = golden.values("in.rgb_u8")?;
    let bytes = input.values.iter().map(|value| *value as u8).collect();
    let picture = match input.shape[..] {
        [height, width, 3] => RgbImage::from_raw(width as u32, height as u32, bytes),
        _ => None,
    };
    let picture = picture.ok_or_else(|| miette!("`in.rgb_u8` is not [height, width, 3]"))?;
    let preprocess = ClipPreprocess { size, normalization: Normalization { mean, std } };
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
        let &[.., height, width] = golden.values(name)?.shape.as_slice() else {
            return Err(miette!("`{name}` is no picture"));
        };
        checks.tensor(name, resize(pixels.clone() / 255.0, height, width, filter));
    }
    Ok(())
}
