//! The flags of methods that work while a picture is sampled.

use std::{path::PathBuf, sync::Arc};

use burn::tensor::Device;
use hyperalign_models::{
    base::Base,
    embedded,
    generate::{Budget, Knowledge, TestTime, TestTimeSettings},
};
use hyperalign_rewards::{Reward, emoji::Gold};
use miette::{Diagnostic, IntoDiagnostic};

use crate::{
    args::{at_least_one, positive},
    config,
    rewards::{self, PROXY},
};

/// How the methods are set up, and what they may cost.
#[derive(Debug, clap::Args)]
pub struct TestTimeArgs {
    /// TOML file of settings of `--method`, with a table for each method: [best-of-n], n = 8.
    #[arg(long, value_name = "FILE.toml", requires = "method")]
    method_config: Option<PathBuf>,

    /// One setting of `--method`, such as n=8; with several methods, best-of-n.n=8. Give it several
    /// times for several settings.
    #[arg(long, value_name = "KEY=VALUE", requires = "method")]
    option: Vec<String>,

    /// What `--method` may cost a picture, in seconds. It returns the best that it has by then.
    #[arg(long, value_name = "SECONDS", requires = "method", value_parser = positive)]
    budget: Option<f64>,

    /// JSON file of what prompts say of which things, for dymo, such as
    /// {"a red dog": [{"dog": ["red"]}]}. Default: as the words of a prompt let one guess.
    #[arg(long, value_name = "FILE.json", requires = "method")]
    knowledge: Option<PathBuf>,

    /// What `--method` may cost a picture, in evaluations of the denoiser.
    #[arg(long, value_name = "N", requires = "method", value_parser = at_least_one)]
    budget_nfe: Option<usize>,
}

/// A method that cannot be set up.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum TestTimeArgsError {
    /// An option that sets nothing.
    #[error("`--option {given}` sets nothing")]
    #[diagnostic(help("write it as KEY=VALUE, as in `--option n=8`"))]
    Option {
        /// What was given.
        given: String,
    },
    /// An option of one of several methods.
    #[error("`--option {given}` does not say which method it is for")]
    #[diagnostic(help("with several methods, write the name in front: `--option best-of-n.n=8`"))]
    WhichMethod {
        /// What was given.
        given: String,
    },
    /// An option of a method that nobody asked for.
    #[error("`--option {given}`: there is no `--method {method}`")]
    OtherMethod {
        /// What was given.
        given: String,
        /// The method that it is for.
        method: String,
    },
    /// Knowledge that no method asks for.
    #[error("`--knowledge` is read by `--method dymo` alone")]
    #[diagnostic(help("leave it out"))]
    NobodyReads,
    /// No reward.
    #[error("`--method {method}` needs a reward to seek")]
    #[diagnostic(help("add `--{flag} NAME`; embedded bases bring their own"))]
    NoReward {
        /// The method.
        method: &'static str,
        /// The flag that names one.
        flag: &'static str,
    },
}

impl TestTimeArgs {
    /// The methods called `names`, set up as the flags say.
    ///
    /// # Errors
    ///
    /// Fails for a file that cannot be read and for settings that there are not.
    pub fn methods(&self, names: &[&str]) -> miette::Result<Vec<TestTime>> {
        let mut settings = TestTimeSettings::default();
        if let Some(file) = &self.method_config {
            settings = config::read(&settings, &[], file)?;
        }
        for given in &self.option {
            let text = self::option(given, names)?;
            settings = config::read_text(&settings, &[], &format!("--option {given}"), text)?;
        }
        Ok(names.iter().filter_map(|name| settings.method(name)).collect())
    }

    /// What prompts say of which things.
    ///
    /// # Errors
    ///
    /// Fails for a file that cannot be read, and where no method reads it.
    pub fn knowledge(&self, methods: &[TestTime]) -> miette::Result<Knowledge> {
        match &self.knowledge {
            Some(_) if !methods.iter().any(TestTime::reads_nouns) => {
                Err(TestTimeArgsError::NobodyReads.into())
            }
            Some(file) => Knowledge::open(file).into_diagnostic(),
            None => Ok(Knowledge::default()),
        }
    }

    /// What a picture may cost.
    pub fn budget(&self) -> Budget {
        let evaluations = self.budget_nfe.map(|evaluations| evaluations as u64);
        Budget { seconds: self.budget, evaluations }
    }
}

/// An option as a file would have it.
fn option(given: &str, names: &[&str]) -> Result<String, TestTimeArgsError> {
    let nothing = || TestTimeArgsError::Option { given: given.to_owned() };
    let (key, value) = given.split_once('=').ok_or_else(nothing)?;
    let (method, key) = match (key.trim().split_once('.'), names) {
        (Some((method, key)), _) => (method, key),
        (None, [only]) => (*only, key.trim()),
        (None, _) => return Err(TestTimeArgsError::WhichMethod { given: given.to_owned() }),
    };
    if !names.contains(&method) {
        let (given, method) = (given.to_owned(), method.to_owned());
        return Err(TestTimeArgsError::OtherMethod { given, method });
    }
    // Words need no quotes on a command line.
    let is_toml = format!("x = {value}").parse::<toml::Table>().is_ok();
    let is_word = value.trim().chars().all(|c| c.is_alphanumeric() || c == '-');
    let value = match value.trim() {
        word if is_word && !is_toml => format!("\"{word}\""),
        value => value.to_owned(),
    };
    Ok(format!("[{method}]\n{key} = {value}\n"))
}

/// The reward that `given` names for `method`, or the one that the embedded bases are aligned with.
///
/// # Errors
///
/// Fails if it cannot be opened, and if nothing names one.
pub fn reward(
    given: Option<&str>,
    weights: &[String],
    base: &dyn Base,
    method: &TestTime,
    device: &Device,
) -> miette::Result<Arc<dyn Reward>> {
    let own = embedded::folder(base.name()).map(|_| PROXY);
    let flag = "reward";
    let missing = TestTimeArgsError::NoReward { method: method.name(), flag };
    let name = given.or(own).ok_or(missing)?;
    if name == "gold" {
        return Ok(Arc::new(Gold));
    }
    let files = rewards::files(&[name], weights)?;
    Ok(rewards::open(name, &files, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(names: &[&str], options: &[&str]) -> Result<Vec<TestTime>, String> {
        let args = TestTimeArgs {
            method_config: None,
            option: options.iter().map(|&option| option.to_owned()).collect(),
            budget: None,
            budget_nfe: None,
            knowledge: None,
        };
        args.methods(names).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_settings() {
        let methods = methods(&["best-of-n"], &["n = 8"]).unwrap();
        let TestTime::BestOfN(settings) = &methods[0] else { panic!("{methods:?}") };
        assert_eq!(settings.n, 8);
    }

    #[test]
    fn options_that_set_nothing_are_errors() {
        let error = |names: &[&str], option| methods(names, &[option]).unwrap_err();
        assert!(error(&["best-of-n"], "n").contains("sets nothing"));
        assert!(error(&["best-of-n"], "m=1").contains("unknown field `m`"));
        assert!(error(&["best-of-n"], "n=many").contains("invalid type"));
        assert!(error(&["best-of-n"], "das.particles=1").contains("no `--method das`"));
    }
}
