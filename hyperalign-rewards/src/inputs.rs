//! Pictures and prompts on their way into a network.

use burn::tensor::{Device, Int, Tensor};
use hyperalign_models::tokenizer::Tokenizer;
use image::RgbImage;

use crate::{OpenError, Prompt, ScoreError, emoji};

/// A picture longer than this many times its width says nothing after a square was cut out of
/// it, and would fill the memory when its shorter side is enlarged.
const MOST_ELONGATED: usize = 64;

/// How the published scorer prepares 8-bit pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pictures {
    /// By PIL: rounded to 8 bits after each axis.
    Pil,
    /// As tensors, by torch's resize: not rounded.
    Tensor,
}

/// A tokenizer that goes with random weights.
pub(crate) fn random_tokenizer(context_length: usize) -> Result<Tokenizer, OpenError> {
    let words = emoji::vocabulary();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(Tokenizer::from_words(&words, context_length)?)
}

/// The device of `x` without a tape: weights and ids are constants.
pub(crate) fn plain(x: &Tensor<4>) -> Device {
    if x.is_autodiff() { x.device().inner() } else { x.device() }
}

/// Pixels in `[0, 1]` from those in `[-1, 1]`. What a decoder put outside is clipped, as it is
/// when the picture is stored.
pub(crate) fn unit(images: Tensor<4>) -> Tensor<4> {
    images.add_scalar(1.0).div_scalar(2.0).clamp(0.0, 1.0)
}

/// What `score` gives to 8-bit pictures, each of which `prepare` has made a row of.
///
/// # Panics
///
/// Panics if there are not as many prompts as pictures.
pub(crate) fn score_prepared(
    pictures: &[RgbImage],
    prompts: &[Prompt],
    prepare: impl Fn(&RgbImage) -> Tensor<4>,
    score: impl FnOnce(Tensor<4>) -> Tensor<1>,
) -> Vec<f32> {
    assert_eq!(pictures.len(), prompts.len(), "one prompt for each picture");
    if pictures.is_empty() {
        return Vec::new();
    }
    let prepared = Tensor::cat(pictures.iter().map(prepare).collect(), 0);
    score(prepared).into_data().iter().collect()
}

/// The ids of prompts.
///
/// # Panics
///
/// Panics for prompts that the tokenizer refuses.
pub(crate) fn ids(
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    name: &str,
    device: &Device,
) -> Tensor<2, Int> {
    let texts: Vec<&str> = prompts.iter().map(|prompt| prompt.text.as_str()).collect();
    tokenizer
        .encode(&texts)
        .unwrap_or_else(|error| panic!("`{name}` cannot score these prompts: {error}"))
        .to_tensor(device)
}

/// Whether prompts can be encoded.
pub(crate) fn check_prompts(tokenizer: &Tokenizer, prompts: &[Prompt]) -> Result<(), ScoreError> {
    let texts: Vec<&str> = prompts.iter().map(|prompt| prompt.text.as_str()).collect();
    tokenizer.encode(&texts).map_err(ScoreError::prompt)?;
    Ok(())
}

/// Whether a square can be cut out of a picture.
pub(crate) fn check_size(name: &str, [height, width]: [usize; 2]) -> Result<(), ScoreError> {
    let (shorter, longer) = (height.min(width), height.max(width));
    if shorter == 0 || longer > MOST_ELONGATED * shorter {
        let name = name.to_owned();
        return Err(ScoreError::Elongated { name, height, width, most: MOST_ELONGATED });
    }
    Ok(())
}
