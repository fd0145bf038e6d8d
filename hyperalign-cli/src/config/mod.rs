//! Settings from TOML files, laid over defaults.
//!
//! A file may leave every key out; what it does say is read strictly, so that a misspelt key is
//! an error at its place in the file and not a silent default.

mod file;
#[cfg(test)]
mod fuzz;

pub use file::{in_its_line, read};

#[cfg(test)]
mod tests {
    use hyperalign_train::{
        align::{AlignSettings, REMOVED},
        method::FineTuningSettings,
    };

    use super::*;

    #[test]
    fn a_run_is_written_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let mut settings = AlignSettings::default();
        settings.training.time_limit = Some(std::time::Duration::from_secs(9));
        settings.trajectory.key_steps = vec![0, 3];
        std::fs::write(&path, toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(read(&AlignSettings::default(), REMOVED, &path).unwrap(), settings);
    }

    /// Every one of them is gone: it is read under its new name, or its error says what to write.
    #[test]
    fn keys_of_earlier_settings_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        for (key, instead) in REMOVED {
            std::fs::write(&path, format!("{key} = 1\n")).unwrap();
            let has_new_name = instead.starts_with("write `")
                && instead.ends_with('`')
                && instead.matches('`').count() == 2;
            match read(&AlignSettings::default(), REMOVED, &path) {
                Ok(settings) => {
                    assert!(has_new_name, "{key}");
                    assert_ne!(settings, AlignSettings::default(), "{key}");
                }
                Err(error) if has_new_name => {
                    assert!(error.to_string().contains("invalid"), "{error}");
                }
                Err(error) => {
                    assert!(error.to_string().contains(key), "{error}");
                    assert_eq!(error.help().unwrap().to_string(), *instead);
                }
            }
        }
    }

    #[test]
    fn a_method_is_chosen_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&AlignSettings::default(), REMOVED, &path)
        };
        let settings = read("[method]\nname = \"fine-tuning\"\nbatch = 4\n").unwrap();
        let method = FineTuningSettings { batch: 4, ..FineTuningSettings::default() };
        assert_eq!(settings.method, method.into());
        let written = toml::to_string(&settings).unwrap();
        assert_eq!(read(&written).unwrap(), settings);
        let error = read("[method]\nname = \"fine-tuning\"\nlambda = 4\n").unwrap_err();
        assert!(error.to_string().contains("unknown field `lambda`"), "{error}");
        let error = read("[method]\nname = \"hyperaling\"\n").unwrap_err();
        assert_eq!(error.help().unwrap().to_string(), "did you mean `hyperalign`?");
    }

    /// The engine's own default is another learning rate than an alignment run's.
    #[test]
    fn a_table_changes_only_the_keys_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "[training]\nupdates = 7\n[training.optimizer]\nbeta1 = 0.5\n")
            .unwrap();
        let mut expected = AlignSettings::default();
        expected.training.updates = 7;
        expected.training.optimizer.beta1 = 0.5;
        assert_eq!(read(&AlignSettings::default(), REMOVED, &path).unwrap(), expected);
    }
}
