//! The pictures of several methods side by side.

use hyperalign_core::image::{GridStyle, captioned_grid, to_images};
use hyperalign_models::{
    base::Base,
    generate::{Job, Meter, Sampling, Shot, generate},
};
use image::{RgbImage, imageops};

use super::{EvalError, Method};
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
        let job = Job { base, sampling, shots, decoder: None, meter: &Meter::default() };
        let done = generate(method.way.as_ref(), &job, stop, &mut |_, batch| {
            column.extend(to_images(batch.images));
            Ok::<_, EvalError>(())
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
        shots.iter().map(|shot| format!("{} (seed {})", shot.prompt.text, shot.seed)).collect();
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
    use hyperalign_models::hypernet::Variant;

    use super::*;
    use crate::eval::{
        Adapted, Dose, Plain,
        toy::{self, adapter},
    };

    #[test]
    fn rows_are_prompts_and_columns_methods() {
        let (base, adapter) = (toy::base(), adapter(3, 0.5));
        let adapted = Adapted {
            adapter: &adapter,
            variant: Variant::S,
            key_steps: Vec::new(),
            dose: Dose::default(),
        };
        let methods =
            [Method::base(), Method::new("hyperalign-s", adapted), Method::new("again", Plain)];
        let sampling = Sampling { batch: 2, ..Sampling::new(3, 2.0) };
        let shots = [Shot::new("a dog", 1), Shot::new("a car", 2)];
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
