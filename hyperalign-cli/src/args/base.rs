//! The flags that name a base.

use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_models::base::{Base, Preset};

use crate::base::{self, BaseOptions};

/// Which base a command works on.
#[derive(Debug, clap::Args)]
pub struct BaseArgs {
    /// Base model: the name of an embedded one (emoji-sd, emoji-flux), a folder in diffusers' layout,
    /// a single .safetensors file of Stable Diffusion 1.x or FLUX.1, or `hf:OWNER/NAME[@REVISION]`.
    #[arg(long = "base", value_name = "NAME_OR_DIR")]
    pub name: String,

    /// How it is found and read.
    #[command(flatten)]
    pub options: BaseOptions,
}

impl BaseArgs {
    /// Opens the base, and says how pictures are sampled from it where nobody says otherwise.
    ///
    /// # Errors
    ///
    /// Fails if there is no such base, or it cannot be had or read.
    pub fn open(&self, device: &Device) -> miette::Result<(Arc<dyn Base>, Preset)> {
        base::open(&self.name, &self.options, device)
    }

    /// [`open`](Self::open) without the LoRA files.
    ///
    /// # Errors
    ///
    /// Fails if there is no such base, or it cannot be had or read.
    #[cfg(feature = "serve")]
    pub fn open_bare(&self, device: &Device) -> miette::Result<(Arc<dyn Base>, Preset)> {
        base::open_bare(&self.name, &self.options, device)
    }
}
