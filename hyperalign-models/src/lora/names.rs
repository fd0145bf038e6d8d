//! What the conventions call the layers of a base.

use std::{collections::BTreeMap, fmt, ops::Range};

use super::{Family, Layer, Layers, Part};
use crate::weights::{
    Key,
    published::{self, Order, Source},
};

/// A convention of naming the layers in a LoRA file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Convention {
    /// PEFT and diffusers: `unet.mid_block...to_q.lora_A.weight`.
    Peft,
    /// kohya's sd-scripts: `lora_unet_mid_block_...to_q.lora_down.weight`.
    Kohya,
    /// Black Forest Labs and ComfyUI: `diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight`.
    Bfl,
    /// A static LoRA that this program trained.
    Hyperalign,
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peft => "PEFT and diffusers",
            Self::Kohya => "kohya's sd-scripts",
            Self::Bfl => "Black Forest Labs and ComfyUI",
            Self::Hyperalign => "HyperAlign",
        })
    }
}

/// The rows of a module's output that belong to one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    /// The place of the layer among those of the base.
    pub layer: usize,
    /// Its rows.
    pub rows: Range<usize>,
    /// Whether the halves of the rows stand in the other order.
    pub swapped: bool,
}

/// A module of a file: one layer of the base, or several that a convention keeps as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    pub convention: Convention,
    /// In the order of their rows.
    pub slices: Vec<Slice>,
}

/// The modules that files may name, by name.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, Module>);

impl Names {
    /// All names of the layers of a base, those of older programs too.
    pub fn of(layers: &Layers) -> Self {
        let mut names = BTreeMap::new();
        for (convention, style) in styles(layers.family()) {
            for (name, slices) in in_style(layers, style) {
                names.entry(name).or_insert(Module { convention, slices });
            }
        }
        Self(names)
    }

    /// The module called `name`.
    pub fn get(&self, name: &str) -> Option<&Module> {
        self.0.get(name)
    }

    /// The names of `convention`.
    pub fn in_convention(&self, convention: Convention) -> impl Iterator<Item = &str> {
        let own = self.0.iter().filter(move |(_, module)| module.convention == convention);
        own.map(|(name, _)| name.as_str())
    }
}

/// The modules that a file in `convention` is written with; every layer is in one of them.
pub(super) fn written(layers: &Layers, convention: Convention) -> Vec<(String, Vec<Slice>)> {
    let mut styles = styles(layers.family()).into_iter().filter(|(c, _)| *c == convention);
    let mut modules = BTreeMap::new();
    let mut named = vec![false; layers.all().len()];
    for (name, slices) in styles.by_ref().flat_map(|(_, style)| in_style(layers, style)) {
        // The first name of a layer is the one that is written.
        if slices.iter().all(|slice| !std::mem::replace(&mut named[slice.layer], true)) {
            modules.insert(name, slices);
        }
    }
    modules.into_iter().collect()
}

/// How a style calls the layers of one part.
#[derive(Clone, Copy)]
struct Style {
    part: Part,
    prefix: &'static str,
    layout: Layout,
    /// Whether points are written as underscores.
    flat: bool,
    /// What paths begin with and the style leaves out.
    without: &'static str,
}

/// Whose layout of the network the paths are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Ours, which is that of diffusers and transformers.
    Own,
    /// That of the authors of the model: ldm, or Black Forest Labs.
    Authors,
}

/// The styles of a family, those that are written first.
fn styles(family: Family) -> Vec<(Convention, Style)> {
    use Convention::{Bfl, Kohya, Peft};
    use Layout::{Authors, Own};
    use Part::{Denoiser, TextEncoder, TextEncoder2};
    let style = |part, prefix, layout, flat| Style { part, prefix, layout, flat, without: "" };
    let own_denoiser = match family {
        Family::StableDiffusion1 => "unet.",
        Family::Flux1 => "transformer.",
    };
    let (kohya, other) = match family {
        Family::StableDiffusion1 => (Own, Authors),
        Family::Flux1 => (Authors, Own),
    };
    // transformers 5 has no such level in memory, and PEFT writes what is in memory.
    let short = Style { without: "text_model.", ..style(TextEncoder, "text_encoder.", Own, false) };
    let clip = match family {
        Family::StableDiffusion1 => ["lora_te_", "lora_te1_"],
        Family::Flux1 => ["lora_te1_", "lora_te_"],
    };
    vec![
        (Peft, style(Denoiser, own_denoiser, Own, false)),
        (Peft, style(TextEncoder, "text_encoder.", Own, false)),
        (Peft, short),
        (Peft, style(TextEncoder2, "text_encoder_2.", Own, false)),
        // Adapters that PEFT itself saved are of one network, and do not say which; nor do the
        // processors of attention that older diffusers saved.
        (Peft, style(Denoiser, "base_model.model.", Own, false)),
        (Peft, style(TextEncoder, "base_model.model.", Own, false)),
        (Peft, style(TextEncoder2, "base_model.model.", Own, false)),
        (Peft, style(Denoiser, "", Own, false)),
        (Kohya, style(Denoiser, "lora_unet_", kohya, true)),
        (Kohya, style(Denoiser, "lora_unet_", other, true)),
        (Kohya, style(Denoiser, "lora_transformer_", Own, true)),
        (Kohya, style(TextEncoder, clip[0], Own, true)),
        (Kohya, style(TextEncoder, clip[1], Own, true)),
        // sd-scripts numbers T5 as ComfyUI does, which counts the two CLIPs of other models.
        (Kohya, style(TextEncoder2, "lora_te3_", Own, true)),
        (Kohya, style(TextEncoder2, "lora_te2_", Own, true)),
        (Bfl, style(Denoiser, "diffusion_model.", Authors, false)),
        (Bfl, style(Denoiser, "model.diffusion_model.", Authors, false)),
        (Bfl, style(Denoiser, "", Authors, false)),
        (Bfl, style(TextEncoder, "text_encoders.clip_l.transformer.", Own, false)),
        (Bfl, style(TextEncoder2, "text_encoders.t5xxl.transformer.", Own, false)),
    ]
}

/// The modules that `style` names.
fn in_style(layers: &Layers, style: Style) -> Vec<(String, Vec<Slice>)> {
    let of_part = || layers.all().iter().enumerate().filter(|(_, layer)| layer.part == style.part);
    let call = |path: &str| {
        let path = path.strip_prefix(style.without).unwrap_or(path);
        let path = if style.flat { path.replace('.', "_") } else { path.to_owned() };
        format!("{}{path}", style.prefix)
    };
    let mut modules: BTreeMap<String, Vec<(usize, Slice)>> = BTreeMap::new();
    let keys: Vec<Key> = of_part().map(|(_, layer)| key(layer)).collect();
    let authors = authors(layers.family(), &keys);
    for ((i, layer), key) in of_part().zip(&keys) {
        let source = match style.layout {
            Layout::Own => Source::named(&key.name),
            Layout::Authors => authors(key),
        };
        let path = source.name.strip_suffix(".weight").unwrap_or(&source.name);
        let swapped = source.order == Order::SwappedHalves;
        let slice = Slice { layer: i, rows: 0..layer.d_output(), swapped };
        modules.entry(call(path)).or_default().push((source.place, slice));
    }
    modules.into_iter().map(|(name, slices)| (name, stacked(slices))).collect()
}

/// The slices of one module, one behind the other.
fn stacked(mut slices: Vec<(usize, Slice)>) -> Vec<Slice> {
    slices.sort_by_key(|(place, _)| *place);
    let mut first = 0;
    let slices = slices.into_iter().map(|(_, slice)| {
        let rows = first..first + slice.rows.len();
        first = rows.end;
        Slice { rows, ..slice }
    });
    slices.collect()
}

/// Where the authors of the family keep the layers of the denoiser.
fn authors(family: Family, keys: &[Key]) -> Box<dyn Fn(&Key) -> Source> {
    match family {
        Family::StableDiffusion1 => Box::new(published::unet(keys)),
        Family::Flux1 => Box::new(published::flux),
    }
}

fn key(layer: &Layer) -> Key {
    Key { name: format!("{}.weight", layer.path), shape: layer.shape.clone() }
}
