//! Rows of the table, on the command line.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::ValueEnum;
use hyperalign_models::{generate::TestTime, hypernet::Variant};

use crate::args::VariantChoice;

/// An adapter on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdapterChoice {
    /// What its row is called.
    pub name: Option<String>,
    /// How it is used, where not as it was trained.
    pub variant: Option<Variant>,
    pub file: PathBuf,
}

impl FromStr for AdapterChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = Self { name: None, variant: None, file: text.into() };
        // A path may hold the sign, too.
        let Some((name, file)) =
            text.split_once('=').filter(|(name, _)| !name.contains(['/', '\\']))
        else {
            return Ok(plain);
        };
        if name.is_empty() || file.is_empty() {
            return Err("an adapter is written as NAME=FILE, NAME:VARIANT=FILE or FILE".to_owned());
        }
        let (name, variant) = match name.split_once(':') {
            Some((name, variant)) => (name, Some(variant)),
            None => (name, None),
        };
        let variant = match variant {
            None => None,
            Some(given) => {
                let choice = VariantChoice::from_str(given, false).ok();
                let unknown = || format!("there is no variant `{given}`; there are s, p and i");
                Some(choice.and_then(VariantChoice::adapted).ok_or_else(unknown)?)
            }
        };
        Ok(Self { name: Some(name.to_owned()), variant, file: file.into() })
    }
}

/// A row of the table, as `--method` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MethodChoice {
    /// How the adapter is used.
    pub variant: VariantChoice,
    /// What works while the picture is sampled.
    pub test_time: Option<&'static str>,
}

impl FromStr for MethodChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            let names = TestTime::NAMES.join(", ");
            format!("there is no such method; there are none, s, p, i, {names}, and s+best-of-n")
        };
        let test_time = |name: &str| TestTime::NAMES.into_iter().find(|known| *known == name);
        let variant = |name| VariantChoice::from_str(name, false);
        if let Some((before, name)) = text.split_once('+') {
            let (variant, test_time) = (variant(before).ok(), test_time(name));
            let pair = variant.zip(test_time).ok_or_else(unknown)?;
            return Ok(Self { variant: pair.0, test_time: Some(pair.1) });
        }
        match (variant(text), test_time(text)) {
            (Ok(variant), _) => Ok(Self { variant, test_time: None }),
            (_, Some(name)) => Ok(Self { variant: VariantChoice::None, test_time: Some(name) }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for MethodChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.variant, self.test_time) {
            (variant, None) => write!(f, "{variant}"),
            (VariantChoice::None, Some(name)) => f.write_str(name),
            (variant, Some(name)) => write!(f, "{variant}+{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_by_name() {
        for name in ["none", "s", "i", "best-of-n", "p+freedom"] {
            assert_eq!(name.parse::<MethodChoice>().unwrap().to_string(), name);
        }
        for name in ["", "x", "s+", "+das", "s+x", "x+das", "s+das+das"] {
            let error = name.parse::<MethodChoice>().unwrap_err();
            assert!(error.contains("best-of-n"), "{name}: {error}");
        }
    }

    #[test]
    fn adapters_with_and_without_names() {
        let read = |text: &str| text.parse::<AdapterChoice>();
        let plain = |file: &str| AdapterChoice { name: None, variant: None, file: file.into() };
        assert_eq!(read("runs/a.safetensors"), Ok(plain("runs/a.safetensors")));
        assert_eq!(read("runs/lr=3/a"), Ok(plain("runs/lr=3/a")));
        let named = AdapterChoice { name: Some("ours".to_owned()), ..plain("runs/lr=3/a") };
        assert_eq!(read("ours=runs/lr=3/a"), Ok(named.clone()));
        let as_i = AdapterChoice { variant: Some(Variant::I), ..named };
        assert_eq!(read("ours:i=runs/lr=3/a"), Ok(as_i));
        assert!(read("=a").is_err() && read("ours=").is_err());
        assert!(read("ours:x=a").unwrap_err().contains("s, p and i"));
    }
}
