//! The file of an adapter: what is written is read, and what does not fit is named.

use std::path::Path;

use burn::module::Module;
use hyperalign_core::testing;
use hyperalign_models::{
    hypernet::{Adapter, AdapterError, AdapterMeta, Variant},
    testing::{shaken, small_base},
    weights::{LoadError, SaveError},
};

use crate::{hypernet, static_lora, trajectory};

#[test]
fn a_file_gives_the_adapter_back_bit_for_bit() {
    let base = small_base(1, &testing::device());
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    for meta in [hypernet(&base), static_lora(&base)] {
        let meta = AdapterMeta { key_steps: vec![1, 3], key_steps_of: 5, ..meta };
        // Trained weights lie on an autodiff device.
        let adapter = shaken(meta.init(1, &testing::device().autodiff()).unwrap(), 0.3);
        adapter.save(&first, &meta).unwrap();
        let (again, found) = Adapter::load(&first, &testing::device()).unwrap();
        assert_eq!(found, meta);
        again.save(&second, &found).unwrap();
        assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap());
        let adapted = |adapter: &Adapter| {
            let source = adapter.source(&base, Variant::S, Vec::new());
            trajectory(&base, source.as_ref()).pop().unwrap().into_data()
        };
        adapted(&again).assert_eq(&adapted(&adapter.valid()), true);
        found.check_base("other name", base.hash()).unwrap();
        let error = found.check_base("other", "0123456789abcdef").unwrap_err().to_string();
        let hash = &base.hash()[..12];
        for part in ["`small`", hash, "`other`", "0123456789ab", "--base small"] {
            assert!(error.contains(part), "{error}");
        }
        // The same name tells nothing of the weights.
        let error = found.check_base("small", "0123456789abcdef").unwrap_err().to_string();
        assert!(error.contains("train the adapter again") && !error.contains("--base"), "{error}");
    }
}

/// Rewrites the JSON header of a safetensors file.
fn edit_header(path: &Path, from: &str, to: &str) {
    let bytes = std::fs::read(path).unwrap();
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + size]).unwrap();
    assert!(header.contains(from), "{header}");
    let header = header.replacen(from, to, 1);
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length, header.as_bytes(), &bytes[8 + size..]].concat()).unwrap();
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let base = small_base(1, &testing::device());
    let meta = hypernet(&base);
    let adapter = shaken(meta.init(1, &testing::device()).unwrap(), 0.3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter.safetensors");
    let damaged = |damage: &dyn Fn(&Path)| {
        adapter.save(&path, &meta).unwrap();
        damage(&path);
        let error = Adapter::load(&path, &testing::device()).unwrap_err();
        assert!(error.to_string().contains("adapter.safetensors"), "{error}");
        error
    };
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    let cut = damaged(&|path| std::fs::write(path, &bytes(path)[..1000]).unwrap());
    assert!(matches!(cut, AdapterError::Load(LoadError::Corrupt { .. })), "{cut}");
    let tail =
        damaged(&|path| std::fs::write(path, &bytes(path)[..bytes(path).len() - 4]).unwrap());
    assert!(matches!(tail, AdapterError::Load(LoadError::Corrupt { .. })), "{tail}");
    let text = damaged(&|path| std::fs::write(path, "no tensors").unwrap());
    assert!(matches!(text, AdapterError::Load(LoadError::Corrupt { .. })), "{text}");
    let gone = damaged(&|path| std::fs::remove_file(path).unwrap());
    assert!(matches!(gone, AdapterError::Load(LoadError::Io { .. })), "{gone}");
    let nan = damaged(&|path| {
        let mut bytes = bytes(path);
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(path, bytes).unwrap();
    });
    assert!(matches!(nan, AdapterError::Load(LoadError::NotFinite { .. })), "{nan}");
    let other = damaged(&|path| edit_header(path, r#""hyperalign":"#, r#""other":"#));
    assert!(matches!(other, AdapterError::NotAnAdapter { .. }), "{other}");
    let json = damaged(&|path| edit_header(path, r#"\"base\":"#, r#"\"bse\":"#));
    assert!(matches!(json, AdapterError::Metadata { .. }), "{json}");
    // A later format may have other fields: its number comes first.
    let format = damaged(&|path| {
        edit_header(path, r#"{\"format\":2,\"base\":"#, r#"{\"format\":7,\"model\":"#);
    });
    assert!(matches!(format, AdapterError::Format { given: 7, .. }), "{format}");
    let keys = damaged(&|path| edit_header(path, "head.bias", "heed.bias"));
    assert!(matches!(keys, AdapterError::Load(LoadError::Keys { .. })), "{keys}");
    assert!(keys.to_string().contains("head.bias"), "{keys}");
    let size = damaged(&|path| edit_header(path, r#"\"heads\":2"#, r#"\"heads\":3"#));
    assert!(matches!(size, AdapterError::Config { .. }), "{size}");
}

#[test]
fn weights_that_are_not_finite_are_not_written() {
    let base = small_base(1, &testing::device());
    let meta = hypernet(&base);
    let broken = shaken(meta.init(1, &testing::device()).unwrap(), f64::INFINITY);
    let dir = tempfile::tempdir().unwrap();
    let error = broken.save(&dir.path().join("adapter"), &meta).unwrap_err();
    assert!(matches!(error, SaveError::NotFinite { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn key_steps_are_scaled_to_the_steps_of_a_run() {
    let base = small_base(1, &testing::device());
    let meta = AdapterMeta { key_steps: vec![2, 5, 9], key_steps_of: 10, ..hypernet(&base) };
    assert_eq!(meta.key_steps_for(10), [2, 5, 9]);
    assert_eq!(meta.key_steps_for(20), [4, 10, 18]);
    // Every key step stays inside the run.
    assert_eq!(meta.key_steps_for(4), [1, 2, 3]);
    assert_eq!(meta.key_steps_for(1), [0]);
    assert!(hypernet(&base).key_steps_for(10).is_empty());
}
