//! `hyperalign detect`: what GenEval's scorer sees in pictures, and why it finds them wrong.

use std::path::PathBuf;

use hyperalign_core::{
    image::{Mark, Metadata, mark, write_png},
    stop::Stop,
};
use hyperalign_rewards::{
    Reward, ScoreError,
    geneval::{GenEval, Object, Protocol, Verdict},
};
use image::{Rgb, RgbImage, imageops};
use miette::{IntoDiagnostic, WrapErr, miette};
use serde::Serialize;

use super::score::{
    items::{Collected, Item, PromptArgs, collect},
    pass::{Failed, read_picture},
};
use crate::{base, context::Context, interrupt, outcome::Outcome, output};

/// Colours of marks, one for each class in turn.
const PALETTE: [[u8; 3]; 8] = [
    [255, 70, 70],
    [80, 200, 255],
    [255, 210, 60],
    [120, 255, 120],
    [255, 130, 240],
    [255, 160, 70],
    [150, 140, 255],
    [90, 255, 220],
];
/// Space between pictures that are drawn one below the other, in pixels.
const GAP: u32 = 8;

/// Flags of `hyperalign detect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pictures in PNG, JPEG or WebP, and folders of them.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// Folder of GenEval's networks: `detector` and `clip` in it, as `score --reward geneval` reads
    /// them. Without `clip` no colours are told.
    #[arg(long, value_name = "DIR")]
    weights: PathBuf,

    #[command(flatten)]
    prompts: PromptArgs,

    /// Show objects whose score is above this. GenEval's rules take .3, and .9 where they count.
    #[arg(long, value_name = "X", default_value_t = Protocol::default().confidence, value_parser = share)]
    confidence: f32,

    /// File to draw the objects into, a PNG: masks, boxes, classes, scores and colours. Several
    /// pictures lie one below the other.
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A number from 0 to below 1.
fn share(text: &str) -> Result<f32, String> {
    let refused = || "a number of at least 0 and below 1 is needed".to_owned();
    text.parse().ok().filter(|number| (0.0..1.0).contains(number)).ok_or_else(refused)
}

/// A picture with what was found in it.
#[derive(Debug, Serialize)]
struct Found {
    image: String,
    /// Width and height, in pixels.
    size: [u32; 2],
    objects: Vec<FoundObject>,
    /// Whether it meets its rules, where its prompt comes with some.
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<bool>,
    /// Why not, a line for each clause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FoundObject {
    class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'static str>,
    score: f32,
    /// Left, top, right and bottom edge in pixels, the latter two exclusive.
    r#box: [usize; 4],
    /// Number of pixels.
    area: usize,
}

/// Finds, prints and draws. Ctrl-C ends it with what has been found by then.
///
/// # Errors
///
/// Fails for networks and pictures that cannot be read, rules that cannot be judged, and a file
/// that cannot be written.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    if let Some(out) = &args.out {
        output::check_writable(out).into_diagnostic()?;
    }
    let Collected { items, refused } = collect(&args.images, &args.prompts)?;
    if let Some(Failed { image, reason }) = refused.into_iter().next() {
        return Err(miette!("`{image}`: {reason}"));
    }
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let device = context.device()?;
    let scorer = GenEval::from_folder(&args.weights, &device).into_diagnostic()?;
    base::tell_passed_over(&scorer.passed_over(), scorer.name());
    let mut found = Vec::new();
    let mut drawn = Vec::new();
    for item in &items {
        if stop.is_requested() {
            break;
        }
        let name = item.path.display().to_string();
        let (_, picture) =
            read_picture(&item.path).map_err(|reason| miette!("`{name}`: {reason}"))?;
        let (objects, verdict) = look(&scorer, item, &picture, args.confidence)
            .into_diagnostic()
            .wrap_err_with(|| format!("`{name}`"))?;
        if args.out.is_some() {
            drawn.push(draw(picture.clone(), &objects, &scorer));
        }
        let size = [picture.width(), picture.height()];
        found.push(Found::new(name, size, &objects, verdict.as_ref()));
    }
    if let Some(out) = args.out.as_ref().filter(|_| !drawn.is_empty()) {
        write_png(out, &below_each_other(&drawn), &Metadata::default()).into_diagnostic()?;
    }
    if args.json {
        output::print_json(&found)?;
    } else {
        output::print(&found.iter().map(Found::text).collect::<String>())?;
    }
    if found.len() < items.len() {
        output::note(&format!("{} of {} pictures were looked at", found.len(), items.len()));
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

/// The objects in a picture and, if its prompt comes with rules, whether it meets them.
fn look(
    scorer: &GenEval,
    item: &Item,
    picture: &RgbImage,
    confidence: f32,
) -> Result<(Vec<Object>, Option<Verdict>), ScoreError> {
    match &item.row {
        Some(row) => {
            let (objects, verdict) = scorer.look_and_judge(picture, confidence, row)?;
            Ok((objects, Some(verdict)))
        }
        None => {
            let found = scorer.look(std::slice::from_ref(picture), confidence)?.pop();
            Ok((found.unwrap_or_default(), None))
        }
    }
}

/// The picture with its objects marked, the surest on top.
fn draw(mut picture: RgbImage, objects: &[Object], scorer: &GenEval) -> RgbImage {
    for object in objects.iter().rev() {
        let class = scorer.classes().iter().position(|class| *class == object.class);
        let bounds = object.instance.bounds;
        let corner = |x: usize, y: usize| (x as u32, y as u32);
        let color = object.color.map(|color| format!("{color} ")).unwrap_or_default();
        let object = Mark {
            color: Rgb(PALETTE[class.unwrap_or_default() % PALETTE.len()]),
            label: format!("{color}{} {:.2}", object.class, object.instance.score),
            from: corner(bounds.left, bounds.top),
            to: corner(bounds.right, bounds.bottom),
            mask: object.instance.mask.pixels().to_vec(),
        };
        mark(&mut picture, &object);
    }
    picture
}

/// The pictures one below the other, on white.
fn below_each_other(pictures: &[RgbImage]) -> RgbImage {
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(1);
    let gaps = GAP * (pictures.len().saturating_sub(1)) as u32;
    let height = pictures.iter().map(RgbImage::height).sum::<u32>() + gaps;
    let mut canvas = RgbImage::from_pixel(width, height.max(1), Rgb([255; 3]));
    let mut top = 0;
    for picture in pictures {
        imageops::replace(&mut canvas, picture, 0, top);
        top += i64::from(picture.height() + GAP);
    }
    canvas
}

impl Found {
    fn new(image: String, size: [u32; 2], objects: &[Object], verdict: Option<&Verdict>) -> Self {
        let object = |object: &Object| {
            let bounds = object.instance.bounds;
            FoundObject {
                class: object.class.clone(),
                color: object.color,
                score: object.instance.score,
                r#box: [bounds.left, bounds.top, bounds.right, bounds.bottom],
                area: object.instance.mask.area(),
            }
        };
        Self {
            image,
            size,
            objects: objects.iter().map(object).collect(),
            correct: verdict.map(|verdict| verdict.correct),
            reasons: verdict
                .map(|verdict| verdict.reasons.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
        }
    }

    /// A line for the picture, one for each object, and what is said of its rules.
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.image);
        if self.objects.is_empty() {
            text += "  nothing was found\n";
        }
        for FoundObject { class, color, score, r#box: [left, top, right, bottom], .. } in
            &self.objects
        {
            let color = color.map(|color| format!("{color} ")).unwrap_or_default();
            text += &format!("  {score:.3}  {color}{class}  {left},{top} .. {right},{bottom}\n");
        }
        match self.correct {
            Some(true) => text += "  right\n",
            Some(false) => text += &format!("  wrong: {}\n", self.reasons.join("; ")),
            None => {}
        }
        text
    }
}
