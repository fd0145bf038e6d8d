//! The colour of an object, by CLIP.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use burn::tensor::{Device, Tensor};
use hyperalign_models::{
    clip::{ClipModel, ClipPreprocess, normalize},
    mask2former::{Bounds, Mask},
    tokenizer::{Tokenizer, TokenizerError},
};
use image::{Rgb, RgbImage, imageops};

/// The colours that GenEval tells apart, in its order.
pub const COLORS: [&str; 10] =
    ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"];

/// What the background of an object is painted with: `#999`.
const BACKGROUND: Rgb<u8> = Rgb([0x99; 3]);
/// Crops that go through the network at once.
const BATCH: usize = 16;
/// A crop longer than this many times its width is cut to it at both ends. Preprocessing takes the
/// middle square, and would enlarge all of the crop before.
const MOST_ELONGATED: u32 = 64;

/// The texts whose features stand for a colour of objects of a class.
fn texts(color: &str, class: &str) -> [String; 3] {
    [
        format!("a photo of a {color} {class}"),
        format!("a photo of a {color}-colored {class}"),
        format!("a photo of a {color} object"),
    ]
}

/// Tells the colours of objects apart by the cosine of CLIP's features of the object, on a grey
/// background, and of texts (Ghosh et al. 2023, arXiv:2310.11513, section 3.2, as the published
/// evaluation carries it out).
#[derive(Debug)]
pub struct ColorClassifier {
    model: ClipModel,
    tokenizer: Tokenizer,
    preprocess: ClipPreprocess,
    device: Device,
    /// By class, `[dim, colours]`.
    classifiers: Mutex<HashMap<String, Tensor<2>>>,
}

impl ColorClassifier {
    /// A classifier by this CLIP, which lies on `device`.
    pub fn new(model: ClipModel, tokenizer: Tokenizer, device: &Device) -> Self {
        let preprocess = ClipPreprocess::new(model.config().vision_config.image_size);
        let (device, classifiers) = (device.clone(), Mutex::default());
        Self { model, tokenizer, preprocess, device, classifiers }
    }

    /// The network.
    pub fn model(&self) -> &ClipModel {
        &self.model
    }

    /// Whether the texts about objects of `class` can be encoded.
    ///
    /// # Errors
    ///
    /// Fails for words that the tokenizer does not know.
    pub fn check(&self, class: &str) -> Result<(), TokenizerError> {
        self.tokenizer.encode(&texts(COLORS[0], class).each_ref().map(String::as_str)).map(|_| ())
    }

    /// The cosine of each object of a picture with each colour, where `objects` are of `class`.
    ///
    /// # Panics
    ///
    /// Panics for a class that [`check`](Self::check) refuses, and for a mask of another size than
    /// the picture's.
    pub fn cosines(
        &self,
        picture: &RgbImage,
        objects: &[(&Mask, Bounds)],
        class: &str,
    ) -> Vec<[f32; COLORS.len()]> {
        let classifier = self.classifier(class);
        let mut cosines = Vec::with_capacity(objects.len());
        for batch in objects.chunks(BATCH) {
            let crops = batch.iter().map(|(mask, bounds)| {
                self.preprocess.picture(&crop(picture, mask, *bounds), &self.device)
            });
            let features = self.model.image_features(Tensor::cat(crops.collect(), 0));
            let found = normalize(features).matmul(classifier.clone());
            let found: Vec<f32> = found.into_data_as::<f32>().iter::<f32>().collect();
            cosines.extend(found.as_chunks::<{ COLORS.len() }>().0);
        }
        cosines
    }

    /// The colour of each object.
    ///
    /// # Panics
    ///
    /// Panics where [`cosines`](Self::cosines) does.
    pub fn colors(
        &self,
        picture: &RgbImage,
        objects: &[(&Mask, Bounds)],
        class: &str,
    ) -> Vec<&'static str> {
        self.cosines(picture, objects, class).iter().map(|cosines| surest(cosines)).collect()
    }

    /// The normalised mean of the normalised features of each colour's texts, `[dim, colours]`.
    fn classifier(&self, class: &str) -> Tensor<2> {
        let mut known = self.classifiers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(classifier) = known.get(class) {
            return classifier.clone();
        }
        let rows = COLORS.map(|color| {
            let texts = texts(color, class);
            let ids = self.tokenizer.encode(&texts.each_ref().map(String::as_str));
            let ids = ids.unwrap_or_else(|error| panic!("no colours of `{class}`: {error}"));
            let features = normalize(self.model.text_features(ids.to_tensor(&self.device)));
            normalize(features.mean_dim(0))
        });
        let classifier = Tensor::cat(rows.to_vec(), 0).transpose();
        known.insert(class.to_owned(), classifier.clone());
        classifier
    }
}

/// The colour of the largest cosine; of equal ones the first, as in the published code.
fn surest(cosines: &[f32; COLORS.len()]) -> &'static str {
    let first = (COLORS[0], cosines[0]);
    let colors = COLORS.into_iter().zip(*cosines);
    colors.fold(first, |best, one| if one.1 > best.1 { one } else { best }).0
}

/// The picture within `bounds`, grey where it is not part of the object.
///
/// # Panics
///
/// Panics if the mask is not of the picture's size.
pub fn crop(picture: &RgbImage, mask: &Mask, bounds: Bounds) -> RgbImage {
    let size = [picture.width() as usize, picture.height() as usize];
    assert_eq!(mask.size(), size, "a mask of the picture's size");
    let Bounds { left, top, right, bottom } = bounds;
    let (width, height) = ((right - left) as u32, (bottom - top) as u32);
    let (left, top) = (left as u32, top as u32);
    let object = RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (left + x, top + y);
        match mask.contains(x as usize, y as usize) {
            true => *picture.get_pixel(x, y),
            false => BACKGROUND,
        }
    });
    let most = MOST_ELONGATED * width.min(height);
    let (kept_width, kept_height) = (width.min(most), height.min(most));
    if (kept_width, kept_height) == (width, height) {
        return object;
    }
    let (left, top) = ((width - kept_width) / 2, (height - kept_height) / 2);
    imageops::crop_imm(&object, left, top, kept_width, kept_height).to_image()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_is_grey() {
        let picture = RgbImage::from_fn(4, 3, |x, y| Rgb([x as u8, y as u8, 0]));
        let mut pixels = vec![false; 12];
        pixels[5] = true;
        pixels[10] = true;
        let mask = Mask::new(4, pixels);
        let crop = crop(&picture, &mask, mask.bounds().unwrap());
        let grey = [0x99; 3];
        let found: Vec<[u8; 3]> = crop.pixels().map(|pixel| pixel.0).collect();
        assert_eq!((crop.dimensions(), found), ((2, 2), vec![[1, 1, 0], grey, grey, [2, 2, 0]]));
    }

    #[test]
    fn a_line_is_cut_to_what_preprocessing_can_enlarge() {
        let picture = RgbImage::new(1, 1000);
        let mask = Mask::new(1, vec![true; 1000]);
        assert_eq!(crop(&picture, &mask, mask.bounds().unwrap()).dimensions(), (1, 64));
    }

    #[test]
    fn equal_cosines() {
        let mut cosines = [0.1; 10];
        assert_eq!(surest(&cosines), "red");
        cosines[3] = 0.2;
        cosines[7] = 0.2;
        assert_eq!(surest(&cosines), "green");
    }
}
