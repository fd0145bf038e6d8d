//! Reference files of the detector.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, s};
use hyperalign_models::{
    mask2former::{
        self, Bounds, DetectorPreprocess, Instance, Mask2FormerConfig, Mask2FormerTap, Prediction,
        Samples, class_probabilities, masks_on_map,
        mmdet::{TestPipeline, sizes_of},
        sample_levels, square_masks,
    },
    swin::{self, SwinConfig, SwinTap},
    weights::{Key, Tensors, published::MmdetNames},
};
use miette::{IntoDiagnostic, miette};

use super::{
    checks::{Checks, FORWARD},
    golden::{Golden, Values},
};

/// `mask2former_*`: the network, and what it computes on the way.
pub(super) fn network(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: Mask2FormerConfig = golden.config()?;
    let network = mask2former::load(&config, &golden.weights()?, &checks.device);
    let network = network.into_diagnostic()?;
    let image = golden.tensor::<4>("in.pixel_values", &checks.device)?;
    let mut seen = Vec::new();
    let mut prediction =
        network.forward_observed(image.clone(), &mut |tap, x| seen.push((tap, x.clone())));
    let name = |layer| format!("tap.masks_queries_logits.{layer}");
    let theirs: Vec<Tensor<4>> = (0..config.layers())
        .filter(|layer| golden.has(&name(*layer)))
        .map(|layer| golden.tensor::<4>(&name(layer), &checks.device))
        .collect::<miette::Result<_>>()?;
    if let Some(Flips { count, of, largest }) = flips(&seen, &theirs) {
        checks.verdict(
            "masks at 0",
            largest <= AT_ZERO,
            format!(
                "{count} of {of} logits that masked attention depends on have the other sign, the \
                 largest of them {largest:.0e} of the largest of all: layers are compared with the \
                 reference's masks"
            ),
        );
        seen.clear();
        prediction =
            network.forward_steered(image, &theirs, &mut |tap, x| seen.push((tap, x.clone())));
    }
    for (tap, x) in seen {
        observe(&config, tap, &x, checks);
    }
    checks.tensor("out.class_queries_logits", prediction.classes);
    checks.tensor("out.masks_queries_logits", prediction.masks);
    Ok(())
}

/// Relative to the largest, a mask logit that rounding may give either sign.
const AT_ZERO: f64 = 1e-5;

/// Mask logits whose sign is not that of the reference.
struct Flips {
    count: usize,
    of: usize,
    /// In the reference, relative to the largest logit of the layer.
    largest: f64,
}

/// How the signs differ of which masked attention makes what a query sees; nothing if they do not,
/// or the reference does not tell all. `theirs` are its mask logits before each layer.
fn flips(seen: &[(Mask2FormerTap, Tensor<4>)], theirs: &[Tensor<4>]) -> Option<Flips> {
    let levels: Vec<[usize; 2]> = seen
        .iter()
        .filter(|(tap, _)| matches!(tap, Mask2FormerTap::MultiScale { .. }))
        .map(|(_, map)| [map.dims()[2], map.dims()[3]])
        .collect();
    let mut flips = Flips { count: 0, of: 0, largest: 0.0 };
    let mut layers = 0;
    for (tap, ours) in seen {
        let Mask2FormerTap::Masks { layer } = *tap else { continue };
        layers += 1;
        let theirs = masks_on_map(theirs.get(layer)?.clone(), levels[layer % levels.len()]);
        let ours = masks_on_map(ours.clone(), levels[layer % levels.len()]);
        let values = |x: Tensor<4>| x.into_data().iter::<f64>().collect::<Vec<_>>();
        let (theirs, ours) = (values(theirs), values(ours));
        let most = theirs.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let flipped = theirs.iter().zip(&ours).filter(|(a, b)| (**a < 0.0) != (**b < 0.0));
        for (value, _) in flipped {
            flips.count += 1;
            flips.largest = flips.largest.max(value.abs() / most);
        }
        flips.of += theirs.len();
    }
    (flips.count > 0 && layers == theirs.len()).then_some(flips)
}

/// `swin_*`: the backbone alone.
pub(super) fn backbone(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: SwinConfig = golden.config()?;
    let network = swin::load(&config, &golden.weights()?, &checks.device).into_diagnostic()?;
    let image = golden.tensor::<4>("in.pixel_values", &checks.device)?;
    let maps = network.forward(image, &mut |_, _| {});
    for (stage, map) in maps.into_iter().enumerate() {
        checks.tensor(&format!("out.stage{}", stage + 1), map);
    }
    Ok(())
}

/// Compares what the network shows under the name that the file has for it.
fn observe(config: &Mask2FormerConfig, tap: Mask2FormerTap, x: &Tensor<4>, checks: &mut Checks) {
    use Mask2FormerTap as Tap;
    let tokens = || x.clone().squeeze_dim::<3>(1);
    // Queries come first in the reference.
    let queries = || tokens().swap_dims(0, 1);
    match tap {
        Tap::Backbone(SwinTap::Embeddings) => checks.tensor("tap.swin_embeddings", tokens()),
        Tap::Backbone(SwinTap::Block { stage, block }) => {
            let shifted = if block % 2 == 1 && config.backbone_config.window_size > 1 {
                "_shifted"
            } else {
                ""
            };
            let stage = stage + 1;
            checks.tensor(&format!("tap.swin_stage{stage}_block{block}{shifted}"), tokens());
        }
        Tap::Backbone(SwinTap::Downsample { stage }) => {
            checks.tensor(&format!("tap.swin_stage{}_downsample", stage + 1), tokens());
        }
        Tap::Stage { stage } => checks.tensor(&format!("tap.swin_stage{}", stage + 1), x.clone()),
        Tap::InputProjection { level } => {
            checks.tensor(&format!("tap.pixel_decoder_input_projection{level}"), x.clone());
        }
        Tap::SinePositions { level } => {
            checks.tensor(&format!("tap.sine_position{level}"), x.clone());
        }
        Tap::DeformableAttention { layer } => {
            checks.tensor(&format!("tap.pixel_decoder_layer{layer}_self_attn"), tokens());
        }
        Tap::EncoderLayer { layer } => {
            checks.tensor(&format!("tap.pixel_decoder_layer{layer}"), tokens());
        }
        Tap::Memory => checks.tensor("tap.pixel_decoder_memory", tokens()),
        Tap::MultiScale { level } => {
            checks.tensor(&format!("tap.pixel_decoder_multi_scale{level}"), x.clone());
        }
        Tap::MaskFeatures => checks.tensor("tap.pixel_decoder_mask_features", x.clone()),
        Tap::CrossAttention { layer } => {
            checks.tensor(&format!("tap.decoder_layer{layer}_cross_attn"), queries());
        }
        Tap::SelfAttention { layer } => {
            checks.tensor(&format!("tap.decoder_layer{layer}_self_attn"), queries());
        }
        Tap::DecoderLayer { layer } => {
            checks.tensor(&format!("tap.decoder_layer{layer}"), queries());
        }
        Tap::Classes { layer } => {
            checks.tensor(&format!("tap.class_queries_logits.{layer}"), tokens());
        }
        Tap::Masks { layer } => {
            checks.tensor(&format!("tap.masks_queries_logits.{layer}"), x.clone());
        }
        _ => {}
    }
}

/// `ms_deform_attn*`: the core of deformable attention, places on and beyond the edges, and the
/// gradients of all that goes in.
pub(super) fn deformable_attention(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let device = checks.device.clone();
    let sizes = golden.values("in.spatial_shapes")?.values.clone();
    let sizes: Vec<[usize; 2]> =
        sizes.chunks_exact(2).map(|size| [size[0] as usize, size[1] as usize]).collect();
    let values = golden.tensor::<4>("in.value", &device)?;
    let locations = golden.tensor::<6>("in.sampling_locations", &device)?;
    let weights = golden.tensor::<5>("in.attention_weights", &device)?;
    let samples = Samples { locations: locations.clone(), weights: weights.clone() };
    checks.tensor("out.output", sample_levels(values.clone(), &sizes, samples));

    if golden.has("in.edge_sampling_locations") {
        let locations = golden.tensor::<6>("in.edge_sampling_locations", &device)?;
        let weights = weights.clone().slice(s![.., 0..locations.dims()[1]]);
        let samples = Samples { locations, weights };
        checks.tensor("out.edge_output", sample_levels(values.clone(), &sizes, samples));
    }
    if !golden.has_gradients() {
        return Ok(());
    }
    let values = values.autodiff().require_grad();
    let locations = locations.autodiff().require_grad();
    let weights = weights.autodiff().require_grad();
    let samples = Samples { locations: locations.clone(), weights: weights.clone() };
    let output = sample_levels(values.clone(), &sizes, samples);
    let gradients = (output * golden.tensor("in.grad_output", &device)?).sum().backward();
    if let Some(gradient) = values.grad(&gradients) {
        checks.tensor("grad.in.value", gradient);
    }
    if let Some(gradient) = locations.grad(&gradients) {
        checks.tensor("grad.in.sampling_locations", gradient);
    }
    if let Some(gradient) = weights.grad(&gradients) {
        checks.tensor("grad.in.attention_weights", gradient);
    }
    Ok(())
}

/// `mask2former_preprocess*`: one picture, prepared by several settings.
pub(super) fn preprocess(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let settings: BTreeMap<String, DetectorPreprocess> = golden.config()?;
    let picture = golden.picture("in.rgb_u8")?;
    for (name, preprocess) in settings {
        checks.tensor(&format!("out.{name}"), preprocess.picture(&picture, &checks.device));
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Targets {
    /// Height and width of each picture.
    targets: Vec<[usize; 2]>,
    thresholds: Vec<f64>,
}

/// `mask2former_post*`: from logits to objects, for pictures of several sizes and for several
/// thresholds.
pub(super) fn instances(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let Targets { targets, thresholds } = golden.config()?;
    let classes = golden.tensor::<3>("in.class_queries_logits", &checks.device)?;
    let masks = golden.tensor::<4>("in.masks_queries_logits", &checks.device)?;
    checks.tensor("tap.class_prob", class_probabilities(classes.clone()));
    let [batch, queries, ..] = masks.dims();
    if batch != targets.len() {
        return Err(miette!("{batch} pictures, but {} sizes of pictures", targets.len()));
    }
    let squares: Vec<_> = (0..batch)
        .flat_map(|picture| square_masks(masks.clone().slice(s![picture..picture + 1])))
        .collect();
    let column = |values: Vec<f64>| Values { shape: vec![batch, queries], values };
    let areas = squares.iter().map(|mask| mask.area() as f64).collect();
    checks.values("tap.mask_area_384", &column(areas), FORWARD);
    let scores = squares.iter().map(|mask| f64::from(mask.score)).collect();
    checks.values("tap.mask_score", &column(scores), FORWARD);

    let prediction = Prediction { classes, masks };
    for threshold in thresholds {
        let found = mask2former::instances(&prediction, &targets, threshold as f32);
        for (picture, (found, size)) in found.iter().zip(&targets).enumerate() {
            let name = format!("out.{picture}.t{:03}", (100.0 * threshold).round());
            compare(&name, found, *size, checks);
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct MmdetSettings {
    pipeline: TestPipeline,
    threshold: f32,
}

/// `mask2former_mmdet*`: a checkpoint as mmdetection publishes it, sizes and all, and the whole way
/// of a picture to its objects as mmdetection goes it.
pub(super) fn mmdet(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let MmdetSettings { pipeline, threshold } = golden.config()?;
    let bytes = &golden.values("in.checkpoint_u8")?.values;
    let bytes: Vec<u8> = bytes.iter().map(|byte| *byte as u8).collect();
    let tensors = Tensors::held("in.checkpoint_u8", bytes).into_diagnostic()?;
    let names = MmdetNames::of(&tensors)
        .ok_or_else(|| miette!("`in.checkpoint_u8` is no checkpoint of mmdetection"))?;
    let key = |(name, shape): (&str, &[usize])| Key { name: name.into(), shape: shape.into() };
    let config = sizes_of(&tensors.iter().map(key).collect::<Vec<_>>(), names);
    config.validate().map_err(|reason| miette!("{reason}"))?;
    let network = mask2former::load(&config, &tensors, &checks.device).into_diagnostic()?;

    let picture = golden.picture("in.rgb_u8")?;
    let image = pipeline.picture(&picture, &checks.device);
    checks.tensor("out.pixel_values", image.clone());
    let prediction = network.forward(image);
    checks.tensor("out.class_queries_logits", prediction.classes.clone());
    checks.tensor("out.masks_queries_logits", prediction.masks.clone());
    let size = [picture.height() as usize, picture.width() as usize];
    for found in pipeline.instances(&prediction, &[size], threshold) {
        compare("out", &found, size, checks);
    }
    Ok(())
}

/// Compares the objects of a picture, row by row.
fn compare(name: &str, found: &[Instance], [height, width]: [usize; 2], checks: &mut Checks) {
    let count = found.len();
    let scores = found.iter().map(|instance| f64::from(instance.score)).collect();
    checks.values(
        &format!("{name}.scores"),
        &Values { shape: vec![count], values: scores },
        FORWARD,
    );
    let labels = found.iter().map(|instance| instance.class as f64).collect();
    checks.values(&format!("{name}.labels"), &Values { shape: vec![count], values: labels }, 0.0);
    let boxes = |far: usize| {
        let corners = |Bounds { left, top, right, bottom }: Bounds| {
            [left, top, right - far, bottom - far].map(|edge| edge as f64)
        };
        let values = found.iter().flat_map(|instance| corners(instance.bounds)).collect();
        Values { shape: vec![count, 4], values }
    };
    checks.values(&format!("{name}.boxes"), &boxes(0), 0.0);
    checks.values(&format!("{name}.boxes_inclusive"), &boxes(1), 0.0);
    let pixels = found.iter().flat_map(|instance| instance.mask.pixels());
    let pixels = pixels.map(|pixel| f64::from(u8::from(*pixel))).collect();
    let masks = Values { shape: vec![count, height, width], values: pixels };
    checks.values(&format!("{name}.masks"), &masks, 0.0);
}
