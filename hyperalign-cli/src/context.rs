//! What every command is given beside its own arguments.

use std::path::PathBuf;

use burn::tensor::{Device, FloatDType};
use hyperalign_core::device;
use miette::IntoDiagnostic;

use crate::kernels;

/// The choices that hold for the whole run of the program.
#[derive(Debug)]
pub struct Context {
    device: String,
    keeps_kernels: bool,
    parsing: fn() -> clap::Command,
}

impl Context {
    /// A context for the device called `device`, which is not opened yet and whose kernels are kept
    /// between runs or not, and the command line that `parsing` describes.
    pub fn new(device: String, keeps_kernels: bool, parsing: fn() -> clap::Command) -> Self {
        Self { device, keeps_kernels, parsing }
    }

    /// The description of the whole command line.
    pub fn parsing(&self) -> clap::Command {
        (self.parsing)()
    }

    /// The name of the device, as the user wrote it.
    pub fn device_name(&self) -> &str {
        &self.device
    }

    /// Opens the device of `--device`. Commands that compute nothing never call this, so that
    /// they work where the device does not.
    ///
    /// # Errors
    ///
    /// Fails where [`device::open`] does.
    pub fn device(&self) -> miette::Result<Device> {
        self.prepare_kernels();
        device::open(&self.device).into_diagnostic()
    }

    /// Opens the device of `--device` with `dtype` as the format of its tensors.
    ///
    /// # Errors
    ///
    /// Fails where [`device::open_in`] does.
    pub fn device_in(&self, dtype: FloatDType) -> miette::Result<Device> {
        self.prepare_kernels();
        device::open_in(&self.device, dtype).into_diagnostic()
    }

    /// Where kernels of the device are kept between runs; `None` if they are not.
    pub fn kernels(&self) -> Option<PathBuf> {
        let keeps = self.keeps_kernels && self.device != device::CPU;
        keeps.then(kernels::folder).flatten()
    }

    fn prepare_kernels(&self) {
        if self.device != device::CPU {
            kernels::prepare(self.kernels().as_deref());
        }
    }
}
