//! Reading a LoRA file for a base.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use burn::tensor::Device;
use hyperalign_core::nearest;

use super::{
    Convention, Factor, Family, Float, Layers, LoraError, LoraFile, Misfit, Part, Unmatched,
    Update,
    alpha::PeftConfig,
    fused,
    keys::{Keys, Role, Roles},
    names::{Module, Names},
};
use crate::{
    base::Base,
    hypernet::{Adapter, AdapterMeta},
    weights::Tensors,
};

/// Modules whose nearest names are looked for: each costs a comparison with every name.
const NEAREST: usize = 3;

impl LoraFile {
    /// Reads the LoRA in `path` for the layers of a base. A static LoRA that this program trained
    /// is one too.
    ///
    /// # Errors
    ///
    /// Fails for a file that is damaged, of another kind or for another model, and for one of which
    /// any part cannot be applied.
    pub fn open(path: &Path, layers: &Layers, device: &Device) -> Result<Self, LoraError> {
        Self::open_checked(path, layers, device, |_| Ok(()))
    }

    /// [`open`](Self::open) for `base`: a static LoRA that this program trained must be one of it.
    ///
    /// # Errors
    ///
    /// Fails where [`open`](Self::open) does, and for a LoRA of ours that belongs to another base.
    pub fn open_for(
        path: &Path,
        layers: &Layers,
        base: &dyn Base,
        device: &Device,
    ) -> Result<Self, LoraError> {
        Self::open_checked(path, layers, device, |meta| Ok(meta.check(base)?))
    }

    fn open_checked(
        path: &Path,
        layers: &Layers,
        device: &Device,
        check: impl FnOnce(&AdapterMeta) -> Result<(), LoraError>,
    ) -> Result<Self, LoraError> {
        let tensors = Tensors::open(path)?;
        if !Adapter::is_one(&tensors) {
            return Self::read(Some(path), &tensors, layers);
        }
        let file = path.display().to_string();
        let (adapter, meta) = Adapter::load(path, device)?;
        check(&meta)?;
        match adapter {
            Adapter::Hypernet(_) => Err(LoraError::Hypernet { file }),
            Adapter::FullWeights(_) => Err(LoraError::FullWeights { file }),
            Adapter::StaticLora(lora) => {
                let set = lora.forward();
                let missing: Vec<(String, Option<String>)> = set
                    .iter()
                    .filter(|(path, _)| layers.find(Part::Denoiser, path).is_none())
                    .map(|(path, _)| (path.to_owned(), None))
                    .collect();
                if missing.is_empty() {
                    return Ok(Self::of_set(&file, &set, layers, Part::Denoiser));
                }
                let unmatched = Unmatched {
                    conventions: vec![Convention::Hyperalign],
                    made_for: None,
                    family: layers.family(),
                    matched: set.len() - missing.len(),
                    modules: missing,
                };
                Err(LoraError::Unmatched { file, unmatched: Box::new(unmatched) })
            }
        }
    }

    /// Reads the LoRA in `tensors`, which are from the file at `path`, if they are from one.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(
        path: Option<&Path>,
        tensors: &Tensors,
        layers: &Layers,
    ) -> Result<Self, LoraError> {
        let keys = sorted(tensors)?;
        let names = Names::of(layers);
        check_names(tensors, &keys, &names, layers)?;
        let config = PeftConfig::of(path, tensors)?;
        if config.is_dora() {
            let (kind, key) = ("DoRA, by its configuration", "use_dora".to_owned());
            return Err(LoraError::Kind { file: tensors.name().to_owned(), kind, key });
        }
        let reader = Reader { tensors, layers, config };
        let mut updates = BTreeMap::new();
        let mut conventions = BTreeSet::new();
        let mut origins: BTreeMap<usize, &str> = BTreeMap::new();
        for (name, roles) in &keys.modules {
            let Some(module) = names.get(name) else { continue };
            conventions.insert(module.convention);
            let update = reader.update(name, module, roles)?;
            for (layer, update) in fused::split(&update, &module.slices) {
                if let Some(first) = origins.insert(layer, name) {
                    return Err(LoraError::Twice {
                        file: tensors.name().to_owned(),
                        layer: layers.name(layer),
                        first: first.to_owned(),
                        second: name.clone(),
                    });
                }
                updates.insert(layer, update);
            }
        }
        Ok(Self {
            name: tensors.name().to_owned(),
            conventions,
            updates,
            metadata: tensors.metadata().clone(),
        })
    }
}

/// The keys of `tensors`, if all of them are those of a LoRA.
pub(super) fn sorted(tensors: &Tensors) -> Result<Keys, LoraError> {
    let keys = Keys::of(tensors);
    let file = || tensors.name().to_owned();
    if let Some((key, kind)) = keys.other {
        return Err(LoraError::Kind { file: file(), kind, key });
    }
    if keys.modules.values().all(|roles| !roles.contains_key(&Role::Down)) {
        let first = tensors.iter().next().map(|(key, _)| key.to_owned());
        return Err(LoraError::NoLora { file: file(), keys: tensors.iter().count(), first });
    }
    if let Some(module) = keys.twice {
        let layer = module.clone();
        return Err(LoraError::Twice {
            file: file(),
            layer,
            first: module.clone(),
            second: module,
        });
    }
    Ok(keys)
}

/// Fails unless every module has a layer, and nothing is left over.
fn check_names(
    tensors: &Tensors,
    keys: &Keys,
    names: &Names,
    layers: &Layers,
) -> Result<(), LoraError> {
    let modules = keys.modules.keys();
    let (matched, strangers): (Vec<&String>, Vec<&String>) =
        modules.partition(|name| names.get(name).is_some());
    let strangers: Vec<&str> =
        strangers.into_iter().chain(&keys.unknown).map(String::as_str).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let of_name = |name: &str| names.get(name).map(|module| module.convention).or(spelt(name));
    let conventions: BTreeSet<Convention> =
        keys.modules.keys().filter_map(|name| of_name(name)).collect();
    let near = |name: &str| {
        let convention = spelt(name).or(conventions.first().copied())?;
        nearest(name, names.in_convention(convention)).map(str::to_owned)
    };
    let modules = strangers.iter().enumerate();
    let modules = modules
        .map(|(i, name)| ((*name).to_owned(), if i < NEAREST { near(name) } else { None }))
        .collect();
    let made_for = made_for(&strangers).filter(|(_, family)| *family != Some(layers.family()));
    let unmatched = Unmatched {
        conventions: conventions.into_iter().collect(),
        made_for: made_for.map(|(name, _)| name),
        family: layers.family(),
        matched: matched.len(),
        modules,
    };
    let file = tensors.name().to_owned();
    Err(LoraError::Unmatched { file, unmatched: Box::new(unmatched) })
}

/// The convention that a module's name is spelt in, whatever the model.
pub(super) fn spelt(name: &str) -> Option<Convention> {
    const BEGINNINGS: [(&str, Convention); 14] = [
        ("lora_", Convention::Kohya),
        ("unet.", Convention::Peft),
        ("transformer.", Convention::Peft),
        ("text_encoder", Convention::Peft),
        ("base_model.", Convention::Peft),
        ("down_blocks.", Convention::Peft),
        ("mid_block.", Convention::Peft),
        ("up_blocks.", Convention::Peft),
        ("transformer_blocks.", Convention::Peft),
        ("single_transformer_blocks.", Convention::Peft),
        ("diffusion_model.", Convention::Bfl),
        ("model.diffusion_model.", Convention::Bfl),
        ("double_blocks.", Convention::Bfl),
        ("single_blocks.", Convention::Bfl),
    ];
    // ComfyUI's name for the encoders begins like PEFT's.
    if name.starts_with("text_encoders.") {
        return Some(Convention::Bfl);
    }
    BEGINNINGS.iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, convention)| *convention)
}

/// Parts of names that only the layers of some models have.
const MARKS: [(&str, &str, Option<Family>); 13] = [
    ("joint_blocks", "Stable Diffusion 3", None),
    ("transformer.transformer_blocks", "FLUX.1", Some(Family::Flux1)),
    ("single_transformer_blocks", "FLUX.1", Some(Family::Flux1)),
    ("single_blocks", "FLUX.1", Some(Family::Flux1)),
    ("double_blocks", "FLUX.1", Some(Family::Flux1)),
    ("lora_te2_text_model", "Stable Diffusion XL", None),
    ("text_encoder_2.text_model", "Stable Diffusion XL", None),
    ("transformer_blocks_1_", "Stable Diffusion XL", None),
    ("transformer_blocks.1.attn1", "Stable Diffusion XL", None),
    ("prior_blocks", "Stable Cascade", None),
    ("caption_projection", "PixArt", None),
    ("down_blocks", "Stable Diffusion 1.x", Some(Family::StableDiffusion1)),
    ("input_blocks", "Stable Diffusion XL", None),
];

/// What modules of these names are for, as far as they tell.
pub(super) fn made_for(names: &[&str]) -> Option<(&'static str, Option<Family>)> {
    let has = |mark: &str| names.iter().any(|name| name.contains(mark));
    MARKS.iter().find(|(mark, ..)| has(mark)).map(|(_, name, family)| (*name, *family))
}

struct Reader<'a> {
    tensors: &'a Tensors,
    layers: &'a Layers,
    config: PeftConfig,
}

impl Reader<'_> {
    /// The update of the module `name`, as a whole.
    fn update(&self, name: &str, module: &Module, roles: &Roles) -> Result<Update, LoraError> {
        let (file, module_name) = (self.tensors.name().to_owned(), name.to_owned());
        let key = |role: Role| {
            roles.get(&role).ok_or_else(|| LoraError::Incomplete {
                file: file.clone(),
                module: module_name.clone(),
                missing: role.name(),
            })
        };
        let (down, up) = (self.factor(key(Role::Down)?)?, self.factor(key(Role::Up)?)?);
        let layer = &self.layers.all()[module.slices[0].layer];
        let rank = down.shape.first().copied().unwrap_or(0);
        let rows = module.slices.last().map_or(0, |slice| slice.rows.end);
        let name_of_layer = || self.layers.name(module.slices[0].layer);
        let fits_down = down.shape.len() >= 2
            && down.factor.columns == layer.d_input()
            && (down.shape.len() == 2 || is_kernel(&layer.shape, &down.shape));
        let fits_up = up.shape.first() == Some(&rows) && up.factor.columns == rank;
        if !fits_down || !fits_up || rank == 0 {
            let mut expected = layer.shape.clone();
            expected[0] = rows;
            let misfit = Misfit {
                module: module_name,
                layer: name_of_layer(),
                expected,
                down: down.shape,
                up: up.shape,
                family: self.layers.family(),
            };
            return Err(LoraError::Shape { file, misfit: Box::new(misfit) });
        }
        let most = layer.d_input().min(rows);
        if rank > most {
            let (module, layer) = (module_name, name_of_layer());
            return Err(LoraError::Rank { file, module, rank, layer, most });
        }
        let alpha = match roles.get(&Role::Alpha) {
            Some(key) => f64::from(self.tensors.f32(key)?.first().copied().unwrap_or(0.0)),
            None => {
                let part = layer.part.name(self.layers.family());
                self.config.alpha(part, &layer.path, rank)?.unwrap_or(rank as f64)
            }
        };
        match alpha != 0.0 && alpha.is_finite() {
            true => Ok(Update { down: down.factor, up: up.factor, alpha }),
            false => Err(LoraError::Alpha { file, module: module_name, alpha }),
        }
    }

    fn factor(&self, key: &str) -> Result<Shaped, LoraError> {
        let values = self.tensors.f32(key)?;
        let shape = self.tensors.shape(key).unwrap_or_default().to_vec();
        let rows = shape.first().copied().unwrap_or(0);
        let columns = shape.iter().skip(1).product();
        let float = Float::named(&self.tensors.dtype(key).unwrap_or_default());
        Ok(Shaped { factor: Factor { rows, columns, values, float }, shape })
    }
}

/// A factor with its shape in the file.
struct Shaped {
    factor: Factor,
    shape: Vec<usize>,
}

/// Whether a down factor of this shape is a convolution like that of the layer's weight; a linear
/// layer may be taken for one of a single pixel.
fn is_kernel(layer: &[usize], down: &[usize]) -> bool {
    match layer.len() {
        2 => down[2..].iter().all(|side| *side == 1),
        _ => down.len() == layer.len() && down[1..] == layer[1..],
    }
}
