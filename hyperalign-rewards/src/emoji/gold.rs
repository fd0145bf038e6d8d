//! The gold scorer: the detector's finds, judged by GenEval's rules.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::detect::detect;
use super::parse::parse;
use super::{CHANNELS, Picture, SIZE};
use crate::geneval::{Row, Verdict, judge};
use crate::{Reward, ScoreError};

/// Whether `image` shows what `row` asks for.
pub fn gold(image: &Picture, row: &Row) -> Verdict {
    judge(&detect(image), row)
}

/// [`gold`] for many pictures, each with its own row, on all cores.
///
/// # Panics
///
/// Panics if there are not as many rows as pictures.
pub fn gold_batch(images: &[Picture], rows: &[Row]) -> Vec<Verdict> {
    assert_eq!(images.len(), rows.len(), "one row for each picture");
    images.par_iter().zip(rows).map(|(image, row)| gold(image, row)).collect()
}

/// Pictures of a batch that a network made.
///
/// # Shapes
///
/// - `images`: `[batch, 3, SIZE, SIZE]`, in `[-1, 1]`
///
/// # Panics
///
/// Panics for other shapes.
pub fn pictures(images: &Tensor<4>) -> Vec<Picture> {
    let [_, channels, height, width] = images.dims();
    assert_eq!([channels, height, width], [CHANNELS, SIZE, SIZE], "pictures of the emoji world");
    let data = images.clone().detach().into_data().convert::<f32>();
    let values = data.as_slice::<f32>().expect("converted to f32 above");
    values.chunks_exact(CHANNELS * SIZE * SIZE).map(Picture::from_signed).collect()
}

/// The gold scorer as a [`Reward`]: 1 where every rule is met, 0 elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gold;

impl Reward for Gold {
    fn name(&self) -> &str {
        "gold"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    /// # Panics
    ///
    /// Panics if a prompt is not one of this world; [`parse`] tells before.
    fn score(&self, images: Tensor<4>, prompts: &[String]) -> Tensor<1> {
        let row = |prompt: &String| {
            parse(prompt).unwrap_or_else(|error| panic!("the gold scorer needs a row: {error}"))
        };
        let rows: Vec<Row> = prompts.iter().map(row).collect();
        let verdicts = gold_batch(&pictures(&images), &rows);
        let scores: Vec<f32> =
            verdicts.iter().map(|verdict| f32::from(u8::from(verdict.correct))).collect();
        let count = scores.len();
        Tensor::from_data(TensorData::new(scores, [count]), &images.device())
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn check(&self, [height, width]: [usize; 2], prompts: &[String]) -> Result<(), ScoreError> {
        if [height, width] != [SIZE; 2] {
            let (name, expected) = (self.name().to_owned(), SIZE);
            return Err(ScoreError::PictureSize { name, expected, height, width });
        }
        prompts.iter().try_for_each(|prompt| {
            parse(prompt).map(|_| ()).map_err(|error| ScoreError::World(error.to_string()))
        })
    }
}
