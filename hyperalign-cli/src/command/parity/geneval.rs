//! Reference files of the colours that GenEval's scorer tells apart.

use hyperalign_models::{
    clip::{ClipConfig, ClipModel, ClipPreprocess},
    mask2former::{Bounds, Mask},
    tokenizer::Tokenizer,
};
use hyperalign_rewards::geneval::{ColorClassifier, crop};
use miette::{IntoDiagnostic, miette};

use super::{
    checks::{Checks, FORWARD},
    golden::{Golden, Values},
};

/// What the file says beside the sizes of the CLIP.
#[derive(serde::Deserialize)]
struct Config {
    /// Tokens, none of which is made of others.
    vocab: serde_json::Value,
    /// The class of all objects.
    class: String,
}

/// `geneval_colors*`: objects of a picture on grey, prepared for CLIP, and their cosines with the
/// colours.
pub(super) fn colors(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let Config { vocab, class } = golden.config()?;
    let config = ClipConfig::from_json(&golden.json().to_string()).into_diagnostic()?;
    let model = ClipModel::from_tensors(&config, golden.weights()?, &checks.device);
    let model = model.into_diagnostic()?;
    let most = config.text_config.max_position_embeddings;
    let tokenizer = Tokenizer::from_vocab_and_merges(&vocab.to_string(), "#version: 0.2\n", most);
    let picture = golden.picture("in.rgb_u8")?;
    let masks = masks(golden)?;
    let objects: Vec<(&Mask, Bounds)> = masks
        .iter()
        .map(|mask| Some((mask, mask.bounds()?)))
        .collect::<Option<_>>()
        .ok_or_else(|| miette!("a mask without a pixel"))?;

    let count = objects.len();
    let edges = objects.iter().flat_map(|(_, bounds)| {
        let Bounds { left, top, right, bottom } = *bounds;
        [left, top, right, bottom].map(|edge| edge as f64)
    });
    checks.values("out.boxes", &Values { shape: vec![count, 4], values: edges.collect() }, 0.0);
    let preprocess = ClipPreprocess::new(config.vision_config.image_size);
    let prepared = objects
        .iter()
        .map(|(mask, bounds)| preprocess.picture(&crop(&picture, mask, *bounds), &checks.device));
    let prepared = burn::tensor::Tensor::<4>::cat(prepared.collect(), 0);
    checks.tensor("out.crops", prepared);

    let classifier = ColorClassifier::new(model, tokenizer.into_diagnostic()?, &checks.device);
    let cosines = classifier.cosines(&picture, &objects, &class);
    let shape = vec![count, cosines.first().map_or(0, |row| row.len())];
    let values = cosines.iter().flatten().map(|cosine| f64::from(*cosine)).collect();
    checks.values("out.cosines", &Values { shape, values }, FORWARD);
    Ok(())
}

fn masks(golden: &Golden) -> miette::Result<Vec<Mask>> {
    let Values { shape, values } = golden.values("in.masks_u8")?;
    let [_, height, width] = shape[..] else {
        return Err(miette!("`in.masks_u8` is not [objects, height, width]"));
    };
    let masks = values.chunks_exact(height * width);
    Ok(masks.map(|mask| Mask::new(width, mask.iter().map(|v| *v > 0.0).collect())).collect())
}
