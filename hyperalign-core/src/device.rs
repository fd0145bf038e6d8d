//! Devices by name, as `--device` takes them.

use burn::tensor::{Device, FloatDType};

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is not one that we know.
    #[error("unknown device `{given}`; devices are {KNOWN} (with an index as in `cuda:1`)")]
    Unknown {
        /// What was asked for.
        given: String,
    },
    /// This program was built without the backend.
    #[error(
        "device `{given}` needs the feature `{feature}`, which this program was built without; \
         rebuild it with `cargo build --release --features {feature}`, or use `--device cpu`"
    )]
    NotBuilt {
        /// What was asked for.
        given: String,
        /// The Cargo feature that brings it.
        feature: &'static str,
    },
    /// The backend is there but finds no such device.
    #[error("device `{given}` is not on this machine ({reason}); use `--device cpu`")]
    Absent {
        /// What was asked for.
        given: String,
        /// What the backend said.
        reason: String,
    },
    /// The device does not compute in this number format.
    #[error("device `{given}` does not compute in {dtype}; use f32")]
    Format {
        /// What was asked for.
        given: String,
        /// The number format.
        dtype: &'static str,
    },
    /// The device is in use, with another number format.
    #[error("device `{given}` is in use already, and no longer takes {dtype} for its tensors")]
    InUse {
        /// What was asked for.
        given: String,
        /// The number format.
        dtype: &'static str,
    },
}

const KNOWN: &str = "cpu, cuda, vulkan, metal, wgpu, rocm";
/// The name of the processor as a device.
pub const CPU: &str = "cpu";
const GPU_FEATURES: [&str; 5] = ["cuda", "vulkan", "metal", "wgpu", "rocm"];

/// Opens the device called `name` as [`open`] does, with `dtype` as the format of all tensors and
/// parameters that are made without naming one. Burn fixes the format at the first tensor, for
/// the rest of the process.
///
/// # Errors
///
/// Fails where [`open`] does, for a format that the device does not compute in, and for a device
/// that has been used before.
pub fn open_in(name: &str, dtype: FloatDType) -> Result<Device, DeviceError> {
    let label = match dtype {
        FloatDType::F64 => "f64",
        FloatDType::F32 | FloatDType::Flex32 => "f32",
        FloatDType::F16 => "f16",
        FloatDType::BF16 => "bf16",
    };
    open_with(name, |mut device| {
        if !device.supports_dtype(dtype) {
            return Err(DeviceError::Format { given: name.to_owned(), dtype: label });
        }
        // A second time is refused even where it would change nothing.
        match device.configure(dtype) {
            Err(_) if device.settings().float_dtype != dtype => {
                Err(DeviceError::InUse { given: name.to_owned(), dtype: label })
            }
            _ => Ok(device),
        }
    })
}

/// Opens the device called `name`: `cpu`, or `cuda`, `vulkan`, `metal`, `wgpu`, `rocm`, each with
/// an optional index as in `cuda:1`.
///
/// # Errors
///
/// Fails for an unknown name, a backend that is not built in, and a device that is not there.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    open_with(name, Ok)
}

/// Whether `name` is one that [`open`] knows, which says nothing of whether there is such a device.
///
/// # Errors
///
/// Fails for an unknown name.
pub fn check_name(name: &str) -> Result<(), DeviceError> {
    parse(name).map(|_| ())
}

/// Whether tensors of `device` lie in this process's own memory, so that reading one costs no
/// transfer and waits for nothing.
pub fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return device.clone().without_autodiff() == Device::flex();
    #[cfg(not(feature = "flex"))]
    return {
        let _ = device;
        false
    };
}

/// The backend and the index in the name of a device.
fn parse(name: &str) -> Result<(&'static str, usize), DeviceError> {
    let unknown = || DeviceError::Unknown { given: name.to_owned() };
    if name == CPU {
        return Ok((CPU, 0));
    }
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let feature = *GPU_FEATURES.iter().find(|feature| **feature == kind).ok_or_else(unknown)?;
    Ok((feature, index.parse().map_err(|_| unknown())?))
}

/// Opens a device; `prepare` sees it before any tensor is made.
fn open_with(
    name: &str,
    prepare: impl FnOnce(Device) -> Result<Device, DeviceError>,
) -> Result<Device, DeviceError> {
    let (feature, index) = parse(name)?;
    if feature == CPU {
        return cpu(name).and_then(prepare);
    }
    let not_built = || DeviceError::NotBuilt { given: name.to_owned(), feature };
    let open = constructor(feature).ok_or_else(not_built)?;
    probe(name, || prepare(open(index)))
}

/// How to make a device of `kind`, where its backend is built in.
fn constructor(kind: &str) -> Option<fn(usize) -> Device> {
    match kind {
        #[cfg(feature = "cuda")]
        "cuda" => Some(|index| Device::cuda(index)),
        #[cfg(feature = "rocm")]
        "rocm" => Some(|index| Device::rocm(index)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(|index| Device::vulkan(gpu(index))),
        #[cfg(feature = "metal")]
        "metal" => Some(|index| Device::metal(gpu(index))),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(|index| Device::wgpu(gpu(index))),
        _ => None,
    }
}

#[cfg(feature = "flex")]
fn cpu(_: &str) -> Result<Device, DeviceError> {
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn cpu(name: &str) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { given: name.to_owned(), feature: "flex" })
}

/// Index 0 is whatever the system likes best: on a laptop the only, integrated one.
#[cfg(any(feature = "vulkan", feature = "metal", feature = "wgpu"))]
fn gpu(index: usize) -> burn::tensor::DeviceKind {
    match index {
        0 => burn::tensor::DeviceKind::DefaultDevice,
        index => burn::tensor::DeviceKind::DiscreteGpu(index - 1),
    }
}

/// The backends panic where there is no device, at the first use of it.
fn probe(
    name: &str,
    open: impl FnOnce() -> Result<Device, DeviceError>,
) -> Result<Device, DeviceError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let device = open()?;
        let one = burn::tensor::Tensor::<1>::ones([1], &device) + 1.0;
        one.into_scalar::<f32>();
        Ok(device)
    }));
    std::panic::set_hook(hook);
    opened.unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "the backend gave no reason".to_owned());
        Err(DeviceError::Absent { given: name.to_owned(), reason })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_a_device_lacks_are_refused() {
        assert!(open_in("cpu", FloatDType::F32).is_ok());
        assert!(matches!(open_in("tpu", FloatDType::F32), Err(DeviceError::Unknown { .. })));
        if let Err(error) = open_in("cpu", FloatDType::BF16) {
            assert!(error.to_string().contains("bf16"), "{error}");
        }
    }

    #[test]
    fn names() {
        assert!(open("cpu").is_ok());
        for name in ["tpu", "", "cuda:x", "cuda:", "cpu:0"] {
            assert!(matches!(check_name(name), Err(DeviceError::Unknown { .. })), "{name}");
            assert!(matches!(open(name), Err(DeviceError::Unknown { .. })), "{name}");
        }
        for name in ["cpu", "cuda", "metal:1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        #[cfg(not(feature = "rocm"))]
        assert!(matches!(open("rocm:1"), Err(DeviceError::NotBuilt { feature: "rocm", .. })));
    }
}
