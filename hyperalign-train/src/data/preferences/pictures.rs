//! Preferred pictures as a method learns from them.

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    image::{decode_picture, from_images},
    resize::{Filter, center_crop_u8, resize_u8},
};
use image::RgbImage;
use rayon::prelude::*;

use super::{PreferenceError, Preferences};
use crate::data::PreferredData;

/// How many damaged items in a row stand for a set that is damaged as a whole.
const PATIENCE: u64 = 64;

/// The preferred pictures of a set, at the size of a base: the shorter side is resized, as PIL
/// does it, and the middle cut out.
#[derive(Debug)]
pub struct PreferredPictures {
    preferences: Preferences,
    height: usize,
    width: usize,
}

impl PreferredPictures {
    /// Pictures of `[height, width]` pixels from `preferences`.
    ///
    /// # Errors
    ///
    /// Fails if the first item cannot be read: then the others most likely cannot, either.
    pub fn new(
        preferences: Preferences,
        [height, width]: [usize; 2],
    ) -> Result<Self, PreferenceError> {
        let pictures = Self { preferences, height, width };
        pictures.item(0)?;
        Ok(pictures)
    }

    /// The set.
    pub fn preferences(&self) -> &Preferences {
        &self.preferences
    }

    fn item(&self, index: u64) -> Result<(RgbImage, String), PreferenceError> {
        let (prompt, file) = self.preferences.preferred(index)?;
        Ok((self.picture(&prompt, &file)?, prompt))
    }

    /// The picture in the bytes of a file, at the size of the base.
    pub(super) fn picture(&self, prompt: &str, file: &[u8]) -> Result<RgbImage, PreferenceError> {
        let prompt = prompt.to_owned();
        match decode_picture(file) {
            Ok(picture) => Ok(self.fit(&picture)),
            Err(source) => Err(PreferenceError::Picture { prompt, source }),
        }
    }

    /// What `read` gives for the item, or for the next one that is whole. Which one that is depends
    /// on the files only, so a resumed run learns from the same.
    pub(super) fn whole<T>(
        &self,
        index: u64,
        read: impl Fn(u64) -> Result<T, PreferenceError>,
    ) -> T {
        let mut last = None;
        for next in index..index + PATIENCE {
            match read(next) {
                Ok(item) => return item,
                Err(error) => last = Some(error),
            }
        }
        let reason = last.map(|error| error.to_string()).unwrap_or_default();
        panic!("{PATIENCE} pictures in a row cannot be read, the last because: {reason}")
    }

    fn fit(&self, picture: &RgbImage) -> RgbImage {
        let (old_height, old_width) = (picture.height() as usize, picture.width() as usize);
        // The smallest size of the same proportions that covers the target.
        let by_height = self.height * old_width >= self.width * old_height;
        let (height, width) = if by_height {
            (self.height, (self.height * old_width / old_height).max(self.width))
        } else {
            ((self.width * old_height / old_width).max(self.height), self.width)
        };
        let resized = resize_u8(picture, width as u32, height as u32, Filter::Bicubic);
        center_crop_u8(&resized, self.width as u32, self.height as u32)
    }
}

impl PreferredData for PreferredPictures {
    /// Damaged items are passed over.
    ///
    /// # Panics
    ///
    /// Panics if many items in a row cannot be read.
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        let whole = |index: &u32| self.whole(u64::from(*index), |index| self.item(index));
        let items = indices.par_iter().map(whole);
        let (pictures, prompts): (Vec<RgbImage>, Vec<String>) =
            items.collect::<Vec<_>>().into_iter().unzip();
        (from_images(&pictures, device), prompts)
    }
}
