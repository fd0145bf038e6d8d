//! FLUX.1 as Black Forest Labs publish it: a file with the transformer, and the other parts beside it.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use hyperalign_core::schedule::FlowSchedulerConfig;

use super::{
    Flux, Formats, PipelineError,
    flux_networks::{FluxFiles, FluxSizes, FluxWeights},
    parts,
};
use crate::{
    flux::FluxConfig,
    vae::AutoencoderKlConfig,
    weights::{
        Folder, KeyMismatch, LoadError, Tensors,
        published::{self, Kind},
    },
};

/// The autoencoder beside the transformer, in the layout of its authors.
const AUTOENCODER: &str = "ae.safetensors";
/// Where the schedule of a folder in the layout of diffusers is.
const SCHEDULE: &str = "scheduler/scheduler_config.json";

impl Flux {
    /// Reads the transformer from the single file `path` (`flux1-dev.safetensors`), and the rest
    /// from the folder `components` or, what is not there, from the folder of the file: `tokenizer`,
    /// `tokenizer_2`, `text_encoder` and `text_encoder_2` as diffusers has them, and the autoencoder
    /// as `ae.safetensors` or `vae`.
    ///
    /// Sizes are those of the tensors. Keys of a guidance embedding tell FLUX.1-dev from FLUX.1-schnell,
    /// whose schedules differ; where there is a `scheduler`, it is read.
    ///
    /// # Errors
    ///
    /// Fails if the file holds another model, or holds it not exactly, and if a part is missing or
    /// wrong.
    pub fn from_single_file(
        path: &Path,
        components: Option<&Path>,
        formats: &Formats,
        device: &Device,
    ) -> Result<Self, PipelineError> {
        let transformer = Tensors::open(path)?;
        let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let places: Vec<PathBuf> = components
            .into_iter()
            .chain([beside.unwrap_or(Path::new("."))])
            .map(Path::to_owned)
            .collect();
        let place = |part: &str| places.iter().find(|place| place.join(part).exists());
        let names = ["text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"];
        let [text_encoder, text_encoder_2, tokenizer, tokenizer_2] =
            names.map(|name| place(name).map(Folder::disk));
        let vae = place(AUTOENCODER).map(|place| (AUTOENCODER, place));
        let vae = vae.or_else(|| place("vae").map(|place| ("vae", place)));
        let (
            Some(text),
            Some(text_2),
            Some(tokenizer),
            Some(tokenizer_2),
            Some((file, place_of_vae)),
        ) = (text_encoder, text_encoder_2, tokenizer, tokenizer_2, vae)
        else {
            let mut missing: Vec<String> = names
                .into_iter()
                .filter(|name| place(name).is_none())
                .map(|name| format!("the folder {name}"))
                .collect();
            if vae.is_none() {
                missing.push(format!("the autoencoder ({AUTOENCODER} or the folder vae)"));
            }
            return Err(PipelineError::NoComponents {
                file: path.display().to_string(),
                missing,
                tried: places.iter().map(|place| place.display().to_string()).collect(),
            });
        };
        let config = transformer_sizes(&transformer)?;
        let schedule = places.iter().map(Folder::disk).find(|place| place.contains(SCHEDULE));
        let scheduler_config = match schedule {
            Some(folder) => folder.read_config(SCHEDULE)?,
            None if config.guidance_embeds => FlowSchedulerConfig::flux_dev(),
            None => FlowSchedulerConfig::flux_schnell(),
        };
        let folder_of_vae = Folder::disk(place_of_vae);
        let (vae, vae_weights) = match file {
            AUTOENCODER => {
                let tensors = folder_of_vae.weights(AUTOENCODER)?;
                (autoencoder_sizes(&tensors)?, tensors)
            }
            _ => (folder_of_vae.read_config("vae/config.json")?, folder_of_vae.tensors("vae")?),
        };
        let files = FluxFiles {
            tokenizer: parts::tokenizer(&tokenizer, "tokenizer")?,
            tokenizer_2: parts::tokenizer(&tokenizer_2, "tokenizer_2")?,
            scheduler_config,
            sizes: FluxSizes {
                text_encoder: text.read_config("text_encoder/config.json")?,
                text_encoder_2: text_2.read_config("text_encoder_2/config.json")?,
                transformer: config,
                vae,
            },
            weights: FluxWeights {
                text_encoder: text.tensors("text_encoder")?,
                text_encoder_2: text_2.tensors("text_encoder_2")?,
                transformer,
                vae: vae_weights,
            },
        };
        Self::read(&path.display().to_string(), files, formats, device)
    }
}

/// The transformer at the top of `folder` in the layout of Black Forest Labs, where that is how
/// the folder holds it: FLUX's own repository has it beside the one of diffusers, which is then
/// preferred.
pub(super) fn transformer_in(folder: &Folder) -> Result<Option<PathBuf>, PipelineError> {
    let Folder::Disk(root) = folder else { return Ok(None) };
    if folder.contains("transformer/config.json") || folder.contains("unet/config.json") {
        return Ok(None);
    }
    let entries = std::fs::read_dir(root)
        .map_err(|source| LoadError::Io { path: root.clone(), source })?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = Vec::new();
    for path in entries.filter(|path| path.extension().is_some_and(|kind| kind == "safetensors")) {
        if path.is_file() && published::identify(&Tensors::open(&path)?) == Some(Kind::FluxBfl) {
            found.push(path);
        }
    }
    found.sort();
    if found.len() > 1 {
        let files = found.iter().map(|path| path.display().to_string()).collect();
        return Err(PipelineError::Several { folder: folder.display(""), files });
    }
    Ok(found.pop())
}

/// Sizes of a file, from the shapes of its tensors.
struct Shapes<'a>(&'a Tensors);

impl Shapes<'_> {
    /// The extent of `key` along `axis`.
    fn extent(&self, key: &str, axis: usize) -> Result<usize, LoadError> {
        let extent = self.0.shape(key).and_then(|shape| shape.get(axis)).copied();
        extent.filter(|extent| *extent > 0).ok_or_else(|| LoadError::Keys {
            file: self.0.name().to_owned(),
            mismatch: KeyMismatch { missing: vec![(key.to_owned(), None)], ..Default::default() },
        })
    }

    /// How many of the keys that `name` gives for 0, 1, 2 ... there are.
    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|i| self.0.contains(&name(*i))).count()
    }
}

fn transformer_sizes(tensors: &Tensors) -> Result<FluxConfig, PipelineError> {
    let shapes = Shapes(tensors);
    let dim = shapes.extent("img_in.weight", 0)?;
    let attention_head_dim = shapes.extent("double_blocks.0.img_attn.norm.query_norm.scale", 0)?;
    let config = FluxConfig {
        in_channels: shapes.extent("img_in.weight", 1)?,
        out_channels: Some(shapes.extent("final_layer.linear.weight", 0)?),
        num_layers: shapes.count(|i| format!("double_blocks.{i}.img_attn.qkv.weight")),
        num_single_layers: shapes.count(|i| format!("single_blocks.{i}.linear1.weight")),
        attention_head_dim,
        num_attention_heads: dim / attention_head_dim,
        joint_attention_dim: shapes.extent("txt_in.weight", 1)?,
        pooled_projection_dim: shapes.extent("vector_in.in_layer.weight", 1)?,
        guidance_embeds: tensors.contains("guidance_in.in_layer.weight"),
        ..FluxConfig::default()
    };
    let config = FluxConfig {
        out_channels: config.out_channels.filter(|channels| *channels != config.in_channels),
        ..config
    };
    match config.validate() {
        Ok(()) => Ok(config),
        Err(reason) => Err(LoadError::Config { file: tensors.name().to_owned(), reason }.into()),
    }
}

fn autoencoder_sizes(tensors: &Tensors) -> Result<AutoencoderKlConfig, PipelineError> {
    let shapes = Shapes(tensors);
    let conv =
        |level: usize, block: usize| format!("encoder.down.{level}.block.{block}.conv2.weight");
    let levels = shapes.count(|level| conv(level, 0));
    let channels = (0..levels).map(|level| shapes.extent(&conv(level, 0), 0));
    let config = AutoencoderKlConfig {
        block_out_channels: channels.collect::<Result<_, _>>()?,
        layers_per_block: shapes.count(|block| conv(0, block)),
        latent_channels: shapes.extent("decoder.conv_in.weight", 1)?,
        ..AutoencoderKlConfig::flux1()
    };
    match config.validate() {
        Ok(()) => Ok(config),
        Err(reason) => Err(LoadError::Config { file: tensors.name().to_owned(), reason }.into()),
    }
}
