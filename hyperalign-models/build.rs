//! Lists the files under `assets/`, so that the program carries the small models and the adapters
//! that were trained for them, and finds them from any working folder. They lie beside the crates, and
//! are larger than what a registry takes: a crate from one has none, unless `HYPERALIGN_ASSETS` names
//! the folder while it is built.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The folder under `assets/` whose files are adapters; every other folder is a model.
const ADAPTERS: &str = "adapters";

fn main() {
    let crate_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by cargo"));
    println!("cargo::rerun-if-env-changed=HYPERALIGN_ASSETS");
    let named = env::var_os("HYPERALIGN_ASSETS").map(PathBuf::from);
    let assets = named.unwrap_or_else(|| crate_dir.join("../assets"));
    // A folder that is not there would have changed at every build.
    if assets.exists() {
        println!("cargo::rerun-if-changed={}", assets.display());
    }
    let (adapters, models): (Vec<_>, Vec<_>) =
        sorted(&assets).into_iter().partition(|path| file_name(path) == ADAPTERS);
    let mut table = String::from("&[\n");
    for model in models.iter().filter(|path| path.is_dir()) {
        table += &format!("    ({:?}, &[\n", file_name(model));
        let mut files = Vec::new();
        collect(model, &mut files);
        for file in files {
            let relative = file.strip_prefix(model).expect("below the model");
            let key = relative.to_str().expect("assets have plain names").replace('\\', "/");
            table += &format!("        {},\n", entry(&key, &file));
        }
        table += "    ]),\n";
    }
    table += "]\n";
    write("models.rs", &table);

    let mut table = String::from("&[\n");
    for file in adapters.iter().flat_map(|folder| sorted(folder)) {
        let name = file.file_stem().and_then(|name| name.to_str());
        table += &format!("    {},\n", entry(name.expect("assets have plain names"), &file));
    }
    table += "]\n";
    write("adapters.rs", &table);
}

/// A file under `key`, as a pair in Rust.
fn entry(key: &str, file: &Path) -> String {
    println!("cargo::rerun-if-changed={}", file.display());
    let path = fs::canonicalize(file).expect("the file was just listed");
    format!("({key:?}, include_bytes!({path:?}))")
}

fn write(name: &str, table: &str) {
    let out = PathBuf::from(env::var("OUT_DIR").expect("set by cargo")).join(name);
    fs::write(out, table).expect("the output folder is writable");
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    paths.retain(|path| !file_name(path).starts_with('.'));
    paths.sort();
    paths
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for path in sorted(dir) {
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
