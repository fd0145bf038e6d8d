//! What a LoRA file is, without a base to lay it over.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use burn::tensor::Device;
use serde::Serialize;

use super::{
    Convention, Family, Layers, LoraError,
    alpha::PeftConfig,
    keys::{Keys, Role},
    names::Names,
    read::{made_for, sorted, spelt},
};
use crate::weights::Tensors;

/// What a LoRA file is, as far as its names and shapes tell.
#[derive(Debug, Clone, Serialize)]
pub struct Survey {
    /// The conventions that its modules are named in.
    pub conventions: BTreeSet<Convention>,
    /// The family of the base or, without one, that whose published model has most of its modules,
    /// if it has any.
    pub family: Option<Family>,
    /// What it looks like being for.
    pub made_for: Option<&'static str>,
    /// Its modules.
    pub modules: usize,
    /// Those that the base or the published model has.
    pub matched: usize,
    /// The first of the others.
    pub unmatched: Vec<String>,
    /// How many modules have each rank.
    pub ranks: BTreeMap<usize, usize>,
    /// How many modules have each alpha, as it is written.
    pub alphas: BTreeMap<String, usize>,
    /// How many tensors have each number format.
    pub formats: BTreeMap<String, usize>,
    /// How many layers of each part it adapts, by how their paths end.
    pub targets: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

/// Names that are shown of those that are in no model known here.
const SHOWN: usize = 5;

impl Survey {
    /// What the file `tensors` at `path` is, by the layers of a base or, without one, by those of
    /// the published models.
    ///
    /// # Errors
    ///
    /// Fails if it is no LoRA, or one of a kind that is not read.
    pub fn of(
        path: &Path,
        tensors: &Tensors,
        base: Option<&Layers>,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let keys = sorted(tensors)?;
        let of = |layers: Layers| {
            let names = Names::of(&layers);
            (keys.modules.keys().filter(|name| names.get(name).is_some()).count(), layers, names)
        };
        let (matched, layers, names) = match base {
            Some(layers) => of(layers.clone()),
            None => {
                let families = [Family::StableDiffusion1, Family::Flux1];
                let [sd, flux] = families.map(|family| of(Layers::published(family, device)));
                if flux.0 > sd.0 { flux } else { sd }
            }
        };
        let mut survey = Self {
            conventions: keys.modules.keys().filter_map(|name| spelt(name)).collect(),
            family: (matched > 0).then_some(layers.family()),
            made_for: None,
            modules: keys.modules.len(),
            matched,
            unmatched: Vec::new(),
            ranks: BTreeMap::new(),
            alphas: BTreeMap::new(),
            formats: BTreeMap::new(),
            targets: BTreeMap::new(),
        };
        survey.read_names(&keys, &layers, &names);
        survey.read_numbers(&keys, tensors, &PeftConfig::of(Some(path), tensors)?, &layers)?;
        Ok(survey)
    }

    fn read_names(&mut self, keys: &Keys, layers: &Layers, names: &Names) {
        let mut strangers: Vec<&str> = keys.unknown.iter().map(String::as_str).collect();
        for name in keys.modules.keys() {
            let Some(module) = names.get(name) else {
                strangers.push(name);
                continue;
            };
            for slice in &module.slices {
                let layer = &layers.all()[slice.layer];
                let part = self.targets.entry(layer.part.name(layers.family())).or_default();
                *part.entry(ending(&layer.path).to_owned()).or_default() += 1;
            }
        }
        self.made_for = match (made_for(&strangers), self.family) {
            // A wider model has the layers of a narrower one, and more.
            (Some((name, family)), own) if family != own => Some(name),
            (_, Some(Family::StableDiffusion1)) => Some("Stable Diffusion 1.x"),
            (_, Some(Family::Flux1)) => Some("FLUX.1"),
            (found, None) => found.map(|(name, _)| name),
        };
        self.unmatched = strangers.iter().take(SHOWN).map(|name| (*name).to_owned()).collect();
    }

    fn read_numbers(
        &mut self,
        keys: &Keys,
        tensors: &Tensors,
        config: &PeftConfig,
        layers: &Layers,
    ) -> Result<(), LoraError> {
        for (key, _) in tensors.iter() {
            *self.formats.entry(tensors.dtype(key).unwrap_or_default()).or_default() += 1;
        }
        for (name, roles) in &keys.modules {
            let shape = roles.get(&Role::Down).and_then(|key| tensors.shape(key));
            let Some(rank) = shape.and_then(|shape| shape.first()).copied() else { continue };
            *self.ranks.entry(rank).or_default() += 1;
            let alpha = match roles.get(&Role::Alpha) {
                Some(key) => tensors.f32(key)?.first().copied().map(f64::from),
                None => {
                    let (part, path) = name.split_once('.').unwrap_or(("", name));
                    let part = match part {
                        "base_model" => super::Part::Denoiser.name(layers.family()),
                        part => part,
                    };
                    config.alpha(part, path, rank)?
                }
            };
            let alpha = alpha.map_or_else(|| format!("{rank} (the rank)"), |a| a.to_string());
            *self.alphas.entry(alpha).or_default() += 1;
        }
        Ok(())
    }
}

/// What a path says behind the number of its block: `attn1.to_q` of
/// `mid_block.attentions.0.transformer_blocks.0.attn1.to_q`.
fn ending(path: &str) -> &str {
    let digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut end = path;
    let mut rest = path;
    while let Some((word, after)) = rest.split_once('.') {
        // A layer may be a number itself, as `to_out.0`; its list is part of its name.
        if digits(word) && after.contains(|c: char| c.is_alphabetic()) {
            end = after;
        }
        rest = after;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::ending;

    #[test]
    fn ends_of_paths() {
        for (path, expected) in [
            ("mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0", "attn1.to_out.0"),
            ("down_blocks.1.resnets.0.conv1", "conv1"),
            ("a.0.ff.net.0.proj", "proj"),
            ("a.0.ff.net.2", "ff.net.2"),
            ("conv_in", "conv_in"),
        ] {
            assert_eq!(ending(path), expected);
        }
    }
}
