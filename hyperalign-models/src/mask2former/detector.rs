//! A network with its class names and its preprocessing: from pictures to objects.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::{
    DetectorPreprocess, Instance, Mask2Former, Mask2FormerConfig, Pipeline,
    instances::SQUARE,
    mmdet::{COCO, TestPipeline, sizes_of},
    names::{extras, load},
};
use crate::weights::{Folder, Key, LoadError, Tensors, hash, published::MmdetNames, reinit};

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
    /// Classes that nothing gives names.
    #[error(
        "`{file}` knows {count} classes, and no config.json beside it names them; only the {known} \
         of COCO's instances are known without (133 are those of a head for panoptic \
         segmentation): give the file that GenEval names, \
         mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco"
    )]
    Unnamed {
        /// The file.
        file: String,
        /// How many classes it has.
        count: usize,
        /// How many are known by name.
        known: usize,
    },
}

/// A detector of objects: Mask2Former with a head for instances.
#[derive(Debug)]
pub struct Detector {
    network: Mask2Former,
    pipeline: Pipeline,
    config: Mask2FormerConfig,
    device: Device,
    version: String,
    passed_over: Vec<String>,
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
        let config = named(folder)?;
        Self::of_transformers(config, folder, &folder.tensors("")?, device)
    }

    /// Reads a file of weights: one of mmdetection, as `torch.save` or as safetensors, whose sizes
    /// and classes are read off its weights, or off a `config.json` in the layout of transformers
    /// beside it; or one of transformers, as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// Fails where [`open`](Self::open) does, and for a file of mmdetection with classes that have
    /// no names.
    pub fn open_file(path: &Path, device: &Device) -> Result<Self, DetectorError> {
        let tensors = Tensors::open_pytorch(path)?;
        let folder = Folder::disk(path.parent().unwrap_or(Path::new("")));
        let Some(names) = MmdetNames::of(&tensors) else {
            return Self::of_transformers(named(&folder)?, &folder, &tensors, device);
        };
        let config = match folder.contains("config.json") {
            true => named(&folder)?,
            false => own_sizes(&tensors, names)?,
        };
        Self::read(config, &tensors, Pipeline::Mmdet(TestPipeline::default()), device)
    }

    /// By `tensors` and what lies beside them in `folder`.
    fn of_transformers(
        config: Mask2FormerConfig,
        folder: &Folder,
        tensors: &Tensors,
        device: &Device,
    ) -> Result<Self, DetectorError> {
        let preprocess = match folder.contains("preprocessor_config.json") {
            true => folder.read_config("preprocessor_config.json")?,
            false => DetectorPreprocess::default(),
        };
        Self::read(config, tensors, Pipeline::Transformers(preprocess), device)
    }

    fn read(
        config: Mask2FormerConfig,
        tensors: &Tensors,
        pipeline: Pipeline,
        device: &Device,
    ) -> Result<Self, DetectorError> {
        let network = load(&config, tensors, device)?;
        let passed_over = extras(&config, tensors);
        Ok(Self { passed_over, ..Self::new(config, network, pipeline, device) })
    }

    /// A detector of these parts; the network lies on `device`.
    pub fn new(
        config: Mask2FormerConfig,
        network: Mask2Former,
        pipeline: Pipeline,
        device: &Device,
    ) -> Self {
        let version = format!("{:.12}{}", hash(&network), pipeline.mark());
        let device = device.clone();
        Self { network, pipeline, config, device, version, passed_over: Vec::new() }
    }

    /// The published sizes of Swin-S with random weights: for measuring time.
    pub fn random(device: &Device) -> Self {
        let config = Mask2FormerConfig::swin_small_coco();
        let network = reinit(config.init(device), 1);
        let pipeline = Pipeline::Transformers(DetectorPreprocess::default());
        Self::new(config, network, pipeline, device)
    }

    /// The name of each class.
    pub fn labels(&self) -> Vec<String> {
        self.config.labels()
    }

    /// What its file held beside the network and was not read.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// Whether it has the sizes of the published network over Swin-S, with COCO's 80 classes.
    pub fn is_published(&self) -> bool {
        let sizes = |config: &Mask2FormerConfig| Mask2FormerConfig {
            num_labels: Some(config.classes()),
            id2label: BTreeMap::new(),
            ..config.clone()
        };
        sizes(&self.config) == sizes(&Mask2FormerConfig::swin_small_coco())
    }

    /// What tells its finds from those of others: a hash of its weights, and what stands around them
    /// if that is not as transformers publishes it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The objects in each picture whose score is at least `threshold`, the surest first.
    pub fn detect(&self, pictures: &[RgbImage], threshold: f32) -> Vec<Vec<Instance>> {
        let size = |picture: &RgbImage| [picture.height() as usize, picture.width() as usize];
        let mut found = Vec::with_capacity(pictures.len());
        let prepared = |picture: &RgbImage| self.pipeline.prepared_size(size(picture));
        for alike in pictures.chunk_by(|a, b| prepared(a) == prepared(b)) {
            let images = alike.iter().map(|picture| self.pipeline.picture(picture, &self.device));
            let prediction = self.network.forward(Tensor::cat(images.collect(), 0));
            let sizes: Vec<_> = alike.iter().map(size).collect();
            found.extend(self.pipeline.instances(&prediction, &sizes, threshold));
        }
        found
    }

    /// About how many bytes each picture takes that is looked at together with others.
    ///
    /// Counted are numbers in f32 that are held at once: the prepared picture, the widest block of
    /// the backbone, the maps of the pixel decoder, and the masks of all predictions and on the
    /// square where they are judged. A picture is taken to be twice as wide as high, where that
    /// matters.
    pub fn memory_per_picture(&self) -> u64 {
        /// States of a block that are held at once, and hidden states of its perceptron.
        const BLOCK: usize = 10;
        /// Maps of the pixel decoder at its finest resolution.
        const MAPS: usize = 6;
        let config = &self.config;
        let edge = SQUARE * SQUARE;
        let pixels = match self.pipeline.prepared_size([SQUARE, 2 * SQUARE]) {
            [height, width] => height * width,
        };
        let patches = pixels / config.backbone_config.patch_size.pow(2);
        let hidden = config.backbone_config.mlp_ratio as usize;
        let backbone = patches * config.backbone_config.embed_dim * (BLOCK + 3 * hidden);
        let decoder = patches * config.feature_size * MAPS;
        let masks = patches * config.num_queries * (config.layers() + 2);
        let squares = 3 * edge * config.num_queries;
        (4 * (4 * 3 * pixels + backbone.max(decoder) + masks + squares)) as u64
    }
}

/// The configuration of a folder, if it is one for instances.
fn named(folder: &Folder) -> Result<Mask2FormerConfig, DetectorError> {
    let config: Mask2FormerConfig = folder.read_config("config.json")?;
    let is_stuff = |label: &&String| {
        let first = label.split([' ', '-', '_', ',']).next().unwrap_or_default();
        STUFF.iter().any(|stuff| first.eq_ignore_ascii_case(stuff))
    };
    match config.id2label.values().find(is_stuff).cloned() {
        Some(class) => Err(DetectorError::Stuff { folder: folder.display(""), class }),
        None => Ok(config),
    }
}

/// The sizes of a file that says them by its weights alone.
fn own_sizes(tensors: &Tensors, names: MmdetNames) -> Result<Mask2FormerConfig, DetectorError> {
    let key =
        |(name, shape): (&str, &[usize])| Key { name: name.to_owned(), shape: shape.to_vec() };
    let keys: Vec<Key> = tensors.iter().map(key).collect();
    let config = sizes_of(&keys, names);
    let file = tensors.name().to_owned();
    config.validate().map_err(|reason| LoadError::Config { file: file.clone(), reason })?;
    if config.id2label.is_empty() {
        return Err(DetectorError::Unnamed { file, count: config.classes(), known: COCO.len() });
    }
    Ok(config)
}
