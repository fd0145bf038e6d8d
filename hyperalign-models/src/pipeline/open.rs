//! Whatever pipeline a folder holds.

use std::path::Path;

use burn::tensor::Device;

use super::{
    Flux, Formats, PipelineError, Sizes, StableDiffusion, flux, flux_single_file, parts,
    stable_diffusion,
};
use crate::{
    base::Base,
    weights::{
        Folder, Tensors,
        published::{self, Kind},
    },
};

/// Where that is which a model in one file does not have in it; by default beside the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// CLIP's vocabulary, for Stable Diffusion.
    pub tokenizer: Option<&'a Path>,
    /// An autoencoder, for Stable Diffusion; in the place of the file's own if it has one.
    pub vae: Option<&'a Path>,
    /// Text encoders, tokenizers and autoencoder, for FLUX.1.
    pub components: Option<&'a Path>,
}

impl Beside<'_> {
    /// Fails if a vocabulary or an autoencoder was named for the model `base`, which `is` one that has its own.
    fn without_tokenizer(self, base: &str, is: &'static str) -> Result<(), PipelineError> {
        let wanted = "Stable Diffusion 1.x in one file";
        unneeded(self.tokenizer, "--tokenizer", wanted, base, is)?;
        unneeded(self.vae, "--vae", wanted, base, is)
    }

    /// Fails if other parts were named for the model `base`, which `is` one that has its own.
    fn without_components(self, base: &str, is: &'static str) -> Result<(), PipelineError> {
        let (option, wanted) = ("--components", "FLUX.1 in one file");
        unneeded(self.components, option, wanted, base, is)
    }
}

fn unneeded(
    given: Option<&Path>,
    option: &'static str,
    wanted: &'static str,
    base: &str,
    is: &'static str,
) -> Result<(), PipelineError> {
    match given {
        Some(_) => Err(PipelineError::Unneeded { option, wanted, base: base.to_owned(), is }),
        None => Ok(()),
    }
}

/// What the files of Black Forest Labs are, to whoever names a vocabulary for them.
const FLUX_FILE: &str = "is FLUX.1, whose other parts are among its components";

/// Opens the model in the single file `path`, whichever it is: Stable Diffusion 1.x, or FLUX.1 as
/// Black Forest Labs publish it.
///
/// # Errors
///
/// Fails if the file holds another model, or holds it not exactly, if something that belongs to
/// it is not found, and if `beside` names something that it does not need.
pub fn open_file(
    path: &Path,
    beside: Beside<'_>,
    formats: &Formats,
    device: &Device,
) -> Result<Box<dyn Base>, PipelineError> {
    let kind = published::identify(&Tensors::open(path)?);
    let base = path.display().to_string();
    if kind == Some(Kind::StableDiffusion1) {
        beside.without_components(&base, "is Stable Diffusion 1.x, which has all parts in it")?;
    }
    Ok(match kind {
        Some(Kind::FluxBfl) => {
            beside.without_tokenizer(&base, FLUX_FILE)?;
            Box::new(Flux::from_single_file(path, beside.components, formats, device)?)
        }
        _ => {
            let sizes = Sizes::sd15();
            Box::new(StableDiffusion::from_single_file(path, &sizes, beside, formats, device)?)
        }
    })
}

/// Opens the pipeline in `folder`, of whichever class its `model_index.json` names, and calls it
/// `name`, or by the folder if that is none.
///
/// # Errors
///
/// Fails if a part is missing or wrong, or the class is none of those that are built.
pub fn open(
    folder: &Folder,
    name: Option<&str>,
    device: &Device,
) -> Result<Box<dyn Base>, PipelineError> {
    open_in(folder, name, Beside::default(), &Formats::default(), device)
}

/// [`open`] with the parts in given number formats, and with those that are not in the folder from
/// `beside`.
///
/// A folder may also hold FLUX.1 as Black Forest Labs publish it.
///
/// # Errors
///
/// Fails where [`open`] does, for a format that the device or the pipeline does not compute in,
/// and if `beside` names something that the model does not need.
pub fn open_in(
    folder: &Folder,
    name: Option<&str>,
    beside: Beside<'_>,
    formats: &Formats,
    device: &Device,
) -> Result<Box<dyn Base>, PipelineError> {
    let name = name.map_or_else(|| folder.display(""), str::to_owned);
    if let Some(file) = flux_single_file::transformer_in(folder)? {
        beside.without_tokenizer(&name, FLUX_FILE)?;
        let base = Flux::from_single_file(&file, beside.components, formats, device)?;
        return Ok(Box::new(base.named(&name)));
    }
    if !folder.contains(parts::INDEX) {
        return Err(PipelineError::NoIndex { folder: name, index: parts::INDEX });
    }
    let whole = "brings all its parts";
    beside.without_tokenizer(&name, whole)?;
    beside.without_components(&name, whole)?;
    let class = parts::class(folder)?;
    match class.as_str() {
        stable_diffusion::CLASS => {
            let base = StableDiffusion::from_folder_in(folder, formats, device)?;
            Ok(Box::new(base.named(&name)))
        }
        flux::CLASS => Ok(Box::new(Flux::from_folder_in(folder, formats, device)?.named(&name))),
        _ => Err(PipelineError::Class {
            file: folder.display(parts::INDEX),
            class,
            expected: "StableDiffusionPipeline or FluxPipeline",
        }),
    }
}
