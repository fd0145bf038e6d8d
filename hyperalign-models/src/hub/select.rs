//! Which files of a repository are wanted.
//!
//! Repositories hold the same weights several times over (pickles, half precision, without the
//! moving average, ONNX); a download of everything would be four times too large.

use std::collections::BTreeSet;

use crate::weights::Weights;

/// What every diffusers pipeline has.
pub const INDEX: &str = "model_index.json";

/// Parts of a pipeline that nothing here reads.
const UNREAD: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];
/// Extensions of configurations and vocabularies.
const SMALL: [&str; 3] = ["json", "txt", "model"];

/// The files of the pipeline that the text `index` of `model_index.json` describes.
///
/// # Errors
///
/// Fails if `index` is not a list of parts.
pub fn pipeline(files: &[String], index: &str) -> Result<Vec<String>, String> {
    let index: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(index).map_err(|error| error.to_string())?;
    let is_part = |value: &serde_json::Value| match value.as_array().map(Vec::as_slice) {
        Some([library, class]) => library.is_string() && class.is_string(),
        _ => false,
    };
    let parts: BTreeSet<&str> = index
        .iter()
        .filter(|(name, value)| is_part(value) && !UNREAD.contains(&name.as_str()))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut wanted = vec![INDEX.to_owned()];
    for part in parts {
        let inside = |file: &&String| {
            file.strip_prefix(part)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|name| !name.contains('/'))
        };
        let of_part: Vec<&String> = files.iter().filter(inside).collect();
        wanted.extend(of_folder(&of_part, &format!("{part}/")));
    }
    Ok(wanted)
}

/// The files of a repository that is a single network.
pub fn component(files: &[String]) -> Vec<String> {
    let top: Vec<&String> = files.iter().filter(|file| !file.contains('/')).collect();
    let wanted = of_folder(&top, "");
    let has = |extension: &str| wanted.iter().any(|file| file.ends_with(extension));
    if has(".safetensors") && has(".json") { wanted } else { Vec::new() }
}

fn of_folder(files: &[&String], prefix: &str) -> Vec<String> {
    let extension = |name: &str| name.rsplit_once('.').map(|(_, end)| end.to_owned());
    let small = |name: &str| {
        extension(name).is_some_and(|end| SMALL.contains(&end.as_str()))
            && !name.contains(".index.")
    };
    let inside = |file: &String| file.strip_prefix(prefix).unwrap_or(file).to_owned();
    let exists = |name: &str| files.iter().any(|file| inside(file) == name);
    let mut wanted: Vec<String> =
        files.iter().filter(|file| small(&inside(file))).map(|file| (**file).clone()).collect();
    match Weights::find(exists) {
        None => {}
        Some(Weights::Single(file)) => wanted.push(format!("{prefix}{file}")),
        Some(weights) => {
            if let Weights::Shards { index, .. } = &weights {
                wanted.push(format!("{prefix}{index}"));
            }
            let shards = files.iter().filter(|file| weights.has_shard(&inside(file)));
            wanted.extend(shards.map(|file| (**file).clone()));
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn of_several_copies_of_the_weights_one_is_taken() {
        let files = files(&[
            ".gitattributes",
            "README.md",
            "model_index.json",
            "v1-5-pruned.ckpt",
            "v1-5-pruned.safetensors",
            "safety_checker/model.safetensors",
            "text_encoder/config.json",
            "text_encoder/model.fp16.safetensors",
            "text_encoder/model.safetensors",
            "text_encoder/pytorch_model.bin",
            "tokenizer/merges.txt",
            "tokenizer/vocab.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "unet/onnx/model.safetensors",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.safetensors.index.json",
            "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
            "tokenizer_2/spiece.model",
        ]);
        let index = r#"{"_class_name": "X", "safety_checker": ["a", "B"], "vae": [null, null],
            "text_encoder": ["a", "B"], "tokenizer": ["a", "B"], "tokenizer_2": ["a", "B"],
            "transformer": ["a", "B"], "unet": ["a", "B"], "requires_safety_checker": true}"#;
        assert_eq!(
            pipeline(&files, index).unwrap(),
            [
                "model_index.json",
                "text_encoder/config.json",
                "text_encoder/model.safetensors",
                "tokenizer/merges.txt",
                "tokenizer/vocab.json",
                "tokenizer_2/spiece.model",
                "transformer/config.json",
                "transformer/diffusion_pytorch_model.safetensors.index.json",
                "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
                "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
                "unet/config.json",
                "unet/diffusion_pytorch_model.safetensors",
            ]
        );
        assert!(pipeline(&files, "[]").is_err());
    }

    #[test]
    fn half_precision_is_taken_where_there_is_nothing_else() {
        let files = files(&[
            "model_index.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors.index.fp16.json",
            "text_encoder/model.fp16-00001-of-00001.safetensors",
            "text_encoder/pytorch_model.bin.index.fp16.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
        ]);
        let index = r#"{"text_encoder": ["a", "B"], "unet": ["a", "B"]}"#;
        assert_eq!(
            pipeline(&files, index).unwrap(),
            [
                "model_index.json",
                "text_encoder/config.json",
                "text_encoder/model.safetensors.index.fp16.json",
                "text_encoder/model.fp16-00001-of-00001.safetensors",
                "unet/config.json",
                "unet/diffusion_pytorch_model.fp16.safetensors",
            ]
        );
    }

    #[test]
    fn a_single_network_has_a_config_and_weights() {
        let all = files(&["config.json", "model.safetensors", "pytorch_model.bin", "vocab.txt"]);
        assert_eq!(component(&all), ["config.json", "vocab.txt", "model.safetensors"]);
        assert!(component(&files(&["README.md", "config.json"])).is_empty());
    }
}
