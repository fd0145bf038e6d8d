//! Settings from TOML files, laid over defaults.
//!
//! A file may leave every key out; what it does say is read strictly, so that a misspelt key is
//! an error at its place in the file and not a silent default.

mod file;
#[cfg(test)]
mod fuzz;

pub use file::read;

#[cfg(test)]
mod tests {
    use hyperalign_train::align::AlignSettings;

    use super::*;

    #[test]
    fn a_run_is_written_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let mut settings = AlignSettings::default();
        settings.training.time_limit = Some(std::time::Duration::from_secs(9));
        settings.method.key_steps = vec![0, 3];
        std::fs::write(&path, toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(read(&AlignSettings::default(), &path).unwrap(), settings);
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
        assert_eq!(read(&AlignSettings::default(), &path).unwrap(), expected);
    }
}
