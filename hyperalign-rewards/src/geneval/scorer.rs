//! GenEval's scorer for real pictures: objects by Mask2Former, colours by CLIP, and the rules.

use burn::tensor::{Device, Tensor};
use hyperalign_core::image::to_images;
use hyperalign_models::{
    clip::{ClipConfig, ClipModel},
    mask2former::{Detector, Instance},
    weights::Folder,
};
use image::RgbImage;

use super::{COLORS, ColorClassifier, Detection, Protocol, Row, Verdict, judge};
use crate::{
    ClipReward, OpenError, Reward, ScoreError,
    clip_kind::{OTHER_SIZES, fingerprint},
    clip_score, memory,
    prompts::Prompt,
    registry::Entry,
    source::{Source, differences},
};

const NAME: &str = "geneval";
/// Where the detector lies in the folder, and where CLIP does.
const DETECTOR: &str = "detector";
const CLIP: &str = "clip";
/// What files of mmdetection end in.
const CHECKPOINT: &str = "pth";

pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    about: "whether pictures meet GenEval's rules, by Mask2Former and CLIP; for prompts with rules",
    files: "in it or in its folder `detector` the detector that GenEval names, \
            mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.pth, or config.json, \
            preprocessor_config.json and model.safetensors of \
            facebook/mask2former-swin-small-coco-instance; in its folder `clip` \
            model.safetensors, config.json, vocab.json and merges.txt of \
            openai/clip-vit-large-patch14",
    open: |source, device| Ok(Box::new(GenEval::open(source, device)?)),
    random: |device| Ok(Box::new(GenEval::random(device)?)),
};

/// Names of COCO's classes that detectors know under another name than GenEval.
const SYNONYMS: [(&str, &str); 13] = [
    ("mouse", "computer mouse"),
    ("remote", "tv remote"),
    ("keyboard", "computer keyboard"),
    ("motorbike", "motorcycle"),
    ("aeroplane", "airplane"),
    ("sofa", "couch"),
    ("pottedplant", "potted plant"),
    ("diningtable", "dining table"),
    ("tvmonitor", "tv"),
    ("hair dryer", "hair drier"),
    ("doughnut", "donut"),
    ("cellphone", "cell phone"),
    ("mobile phone", "cell phone"),
];

/// GenEval's scorer for pictures of any model (Ghosh et al. 2023, arXiv:2310.11513): 1 where a
/// picture meets the rules of its prompt, else 0.
///
/// The rules are those of [`judge`], the same engine that judges the embedded world. With the
/// detector of mmdetection that GenEval names, pictures are prepared and masks are cut as there;
/// with one of transformers as transformers does.
#[derive(Debug)]
pub struct GenEval {
    detector: Detector,
    /// None without a CLIP.
    colors: Option<ColorClassifier>,
    protocol: Protocol,
    /// GenEval's name of each class of the detector.
    classes: Vec<String>,
}

/// An object that was found in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// GenEval's name of its class.
    pub class: String,
    /// Its colour, where it was asked for.
    pub color: Option<&'static str>,
    /// Where it is, and how sure that is.
    pub instance: Instance,
}

impl GenEval {
    /// Opens the networks in the folder `path`: the detector in its folder `detector`, or in itself,
    /// and in its folder `clip` the CLIP that tells colours apart, which may be missing where none
    /// are asked for. Both may be of any sizes; [`version`](Reward::version) says so. A detector is a
    /// file of mmdetection, the only `.pth` in its folder, or else a folder of transformers; `path`
    /// may also be that file.
    ///
    /// # Errors
    ///
    /// Fails if a file is missing, damaged, or belongs to another network.
    pub fn from_folder(path: &std::path::Path, device: &Device) -> Result<Self, OpenError> {
        Self::open(&Source::new(path)?, device)
    }

    fn open(source: &Source, device: &Device) -> Result<Self, OpenError> {
        let detector = match source.named() {
            Some(file) => Detector::open_file(file, device)?,
            None => Self::detector(source, device)?,
        };
        let colors = match source.part(CLIP) {
            Some(clip) => {
                let ClipReward { model, tokenizer, .. } =
                    clip_score::open(&clip.of_any_sizes(), device)?;
                Some(ColorClassifier::new(model, tokenizer, device))
            }
            None => None,
        };
        Ok(Self::new(detector, colors))
    }

    /// The detector in the folder, or in its folder `detector`.
    fn detector(source: &Source, device: &Device) -> Result<Detector, OpenError> {
        let own = || {
            let is_own = source.folder().join("config.json").is_file()
                || source.only_file(CHECKPOINT).is_some();
            is_own.then(|| source.clone())
        };
        let part = source.part(DETECTOR).or_else(own).ok_or_else(|| OpenError::NoPart {
            folder: source.folder().to_owned(),
            part: DETECTOR,
            files: ENTRY.files,
        })?;
        Ok(match part.only_file(CHECKPOINT) {
            Some(file) => Detector::open_file(&file, device)?,
            None => Detector::open(&Folder::disk(part.folder()), device)?,
        })
    }

    /// A scorer by these networks.
    pub fn new(detector: Detector, colors: Option<ColorClassifier>) -> Self {
        let name = |label: &String| {
            let synonym = SYNONYMS.iter().find(|(theirs, _)| label.eq_ignore_ascii_case(theirs));
            synonym.map_or_else(|| label.clone(), |(_, ours)| (*ours).to_owned())
        };
        let classes = detector.labels().iter().map(name).collect();
        Self { detector, colors, protocol: Protocol::default(), classes }
    }

    fn random(device: &Device) -> Result<Self, OpenError> {
        let ClipReward { model, tokenizer, .. } = clip_score::random(device)?;
        let colors = ColorClassifier::new(model, tokenizer, device);
        Ok(Self::new(Detector::random(device), Some(colors)))
    }

    /// The classes that it finds, by GenEval's names.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What is done with the detector's finds.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Every object in each picture whose score is above `confidence`, the surest first, with its
    /// colour where there is a CLIP.
    ///
    /// # Errors
    ///
    /// Fails if the tokenizer does not know the words of a class.
    pub fn look(
        &self,
        pictures: &[RgbImage],
        confidence: f32,
    ) -> Result<Vec<Vec<Object>>, ScoreError> {
        let found = self.detector.detect(pictures, confidence);
        let found = pictures.iter().zip(&found);
        found.map(|(picture, instances)| self.objects(picture, instances, confidence)).collect()
    }

    /// [`look`](Self::look) at one picture and [`judge`](Self::judge) it by `row`, with one pass of
    /// the detector.
    ///
    /// # Errors
    ///
    /// Fails where [`look`](Self::look) and [`check_rows`](Self::check_rows) do.
    pub fn look_and_judge(
        &self,
        picture: &RgbImage,
        confidence: f32,
        row: &Row,
    ) -> Result<(Vec<Object>, Verdict), ScoreError> {
        self.check_rows([row])?;
        // What either asks for; both leave out what is below their own.
        let least = confidence.min(self.protocol.confidence);
        let instances = self.detector.detect(std::slice::from_ref(picture), least).remove(0);
        let verdict = judge(&self.detections(picture, &instances, row), row);
        Ok((self.objects(picture, &instances, confidence)?, verdict))
    }

    /// The finds in a picture above `confidence`, with their colours.
    fn objects(
        &self,
        picture: &RgbImage,
        instances: &[Instance],
        confidence: f32,
    ) -> Result<Vec<Object>, ScoreError> {
        let object = |instance: &Instance| {
            let class = self.classes[instance.class].clone();
            let of = [(&instance.mask, instance.bounds)];
            let color = match &self.colors {
                Some(colors) => {
                    colors.check(&class).map_err(ScoreError::prompt)?;
                    colors.colors(picture, &of, &class).first().copied()
                }
                None => None,
            };
            Ok(Object { class, color, instance: instance.clone() })
        };
        let above = instances.iter().filter(|instance| instance.score > confidence);
        above.map(object).collect()
    }

    /// Whether each picture meets its rules, and why not.
    ///
    /// # Panics
    ///
    /// Panics if there is not one row for each picture, and for rows that
    /// [`check_rows`](Self::check_rows) refuses.
    pub fn judge(&self, pictures: &[RgbImage], rows: &[Row]) -> Vec<Verdict> {
        assert_eq!(pictures.len(), rows.len(), "one row for each picture");
        let found = self.detector.detect(pictures, self.protocol.confidence);
        let judged = pictures.iter().zip(found).zip(rows).map(|((picture, instances), row)| {
            judge(&self.detections(picture, &instances, row), row)
        });
        judged.collect()
    }

    /// What the rules are told of: the finds that count for the row, and the colours of those whose
    /// colour it asks for.
    fn detections(&self, picture: &RgbImage, instances: &[Instance], row: &Row) -> Vec<Detection> {
        let kept = self.protocol.kept(instances, row.tag);
        let mut detections: Vec<Detection> = kept
            .iter()
            .map(|instance| Detection {
                class: self.classes[instance.class].clone(),
                color: None,
                bounds: instance.bounds.into(),
                score: instance.score,
            })
            .collect();
        let Some(classifier) = &self.colors else { return detections };
        for include in row.include.iter().filter(|include| include.color.is_some()) {
            // Those that the rules take: the surest of the class, as many as are asked for.
            let of_class = |k: &usize| detections[*k].class == include.class;
            let taken: Vec<usize> =
                (0..detections.len()).filter(of_class).take(include.count).collect();
            if taken.len() < include.count {
                continue;
            }
            let objects: Vec<_> = taken.iter().map(|k| (&kept[*k].mask, kept[*k].bounds)).collect();
            let colors = classifier.colors(picture, &objects, &include.class);
            for (k, color) in taken.into_iter().zip(colors) {
                detections[k].color = Some(color.to_owned());
            }
        }
        detections
    }

    /// Whether pictures can be judged by `rows`.
    ///
    /// # Errors
    ///
    /// Fails for a class that the detector does not find, a colour that is not told apart or that
    /// there is no CLIP for, and words that the tokenizer does not know.
    pub fn check_rows<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a Row>,
    ) -> Result<(), ScoreError> {
        for row in rows {
            let included = row.include.iter().map(|clause| &clause.class);
            for class in included.chain(row.exclude.iter().map(|clause| &clause.class)) {
                if !self.classes.contains(class) {
                    return Err(self.unknown_class(class));
                }
            }
            for include in &row.include {
                let Some(color) = &include.color else { continue };
                if !COLORS.contains(&color.as_str()) {
                    let (color, known) = (color.clone(), COLORS.join(", "));
                    return Err(ScoreError::UnknownColor { color, known });
                }
                let colors = self.colors.as_ref().ok_or_else(|| ScoreError::NoColors {
                    prompt: row.prompt.clone(),
                    files: ENTRY.files,
                })?;
                colors.check(&include.class).map_err(ScoreError::prompt)?;
            }
        }
        Ok(())
    }

    fn unknown_class(&self, class: &str) -> ScoreError {
        let nearest = hyperalign_core::nearest(class, self.classes.iter().map(String::as_str));
        ScoreError::UnknownClass {
            class: class.to_owned(),
            count: self.classes.len(),
            nearest: nearest.map(str::to_owned),
        }
    }
}

impl Reward for GenEval {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> String {
        let clip = self.colors.as_ref().map(ColorClassifier::model);
        let others = |clip: &ClipModel| differences(clip.config(), &ClipConfig::vit_l_14());
        let is_published =
            self.detector.is_published() && clip.is_none_or(|c| others(c).is_empty());
        let sizes = if is_published { String::new() } else { format!("{OTHER_SIZES} ") };
        let clip =
            clip.map_or_else(|| "no CLIP".to_owned(), |c| format!("CLIP {}", fingerprint(c)));
        format!("{sizes}Mask2Former {}, {clip}", self.detector.version())
    }

    /// # Panics
    ///
    /// Panics for prompts that [`check`](Reward::check) refuses.
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        let device = images.device();
        let scores = self.score_pictures(&to_images(images), prompts, &device);
        Tensor::from_data(&scores[..], &device)
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn needs_rules(&self) -> bool {
        true
    }

    /// # Panics
    ///
    /// Panics for prompts that [`check`](Reward::check) refuses.
    fn score_pictures(&self, pictures: &[RgbImage], prompts: &[Prompt], _: &Device) -> Vec<f32> {
        let row = |prompt: &Prompt| {
            prompt.row.clone().unwrap_or_else(|| panic!("`{}` has no rules", prompt.text))
        };
        let rows: Vec<Row> = prompts.iter().map(row).collect();
        let verdicts = self.judge(pictures, &rows);
        verdicts.iter().map(|verdict| f32::from(u8::from(verdict.correct))).collect()
    }

    fn needs_prompt(&self) -> bool {
        false
    }

    fn check(&self, _: [usize; 2], prompts: &[Prompt]) -> Result<(), ScoreError> {
        for prompt in prompts {
            let Some(row) = &prompt.row else {
                let (name, prompt) = (NAME.to_owned(), prompt.text.clone());
                let reason =
                    "give GenEval's metadata, a .jsonl of {\"tag\", \"include\", \"prompt\"}";
                return Err(ScoreError::NoRules { name, prompt, reason: reason.to_owned() });
            };
            self.check_rows([row])?;
        }
        Ok(())
    }

    fn memory_per_picture(&self) -> u64 {
        let objects = self.colors.as_ref().map(|colors| colors.model().config());
        let objects = objects.map_or(0, memory::of_clip_pictures);
        self.detector.memory_per_picture().max(objects)
    }

    fn passed_over(&self) -> Vec<String> {
        let clip = self.colors.iter().flat_map(|colors| colors.model().passed_over());
        self.detector.passed_over().iter().chain(clip).cloned().collect()
    }
}
