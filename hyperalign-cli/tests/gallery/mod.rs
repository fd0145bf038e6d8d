//! Folders of pictures as methods leave them, drawn by nobody.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hyperalign_core::image::{Metadata, Parameters, write_png};
use image::{Rgb, RgbImage};

/// A folder for one test, in which methods have pictures.
pub struct Gallery {
    folder: tempfile::TempDir,
}

impl Gallery {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes pictures of prompts `a thing 0`, `a thing 1`, ... into the folder `method`, in a colour of
    /// its own.
    pub fn pictures(&self, method: &str, prompts: std::ops::Range<u64>, side: u32) {
        let hue = method.bytes().fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        for prompt in prompts {
            let picture = RgbImage::from_fn(side, side, |x, y| {
                let is_disc = {
                    let at = |v: u32| f64::from(v) / f64::from(side) - 0.5;
                    at(x).powi(2) + at(y).powi(2) < 0.02 * (prompt % 5 + 1) as f64
                };
                let ground = (x * 255 / side) as u8;
                if is_disc { Rgb([hue, 255 - hue, prompt as u8 * 20]) } else { Rgb([ground; 3]) }
            });
            let parameters = Parameters {
                prompt: format!("a thing {prompt}"),
                steps: 1,
                size: (side, side),
                seed: 100 + prompt,
                ..Parameters::default()
            };
            let whole = serde_json::json!({"seed": 100 + prompt, "variant": method});
            let metadata = Metadata { parameters: Some(parameters), hyperalign: Some(whole) };
            let path = self.path(method).join(format!("{method}-{prompt}.png"));
            write_png(&path, &picture, &metadata).expect("a picture");
        }
    }

    /// Runs `hyperalign ARGUMENTS` in the folder.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hyperalign"))
            .current_dir(self.folder.path())
            .args(arguments)
            .output()
            .expect("the program starts")
    }

    /// The same, which must do what it is asked for; what it prints.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Names of what lies in `folder`, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
