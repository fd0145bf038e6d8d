//! The pictures of several methods side by side.

use hyperalign_core::image::{GridStyle, captioned_grid, to_images};
use hyperalign_models::base::Base;
use image::{RgbImage, imageops};

use super::{EvalError, Method, Sampling, Shot, generate};
use crate::learner::Stop;

/// Pictures that are narrower are enlarged by a whole factor: captions need the room.
const LEAST_WIDTH: u32 = 128;

/// A column for each method and a row for each of `shots`, under its prompt: in a row everything
/// but the method is the same. `None` if `stop` was requested before the end.
///
/// # Errors
///
/// Fails if the base refuses a prompt or the number of steps, and if a picture is not finite.
///
/// # Panics
///
/// Panics if there is no method.
pub fn side_by_side(
    base: &dyn Base,
    methods: &[Method],
    sampling: &Sampling,
    shots: &[Shot],
    stop: &Stop,
) -> Result<Option<RgbImage>, EvalError> {
    let mut columns: Vec<Vec<RgbImage>> = Vec::new();
    for method in methods {
        let mut column = Vec::new();
        let done =
            generate(base, method.adapted.as_ref(), sampling, shots, stop, &mut |_, batch| {
                column.extend(to_images(batch.images));
                Ok(())
            })?;
        if !done {
            return Ok(None);
        }
        columns.push(column.into_iter().map(enlarged).collect());
    }
    let pictures: Vec<RgbImage> =
        (0..shots.len()).flat_map(|row| columns.iter().map(move |c| c[row].clone())).collect();
    let over_columns: Vec<String> = methods.iter().map(|method| method.name.clone()).collect();
    let over_rows: Vec<String> =
        shots.iter().map(|shot| format!("{} (seed {})", shot.prompt, shot.seed)).collect();
    Ok(Some(captioned_grid(
        &pictures,
        methods.len(),
        &over_columns,
        &over_rows,
        GridStyle::default(),
    )))
}

/// By a whole factor, and without smoothing: what is shown is what was made.
fn enlarged(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    match LEAST_WIDTH / width.max(1) {
        0 | 1 => picture,
        times => imageops::resize(&picture, times * width, times * height, imageops::Nearest),
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SolverChoice;
    use hyperalign_models::hypernet::Variant;

    use super::*;
    use crate::eval::{
        Adapted,
        toy::{ToyBase, adapter},
    };

    #[test]
    fn rows_are_prompts_and_columns_methods() {
        let (base, adapter) = (ToyBase::new(), adapter(3, 0.5));
        let adapted = Adapted { adapter: &adapter, variant: Variant::S, key_steps: Vec::new() };
        let methods = [
            Method::base(),
            Method { name: "hyperalign-s".to_owned(), adapted: Some(adapted) },
            Method { name: "again".to_owned(), adapted: None },
        ];
        let sampling =
            Sampling { steps: 3, guidance_scale: 2.0, batch: 2, solver: SolverChoice::default() };
        let shots = [("a dog", 1), ("a car", 2)]
            .map(|(prompt, seed)| Shot { prompt: prompt.to_owned(), seed });
        let stop = Stop::default();
        let grid = side_by_side(&base, &methods, &sampling, &shots, &stop).unwrap().unwrap();
        let style = GridStyle::default();
        assert_eq!(grid.width(), 3 * (128 + style.margin) + style.margin);
        let bottom = grid.height() - style.margin - 128;
        let column = |k: u32| {
            let x = style.margin + k * (128 + style.margin);
            imageops::crop_imm(&grid, x, bottom, 128, 128).to_image()
        };
        assert!(column(0) == column(2), "the same method twice");
        assert!(column(0) != column(1), "the adapter does something");

        stop.request();
        assert!(side_by_side(&base, &methods, &sampling, &shots, &stop).unwrap().is_none());
    }
}
