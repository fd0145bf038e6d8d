//! The adapters that the program carries.

use std::path::{Path, PathBuf};

use hyperalign_core::testing;
use hyperalign_models::{
    embedded,
    generate::AdapterFile,
    hypernet::{AdapterError, AdapterPlace},
    pipeline, weights,
};

#[test]
fn every_embedded_adapter_belongs_to_an_embedded_base() {
    let device = testing::device();
    for name in embedded::adapters() {
        let (of, variant) = name.rsplit_once('-').unwrap();
        let folder = embedded::folder(of).unwrap();
        let base = pipeline::open(&folder, Some(of), &device).unwrap();
        // Its weights are those that were written, and its base is the one that is here.
        let file = AdapterFile::open(Path::new(name), base.as_ref(), &device).unwrap();
        assert_eq!(file.meta.variant.label(), format!("hyperalign-{variant}"));
        assert!(!file.meta.key_steps.is_empty(), "P has no key steps");
        assert_eq!(AdapterPlace::shipped_for(of), Some(file.place.clone()));
        let (_, bytes) = embedded::adapter(name).unwrap();
        assert_eq!(file.place.sha256().unwrap(), weights::sha256(bytes));
    }
    assert!(embedded::adapters().count() > 0);
    assert_eq!(AdapterPlace::shipped_for("emoji"), None);
}

#[test]
fn names_are_looked_up_before_files() {
    let find = |given: &str| AdapterPlace::find(Path::new(given));
    let file = |path: &str| AdapterPlace::File(PathBuf::from(path));
    let own = find("emoji-sd-s").unwrap();
    assert!(matches!(own, AdapterPlace::Embedded { name: "emoji-sd-s", .. }));
    assert_eq!(find("./emoji-sd-s").unwrap(), file("./emoji-sd-s"));
    assert_eq!(find("emoji-sd-s.safetensors").unwrap(), file("emoji-sd-s.safetensors"));
    let AdapterError::Unknown { nearest, .. } = find("emoji-sd-p").unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(nearest.as_deref(), Some("emoji-sd-s"));
    let error = find("nothing").unwrap_err().to_string();
    assert!(error.contains("the program has") && error.contains("emoji-sd-s"), "{error}");
    // A file of that name is one, though it has no ending.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nothing");
    std::fs::write(&path, "").unwrap();
    assert_eq!(AdapterPlace::find(&path).unwrap(), AdapterPlace::File(path));
}
