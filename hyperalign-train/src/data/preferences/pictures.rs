//! Preferred pictures as a method learns from them.

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    image::{decode_picture, from_images},
    resize::{Filter, center_crop_u8, resize_u8},
};
use image::RgbImage;
use rayon::prelude::*;

use super::{
    PreferenceError, Preferences,
    tally::{CHECKED, Tally},
};
use crate::data::PreferredData;

/// The preferred pictures of a set, at the size of a base: the shorter side is resized, as PIL
/// does it, and the middle cut out. The orientation that cameras write is not applied, here as
/// where pictures are scored.
#[derive(Debug)]
pub struct PreferredPictures {
    preferences: Preferences,
    height: usize,
    width: usize,
    tally: Tally,
    notes: Vec<String>,
}

impl PreferredPictures {
    /// The share of damaged pictures that is passed over where nobody says another: one in ten.
    pub const MOST_DAMAGED: f64 = 0.1;

    /// Pictures of `[height, width]` pixels from `preferences`, of which a share of `most_damaged`
    /// may be damaged and is passed over. The first items of the order are read, so that a set
    /// with too many is refused before anything is learned.
    ///
    /// # Errors
    ///
    /// Fails if more than that share, rounded up to whole pictures, cannot be read.
    pub fn new(
        preferences: Preferences,
        [height, width]: [usize; 2],
        most_damaged: f64,
    ) -> Result<Self, PreferenceError> {
        let drawn = preferences.reach(CHECKED)?.min(CHECKED);
        let pairs = preferences.len() as u64;
        let tally = Tally::new(most_damaged);
        let mut notes = Vec::new();
        let without_caption = preferences.without_caption();
        if without_caption > 0 {
            notes.push(format!(
                "{without_caption} of {} pairs have no caption and are left out",
                without_caption as u64 + pairs
            ));
        }
        let read = |index: u64| {
            preferences.preferred(index).and_then(|(prompt, file)| {
                let decoded = decode_picture(&file).map(drop);
                decoded.map_err(|source| PreferenceError::Picture { prompt, source })
            })
        };
        let errors: Vec<PreferenceError> =
            (0..drawn).into_par_iter().filter_map(|index| read(index).err()).collect();
        if let Some(first) = errors.first().map(ToString::to_string) {
            let damaged = errors.len() as u64;
            tally.check(damaged, [drawn, pairs], Some(&first))?;
            notes.push(format!(
                "{damaged} of {drawn} pictures cannot be read and are passed over; the first: \
                 {first}"
            ));
        }
        Ok(Self { preferences, height, width, tally, notes })
    }

    /// The set.
    pub fn preferences(&self) -> &Preferences {
        &self.preferences
    }

    /// What was left out and what will be passed over, in a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
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
    /// on the files only, so a resumed run learns from the same. The second value is how many were
    /// passed over.
    fn whole<T>(
        &self,
        index: u64,
        read: impl Fn(u64) -> Result<T, PreferenceError>,
    ) -> Result<(T, u64), PreferenceError> {
        self.tally.drawn();
        let mut next = index;
        loop {
            // A file that cannot be fetched is no damaged picture: nothing is passed over.
            let row = self.preferences.row(next)?;
            match read(next) {
                Ok(item) => return Ok((item, next - index)),
                // With every picture damaged, this fails after one round.
                Err(error) => self.tally.damaged(row, self.preferences.known_len(), &error)?,
            }
            next += 1;
        }
    }

    /// What `read` gives for each of the items `indices`, damaged ones passed over. None once too
    /// many are: why, [`fault`](PreferredData::fault) tells.
    pub(super) fn all<T: Send>(
        &self,
        indices: &[u32],
        read: impl Fn(u32, u64) -> Result<T, PreferenceError> + Sync,
    ) -> Option<Vec<T>> {
        let items =
            indices.par_iter().map(|&index| self.whole(u64::from(index), |next| read(index, next)));
        match items.collect::<Result<Vec<(T, u64)>, _>>() {
            Ok(items) => {
                let passed_over = items.iter().map(|(_, passed_over)| passed_over).sum();
                self.tally.count_here(passed_over, indices.len() as u64);
                Some(items.into_iter().map(|(item, _)| item).collect())
            }
            Err(error) => {
                self.tally.give_up(error);
                None
            }
        }
    }

    /// Pictures that are not numbers, in the place of `count` that cannot be read: no loss of them is
    /// a number, and no weight is touched.
    pub(super) fn none(&self, count: usize, device: &Device) -> (Tensor<4>, Vec<String>) {
        let shape = [count, 3, self.height, self.width];
        (Tensor::full(shape, f32::NAN, device), vec![String::new(); count])
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
    /// Damaged items are passed over. Once too many are, the pictures are not numbers: no loss of
    /// them is, and no weight is touched before [`fault`](PreferredData::fault) is asked why.
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        match self.all(indices, |_, next| self.item(next)) {
            Some(items) => {
                let (pictures, prompts): (Vec<RgbImage>, Vec<String>) = items.into_iter().unzip();
                (from_images(&pictures, device), prompts)
            }
            None => self.none(indices.len(), device),
        }
    }

    fn passed_over(&self) -> Option<(u64, u64)> {
        Some(self.tally.take_here())
    }

    fn fault(&self) -> Option<PreferenceError> {
        self.tally.fault()
    }
}
