//! The number format of each part of a pipeline.

use std::{fmt, str::FromStr};

use burn::tensor::{Device, FloatDType};

use super::PipelineError;

/// The number format of the weights of each part, in which it also computes. Nothing means the
/// format of the device. Between the parts, in the sampler and in what is trained it is always
/// that of the device; norms and softmax accumulate in f32.
///
/// Written `bf16` for all parts, or `unet=bf16,vae=f32`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats {
    /// Of the text encoder.
    pub text_encoder: Option<FloatDType>,
    /// Of the U-Net.
    pub unet: Option<FloatDType>,
    /// Of the autoencoder.
    pub vae: Option<FloatDType>,
}

/// A format that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no number format; write f32, f16 or bf16, or one for each part, as in \
     unet=bf16,vae=f32,text_encoder=f32"
)]
pub struct FormatError {
    given: String,
}

const NAMES: [(&str, FloatDType); 3] =
    [("f32", FloatDType::F32), ("f16", FloatDType::F16), ("bf16", FloatDType::BF16)];

impl Formats {
    /// The same format for all parts.
    pub fn all(format: FloatDType) -> Self {
        Self { text_encoder: Some(format), unet: Some(format), vae: Some(format) }
    }

    /// Checks that `device` computes in the formats.
    ///
    /// # Errors
    ///
    /// Fails for the first part whose format the device does not know.
    pub fn check(&self, device: &Device) -> Result<(), PipelineError> {
        let parts = [("text_encoder", self.text_encoder), ("unet", self.unet), ("vae", self.vae)];
        for (part, format) in parts {
            if let Some(format) = format.filter(|format| !device.supports_dtype(*format)) {
                return Err(PipelineError::Format { part, format: name(format) });
            }
        }
        Ok(())
    }
}

fn name(format: FloatDType) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == format).map_or("another format", |(name, _)| name)
}

impl FromStr for Formats {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let bad = || FormatError { given: text.to_owned() };
        let read = |text: &str| {
            let found = NAMES.iter().find(|(name, _)| *name == text);
            found.map(|(_, format)| *format).ok_or_else(bad)
        };
        if !text.contains('=') {
            return read(text).map(Self::all);
        }
        let mut formats = Self::default();
        for entry in text.split(',') {
            let (part, format) = entry.split_once('=').ok_or_else(bad)?;
            let part = match part {
                "text_encoder" => &mut formats.text_encoder,
                "unet" => &mut formats.unet,
                "vae" => &mut formats.vae,
                _ => return Err(bad()),
            };
            if part.replace(read(format)?).is_some() {
                return Err(bad());
            }
        }
        Ok(formats)
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("text_encoder", self.text_encoder), ("unet", self.unet), ("vae", self.vae)];
        let set =
            parts.iter().filter_map(|(part, format)| Some(format!("{part}={}", name((*format)?))));
        f.write_str(&set.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_for_all_or_one_for_each() {
        assert_eq!("bf16".parse(), Ok(Formats::all(FloatDType::BF16)));
        let formats: Formats = "unet=f16,vae=f32".parse().unwrap();
        assert_eq!(formats.unet, Some(FloatDType::F16));
        assert_eq!(formats.text_encoder, None);
        assert_eq!(formats.to_string().parse(), Ok(formats));
        for text in
            ["", "f8", "unet", "unet=", "unet=f8", "net=f16", "unet=f16,unet=f32", "f16,f32"]
        {
            assert!(text.parse::<Formats>().is_err(), "{text:?}");
        }
    }
}
