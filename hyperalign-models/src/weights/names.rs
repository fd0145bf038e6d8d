//! What diffusers and transformers call the files of weights of a component.

use std::path::{Path, PathBuf};

/// The stems of the files.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];
/// What follows the stem: nothing, or the half precision that `variant="fp16"` downloads, which is
/// taken where there is nothing else.
const VARIANTS: [&str; 2] = ["", ".fp16"];
/// Extensions of files that may be meant as weights.
const LIKE_WEIGHTS: [&str; 10] =
    ["safetensors", "bin", "ckpt", "pt", "pth", "pkl", "gguf", "h5", "msgpack", "onnx"];

/// The weights of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Weights {
    /// In one file of this name.
    Single(String),
    /// In several, of which the file `index` tells.
    Shards {
        /// The name of the index.
        index: String,
        /// The stem of the shards.
        stem: &'static str,
        /// What follows the stem.
        variant: &'static str,
    },
}

impl Weights {
    /// The weights that a folder has which holds those names that `exists` says.
    pub(crate) fn find(exists: impl Fn(&str) -> bool) -> Option<Self> {
        for variant in VARIANTS {
            for stem in STEMS {
                let single = format!("{stem}{variant}.safetensors");
                if exists(&single) {
                    return Some(Self::Single(single));
                }
                if let Some(index) = indices(stem, variant).into_iter().find(|name| exists(name)) {
                    return Some(Self::Shards { index, stem, variant });
                }
            }
        }
        None
    }

    /// Whether the file `name` is one of the shards.
    #[cfg(feature = "hub")]
    pub(crate) fn has_shard(&self, name: &str) -> bool {
        let Self::Shards { stem, variant, .. } = self else { return false };
        let number = |end: &str| {
            let rest = name.strip_prefix(stem)?;
            // The number stands before the variant or, in newer files, behind it.
            let rest = rest.strip_prefix(&format!("{end}-"))?;
            let rest = rest.strip_suffix(".safetensors")?;
            if end.is_empty() { rest.strip_suffix(variant) } else { Some(rest) }
        };
        [variant, ""].into_iter().filter_map(number).any(|number| !number.contains('.'))
    }
}

/// The names of an index of shards; the last two are those of older diffusers.
fn indices(stem: &str, variant: &str) -> Vec<String> {
    let mut names = vec![
        format!("{stem}.safetensors.index{variant}.json"),
        format!("{stem}.safetensors{variant}.index.json"),
        format!("{stem}{variant}.safetensors.index.json"),
    ];
    names.dedup();
    names
}

/// The names that are looked for, the rare ones left out.
pub(super) fn expected() -> Vec<String> {
    let plain = |stem| [format!("{stem}.safetensors"), format!("{stem}.safetensors.index.json")];
    let half = |stem| format!("{stem}.fp16.safetensors");
    STEMS.into_iter().flat_map(plain).chain(STEMS.into_iter().map(half)).collect()
}

/// Whether the file `name` may be meant as weights.
pub(super) fn is_like_weights(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|given| LIKE_WEIGHTS.contains(&given.to_ascii_lowercase().as_str()))
}

/// What PyTorch calls the weights of a component of a model folder, and what is read instead.
const PICKLES: [(&str, &str); 2] = [
    ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"),
    ("pytorch_model.bin", "model.safetensors"),
];

/// The pickled weights that a folder has which holds those names that `exists` says.
pub(super) fn find_pickle(exists: impl Fn(&str) -> bool) -> Option<&'static str> {
    PICKLES.into_iter().map(|(pickle, _)| pickle).find(|name| exists(name))
}

/// The Python call that writes the weights of the pickle `file` as what is read in its place.
pub(super) fn conversion(file: &str) -> String {
    let path = Path::new(file);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let expected = PICKLES.iter().find(|(pickle, _)| *pickle == name);
    let target = match expected {
        Some((_, expected)) => path.with_file_name(expected),
        // A pickle under a false name.
        None if name.ends_with(".safetensors") => PathBuf::from("model.safetensors"),
        None => path.with_extension("safetensors"),
    };
    // Files of diffusers and transformers are the dictionary of weights itself; checkpoints of
    // training have it among other things.
    let inside = if name.ends_with(".bin") { "" } else { "[\"state_dict\"]" };
    let target = target.display();
    format!("save_file(torch.load(\"{file}\", weights_only=True){inside}, \"{target}\")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_come_before_half_precision_whatever_the_stem() {
        let find = |names: &[&str]| Weights::find(|name| names.contains(&name));
        let single = |name: &str| Some(Weights::Single(name.to_owned()));
        let both = ["diffusion_pytorch_model.fp16.safetensors", "model.safetensors"];
        assert_eq!(find(&both), single("model.safetensors"));
        assert_eq!(find(&both[..1]), single(both[0]));
        for index in [
            "model.safetensors.index.fp16.json",
            "model.safetensors.fp16.index.json",
            "model.fp16.safetensors.index.json",
        ] {
            let Some(Weights::Shards { index: found, .. }) = find(&[index]) else {
                panic!("{index} is not found")
            };
            assert_eq!(found, index);
        }
        assert_eq!(find(&["model.non_ema.safetensors"]), None);
    }

    #[cfg(feature = "hub")]
    #[test]
    fn shards_are_of_one_variant() {
        let shards = |variant| Weights::Shards { index: String::new(), stem: "model", variant };
        let names = [
            "model-00001-of-00002.safetensors",
            "model.fp16-00001-of-00002.safetensors",
            "model-00001-of-00002.fp16.safetensors",
            "model.safetensors",
        ];
        let of = |variant| names.map(|name| shards(variant).has_shard(name));
        assert_eq!(of(""), [true, false, false, false]);
        assert_eq!(of(".fp16"), [false, true, true, false]);
    }

    #[test]
    fn pickles_of_diffusers_hold_nothing_but_the_weights() {
        assert_eq!(
            conversion("sd/text_encoder/pytorch_model.bin"),
            "save_file(torch.load(\"sd/text_encoder/pytorch_model.bin\", weights_only=True), \
             \"sd/text_encoder/model.safetensors\")"
        );
        let training = conversion("v1-5.ckpt");
        assert!(training.ends_with("=True)[\"state_dict\"], \"v1-5.safetensors\")"), "{training}");
    }
}
