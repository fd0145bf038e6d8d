//! Both pictures of every pair, and single pictures with a label.

use burn::tensor::Device;
use hyperalign_core::image::from_images;
use image::RgbImage;

use super::{PreferenceError, PreferredPictures};
use crate::data::{LabelData, Labelled, PairData, Pairs};

impl PreferredPictures {
    fn pair(&self, index: u64) -> Result<([RgbImage; 2], String), PreferenceError> {
        let pair = self.preferences().pair(index)?;
        let preferred = self.picture(&pair.prompt, &pair.preferred)?;
        let rejected = self.picture(&pair.prompt, &pair.rejected)?;
        Ok(([preferred, rejected], pair.prompt))
    }

    /// The preferred picture of an even item, the rejected one of an odd item.
    fn labelled(&self, index: u64, desirable: bool) -> Result<(RgbImage, String), PreferenceError> {
        let (prompt, file) = match desirable {
            true => self.preferences().preferred(index)?,
            false => self.preferences().rejected(index)?,
        };
        Ok((self.picture(&prompt, &file)?, prompt))
    }
}

impl PairData for PreferredPictures {
    /// A pair of which a picture is damaged is passed over; where too many are, as in
    /// [`batch`](crate::data::PreferredData::batch).
    fn pairs(&self, indices: &[u32], device: &Device) -> Pairs {
        let Some(items) = self.all(indices, |_, next| self.pair(next)) else {
            let (none, prompts) = self.none(indices.len(), device);
            return Pairs { preferred: none.clone(), rejected: none, prompts };
        };
        let (pictures, prompts): (Vec<[RgbImage; 2]>, Vec<String>) = items.into_iter().unzip();
        let (preferred, rejected): (Vec<RgbImage>, Vec<RgbImage>) =
            pictures.into_iter().map(|[preferred, rejected]| (preferred, rejected)).unzip();
        let tensor = |pictures: &[RgbImage]| from_images(pictures, device);
        Pairs { preferred: tensor(&preferred), rejected: tensor(&rejected), prompts }
    }
}

impl LabelData for PreferredPictures {
    /// Even items are preferred pictures, odd items rejected ones, as Diffusion-KTO
    /// (arXiv:2404.04465, section 5.1) makes labels of pairs: half of every batch of an even size is
    /// desirable, and every epoch shows the pictures of a pair in another order. Damaged pictures
    /// are passed over; where too many are, as in [`batch`](crate::data::PreferredData::batch).
    fn labelled(&self, indices: &[u32], device: &Device) -> Labelled {
        let is_desirable = |index: u32| index.is_multiple_of(2);
        let desirable = indices.iter().map(|&index| is_desirable(index)).collect();
        let read = |index, next| Self::labelled(self, next, is_desirable(index));
        let Some(items) = self.all(indices, read) else {
            let (images, prompts) = self.none(indices.len(), device);
            return Labelled { images, prompts, desirable };
        };
        let (pictures, prompts): (Vec<RgbImage>, Vec<String>) = items.into_iter().unzip();
        Labelled { images: from_images(&pictures, device), prompts, desirable }
    }
}
