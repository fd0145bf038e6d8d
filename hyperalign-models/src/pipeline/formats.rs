//! The number format of each part of a pipeline.

use std::{collections::BTreeMap, fmt, str::FromStr};

use burn::tensor::Device;

use super::PipelineError;
use crate::weights::Format;

/// The number format of the weights of each part. Nothing means the format of the device. Between
/// the parts, in the sampler and in what is trained it is always that of the device; norms and
/// softmax accumulate in f32.
///
/// Written `bf16` for all parts, or `unet=q8,vae=f32`; names are those of [`Format`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats {
    all: Option<Format>,
    parts: BTreeMap<&'static str, Format>,
}

/// A format that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no number format; write {}, or one for each part, as in unet=q8,vae=f32; parts \
     are {}",
    Format::NAMES.map(|(name, _)| name).join(", "),
    PARTS.join(", ")
)]
pub struct FormatError {
    given: String,
}

/// All parts that a pipeline can have.
const PARTS: [&str; 5] = ["text_encoder", "text_encoder_2", "transformer", "unet", "vae"];

impl Formats {
    /// The same format for all parts.
    pub fn all(format: impl Into<Format>) -> Self {
        Self { all: Some(format.into()), parts: BTreeMap::new() }
    }

    /// The format of `part`, if not that of the device.
    pub fn of(&self, part: &str) -> Option<Format> {
        self.parts.get(part).copied().or(self.all)
    }

    /// Checks that they are of a pipeline of the class `class`, which has `parts`, and that
    /// `device` computes in them.
    ///
    /// # Errors
    ///
    /// Fails for a part that the pipeline does not have, and for the first part whose format the
    /// device does not know.
    pub fn check(
        &self,
        class: &'static str,
        parts: &'static [&'static str],
        device: &Device,
    ) -> Result<(), PipelineError> {
        if let Some(part) = self.parts.keys().find(|part| !parts.contains(part)) {
            return Err(PipelineError::NoPart { class, part, parts });
        }
        for part in parts {
            let lacks = |format: &Format| !device.supports_dtype(format.float());
            if let Some(format) = self.of(part).filter(lacks) {
                let other = match format {
                    Format::Float(_) => "f32",
                    Format::EightBit(_) => "q8-f32",
                };
                return Err(PipelineError::Format { part, format, other });
            }
        }
        Ok(())
    }
}

impl FromStr for Formats {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let bad = || FormatError { given: text.to_owned() };
        let read = |text: &str| text.parse::<Format>().map_err(|_| bad());
        if !text.contains('=') {
            return read(text).map(Self::all);
        }
        let mut formats = Self::default();
        for entry in text.split(',') {
            let (part, format) = entry.split_once('=').ok_or_else(bad)?;
            let part = PARTS.into_iter().find(|known| *known == part).ok_or_else(bad)?;
            if formats.parts.insert(part, read(format)?).is_some() {
                return Err(bad());
            }
        }
        Ok(formats)
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|(part, format)| format!("{part}={format}"));
        let all = self.all.map(|format| format.to_string());
        f.write_str(&all.into_iter().chain(parts).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::*;

    #[test]
    fn one_for_all_or_one_for_each() {
        assert_eq!("bf16".parse(), Ok(Formats::all(FloatDType::BF16)));
        let formats: Formats = "unet=q8-f16,vae=f32".parse().unwrap();
        assert_eq!(formats.of("unet"), Some(Format::EightBit(FloatDType::F16)));
        assert_eq!(formats.of("text_encoder"), None);
        let f16 = Format::Float(FloatDType::F16);
        assert_eq!(Formats::all(FloatDType::F16).of("transformer"), Some(f16));
        assert_eq!(Formats::all(FloatDType::BF16).to_string(), "bf16");
        assert_eq!(formats.to_string().parse(), Ok(formats));
        for text in ["", "f8", "unet", "unet=", "unet=q4", "net=f16", "unet=f16,unet=f32", "q8,f32"]
        {
            let error = text.parse::<Formats>().unwrap_err().to_string();
            assert!(error.contains("bf16, q8, q8-f16, q8-f32"), "{error}");
        }
    }
}
