//! The gold scorer: the detector's finds, judged by GenEval's rules.

use std::borrow::Cow;

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::detect::detect;
use super::parse::{PromptError, parse};
use super::{CHANNELS, Picture, SIZE};
use crate::geneval::{Row, Verdict, judge};
use crate::{Prompt, Reads, Reward, ScoreError};

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

/// The rules of `prompt`: its own, or those that its words mean in this world.
fn row_of(prompt: &Prompt) -> Result<Cow<'_, Row>, PromptError> {
    match &prompt.row {
        Some(row) => Ok(Cow::Borrowed(row)),
        None => parse(&prompt.text).map(Cow::Owned),
    }
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

    /// A prompt without rules, whose words mean none either, has no score: NaN.
    /// [`check`](Reward::check) tells before.
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let pictures = pictures(&images);
        assert_eq!(pictures.len(), prompts.len(), "one prompt for each picture");
        let score = |(picture, prompt): (&Picture, &Prompt)| match row_of(prompt) {
            Ok(row) => f32::from(u8::from(gold(picture, &row).correct)),
            Err(_) => f32::NAN,
        };
        let scores: Vec<f32> = pictures.par_iter().zip(prompts).map(score).collect();
        let count = scores.len();
        Tensor::from_data(TensorData::new(scores, [count]), &images.device())
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn check(&self, [height, width]: [usize; 2], prompts: &[Prompt]) -> Result<(), ScoreError> {
        if [height, width] != [SIZE; 2] {
            let (name, expected) = (self.name().to_owned(), SIZE);
            return Err(ScoreError::PictureSize { name, expected, height, width });
        }
        prompts.iter().try_for_each(|prompt| match row_of(prompt) {
            Ok(_) => Ok(()),
            Err(error) => Err(ScoreError::NoRules {
                name: self.name().to_owned(),
                prompt: prompt.text.clone(),
                reason: error.to_string(),
            }),
        })
    }

    fn reads(&self) -> Reads {
        Reads::Tensors
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use hyperalign_core::noise::{Purpose, Stream};

    use super::*;
    use crate::emoji::{Caption, World, data};

    /// The rules decide, whatever the words are; without rules the words do.
    #[test]
    fn a_prompt_is_judged_by_its_row() {
        let caption = Caption::parse("a dog").unwrap();
        let scene = World::SMALL.scene(&caption, &mut Stream::new(4, Purpose::World, 0, 0));
        let values = data::batch([&Picture::render(&scene)]);
        let image = Tensor::from_data(TensorData::new(values, [1, 3, 64, 64]), &Device::default());
        let score = |prompt: Prompt| Gold.measure(&image, &[prompt])[0];
        let heart = Prompt { text: "a dog".to_owned(), ..parse("a red heart").unwrap().into() };
        assert_eq!(score("a dog".into()), 1.0);
        assert_eq!(score(heart), 0.0);
        assert!(score("a gryphon".into()).is_nan());
        let error = Gold.check([64; 2], &["a gryphon".into()]).unwrap_err().to_string();
        assert!(error.contains("`a gryphon`"), "{error}");
    }
}
