//! The flag that lays LoRA files over a base.

use std::path::PathBuf;
use std::str::FromStr;

/// A LoRA file, and how strongly it is laid over the base.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraChoice {
    /// The file.
    pub file: PathBuf,
    /// What its update is multiplied by.
    pub scale: f64,
}

impl FromStr for LoraChoice {
    type Err = String;

    /// Reads `FILE` or `FILE=SCALE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (file, scale) = match text.rsplit_once('=') {
            // A name may have an equals sign too.
            Some((file, scale)) if !file.is_empty() && !std::path::Path::new(text).exists() => {
                let number = scale.parse::<f64>().ok().filter(|scale| scale.is_finite());
                (file, number.ok_or(format!("the scale `{scale}` of `{file}` is no number"))?)
            }
            _ => (text, 1.0),
        };
        Ok(Self { file: PathBuf::from(file), scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_follows_the_last_equals_sign() {
        let read = |text: &str| text.parse::<LoraChoice>().map(|c| (c.file, c.scale));
        assert_eq!(read("a/b.safetensors"), Ok((PathBuf::from("a/b.safetensors"), 1.0)));
        assert_eq!(read("b.safetensors=-0.5"), Ok((PathBuf::from("b.safetensors"), -0.5)));
        assert_eq!(read("x=y.safetensors=2"), Ok((PathBuf::from("x=y.safetensors"), 2.0)));
        assert!(read("b.safetensors=strong").unwrap_err().contains("`strong`"));
        assert!(read("b.safetensors=inf").is_err());
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a=b");
        std::fs::write(&odd, "").unwrap();
        assert_eq!(read(odd.to_str().unwrap()), Ok((odd, 1.0)));
    }
}
