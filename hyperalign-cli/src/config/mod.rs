//! Settings from TOML files, laid over defaults.
//!
//! A file may leave every key out; what it does say is read strictly, so that a misspelt key is
//! an error at its place in the file and not a silent default. So is a file of a command's
//! [options](with_file).

mod file;
#[cfg(test)]
mod fuzz;
mod line;
mod options;

pub use file::{read, read_text};
pub use line::in_its_line;
pub use options::{schema, with_file};

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;
    use hyperalign_train::{
        align::{AlignSettings, REMOVED},
        method::{FineTuningSettings, MethodSettings, Plan},
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

    /// The settings that the book shows can be used as they stand there, and no method is left out.
    #[test]
    fn settings_in_the_book_are_read() {
        let book = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let mut shown = Vec::new();
        for page in ["methods.md", "fine-tuning.md"] {
            let text = std::fs::read_to_string(book.join(page)).unwrap();
            for block in text.split("```toml\n").skip(1) {
                let block = block.split("```").next().unwrap();
                std::fs::write(&path, block).unwrap();
                let settings = read(&AlignSettings::default(), REMOVED, &path);
                let settings = settings.unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
                settings.training.validate().unwrap();
                settings.training.check_span(settings.method.span()).unwrap();
                let steps = settings.trajectory.steps;
                let scheduler = SchedulerConfig::stable_diffusion().ddim(steps, 1.0).unwrap();
                let plan = Plan { scheduler: &scheduler, shards: settings.training.shards };
                settings.method.check(&plan).unwrap_or_else(|error| panic!("{page}: {error}"));
                shown.push(settings.method.name());
            }
        }
        // The first has a page of its own, the other one a sentence beside `draft`.
        let own = ["hyperalign", "draft-lv"];
        let missing = MethodSettings::NAMES.iter().filter(|name| !own.contains(name));
        let missing: Vec<_> = missing.filter(|name| !shown.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// The recipes for real sizes are settings, and what they cut a batch into is whole.
    #[test]
    fn recipes_are_read() {
        let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        let scheduler = SchedulerConfig::stable_diffusion().ddim(50, 0.0).unwrap();
        for name in ["sd15-12gb", "sd15-24gb", "flux-80gb"] {
            let path = configs.join(name).with_extension("toml");
            let settings = read(&AlignSettings::default(), REMOVED, &path).unwrap();
            settings.training.validate().unwrap();
            settings.training.check_span(settings.method.span()).unwrap();
            let shards = settings.training.shards * settings.training.accumulate;
            let plan = Plan { scheduler: &scheduler, shards };
            settings.method.check(&plan).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// `configs/train.schema.json` is what `hyperalign schema` prints, and takes what is read.
    #[test]
    fn the_schema_is_that_of_the_settings() {
        let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        let schema = hyperalign_train::align::schema();
        let written = std::fs::read_to_string(configs.join("train.schema.json")).unwrap();
        let written: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert!(written == schema, "write it anew: hyperalign schema > configs/train.schema.json");

        let validator = jsonschema::validator_for(&schema).unwrap();
        let valid = |text: &str| {
            let table: toml::Table = toml::from_str(text).unwrap();
            validator.is_valid(&serde_json::to_value(table).unwrap())
        };
        for name in MethodSettings::NAMES {
            assert!(valid(&format!("[method]\nname = {name:?}\n")), "{name}");
            assert!(!valid(&format!("[method]\nname = {name:?}\nno_such_key = 1\n")), "{name}");
        }
        let defaults = toml::to_string(&AlignSettings::default()).unwrap();
        assert!(valid(&defaults), "{defaults}");
        for good in [
            "",
            "[method]\nlambda = 2.0\n",
            "[network]\nrank = 8\n",
            "[network]\nkind = \"static-lora\"\nrank = 8\n",
            "[training]\nseed = \"18446744073709551615\"\n",
            "[training.schedule]\nkind = \"cosine\"\nwarmup = 5\n",
        ] {
            assert!(valid(good), "{good}");
        }
        for bad in [
            "seed = 1\n",
            "[method]\nname = \"hyperaling\"\n",
            "[training]\nupdates = \"many\"\n",
            "[network]\nkind = \"static-lora\"\nwidth = 8\n",
            "[trajectory]\nvariant = \"x\"\n",
        ] {
            assert!(!valid(bad), "{bad}");
        }
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
