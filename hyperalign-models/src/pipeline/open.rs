//! Whatever pipeline a folder holds.

use burn::tensor::Device;

use super::{Flux, PipelineError, StableDiffusion, flux, parts, stable_diffusion};
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
    let name = name.map_or_else(|| folder.display(""), str::to_owned);
    let class = parts::class(folder)?;
    match class.as_str() {
        stable_diffusion::CLASS => {
            Ok(Box::new(StableDiffusion::from_folder(folder, device)?.named(&name)))
        }
        flux::CLASS => Ok(Box::new(Flux::from_folder(folder, device)?.named(&name))),
        _ => Err(PipelineError::Class {
            file: folder.display(parts::INDEX),
            class,
            expected: "StableDiffusionPipeline or FluxPipeline",
        }),
    }
}
