//! Lists the files under `assets/`, so that the program carries the small models with it and
//! finds them from any working folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    let crate_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let assets = crate_dir.join("../assets");
    println!("cargo::rerun-if-changed={}", assets.display());
    let mut table = String::from("&[\n");
    for model in sorted(&assets) {
        let name = file_name(&model);
        if !model.is_dir() {
            continue;
        }
        table += &format!("    ({name:?}, &[\n");
        let mut files = Vec::new();
        collect(&model, &mut files);
        for file in files {
            println!("cargo::rerun-if-changed={}", file.display());
            let relative = file.strip_prefix(&model).expect("below the model");
            let key = relative.to_str().expect("assets have plain names").replace('\\', "/");
            let path = fs::canonicalize(&file).expect("the file was just listed");
            table += &format!("        ({key:?}, include_bytes!({path:?})),\n");
        }
        table += "    ]),\n";
    }
    table += "]\n";
    let out = PathBuf::from(env::var("OUT_DIR").expect("set by cargo")).join("embedded.rs");
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
