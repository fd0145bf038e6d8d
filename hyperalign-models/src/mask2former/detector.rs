//! A network with its class names and its preprocessing: from pictures to objects.

use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::{
    DetectorPreprocess, Instance, Mask2Former, Mask2FormerConfig, instances,
    names::load,
};
use crate::weights::{Folder, LoadError, hash};

/// Beginnings of classes that are no things that one could count. Networks for panoptic and
/// semantic segmentation have some of them, those for instances none.
const STUFF: [&str; 5] = ["sky", "wall", "road", "floor", "grass"];

/// Why a folder is no detector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// Its files cannot be read, or are those of another network.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It segments stuff as well.
    #[error(
        "`{folder}` knows the class `{class}`, which is nothing to count: a head for panoptic or \
         semantic segmentation; give a network for instances, such as \
         facebook/mask2former-swin-small-coco-instance"
    )]
    Stuff {
        /// The folder.
        folder: String,
        /// The class.
        class: String,
    },
}

/// A detector of objects: Mask2Former with a head for instances.
#[derive(Debug)]
pub struct Detector {
    network: Mask2Former,
    preprocess: DetectorPreprocess,
    labels: Vec<String>,
    device: Device,
    version: String,
}

impl Detector {
    /// Reads the folder of a `Mask2FormerForUniversalSegmentation`: its `config.json`, its weights
    /// and, where there is one, its `preprocessor_config.json`.
    ///
    /// # Errors
    ///
    /// Fails if a file is missing or damaged or belongs to another network, and for a head that is
    /// not for instances.
    pub fn open(folder: &Folder, device: &Device) -> Result<Self, DetectorError> {
        let config: Mask2FormerConfig = folder.read_config("config.json")?;
        let labels = config.labels();
        let is_stuff = |label: &&String| {
            let first = label.split([' ', '-', '_', ',']).next().unwrap_or_default();
            STUFF.iter().any(|stuff| first.eq_ignore_ascii_case(stuff))
        };
        if let Some(class) = labels.iter().find(is_stuff).cloned() {
            return Err(DetectorError::Stuff { folder: folder.display(""), class });
        }
        let preprocess = match folder.contains("preprocessor_config.json") {
            true => folder.read_config("preprocessor_config.json")?,
            false => DetectorPreprocess::default(),
        };
        let tensors = folder.tensors("")?;
        let network = load(&config, &tensors, device, None)?;
        let version = hash(&network);
        Ok(Self { network, preprocess, labels, device: device.clone(), version })
    }

    /// The name of each class.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// A hash of its weights.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The objects in each picture whose score is at least `threshold`, the surest first.
    pub fn detect(&self, pictures: &[RgbImage], threshold: f32) -> Vec<Vec<Instance>> {
        let size = |picture: &RgbImage| [picture.height() as usize, picture.width() as usize];
        let mut found = Vec::with_capacity(pictures.len());
        let prepared = |picture: &RgbImage| self.preprocess.prepared_size(size(picture));
        for alike in pictures.chunk_by(|a, b| prepared(a) == prepared(b)) {
            let images = alike.iter().map(|picture| self.preprocess.picture(picture, &self.device));
            let prediction = self.network.forward(Tensor::cat(images.collect(), 0));
            let sizes: Vec<_> = alike.iter().map(size).collect();
            found.extend(instances(&prediction, &sizes, threshold));
        }
        found
    }
}
