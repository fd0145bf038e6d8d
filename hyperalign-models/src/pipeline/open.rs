//! Whatever pipeline a folder holds.

use burn::tensor::Device;

use super::{Flux, Formats, PipelineError, StableDiffusion, flux, parts, stable_diffusion};
use crate::{base::Base, weights::Folder};

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
    open_in(folder, name, &Formats::default(), device)
}

/// [`open`] with the parts in given number formats.
///
/// # Errors
///
/// Fails where [`open`] does, and for a format that the device or the pipeline does not compute
/// in.
pub fn open_in(
    folder: &Folder,
    name: Option<&str>,
    formats: &Formats,
    device: &Device,
) -> Result<Box<dyn Base>, PipelineError> {
    let name = name.map_or_else(|| folder.display(""), str::to_owned);
    let class = parts::class(folder)?;
    match class.as_str() {
        stable_diffusion::CLASS => {
            let base = StableDiffusion::from_folder_in(folder, formats, device)?;
            Ok(Box::new(base.named(&name)))
        }
        flux::CLASS if *formats != Formats::default() => Err(PipelineError::NoFormats { class }),
        flux::CLASS => Ok(Box::new(Flux::from_folder(folder, device)?.named(&name))),
        _ => Err(PipelineError::Class {
            file: folder.display(parts::INDEX),
            class,
            expected: "StableDiffusionPipeline or FluxPipeline",
        }),
    }
}
