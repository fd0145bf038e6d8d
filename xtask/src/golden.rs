//! `cargo xtask golden`: makes the reference files of the parity test anew.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{self, Failure, Result};
use crate::task::Task;
use crate::workspace;

/// Makes the reference files.
pub const TASK: Task = Task {
    name: "golden",
    about: "Make the reference files in hyperalign-cli/tests/golden anew (needs Python).",
    help: "\
Usage: cargo xtask golden [--python PROGRAM]
       cargo xtask golden --full DIR [PART ...] [--python PROGRAM]

Runs xtask/golden/make.py, which runs tiny networks of diffusers, transformers and open_clip and
writes what they compute. The versions in xtask/golden/requirements.txt are first installed into a
virtual environment in target/golden (about 6 GB, because of PyTorch). With --python that program
is used as it is, and nothing is installed.

With --full, networks of the published sizes with random weights are run instead (xtask/golden/full.py:
text, vae and unet of Stable Diffusion 1.5 at 512 pixels; flux at full width with one double and one
single block; vit-h, clip-l, image-reward and mask2former, the networks of the rewards), forward only, and written
to DIR (14 GB, 2 to 4 for each part). `hyperalign parity DIR` compares.

The same versions on the same machine give the same bytes; `git diff` then shows nothing.",
    run,
};

/// Where the files go.
const FILES: &str = "hyperalign-cli/tests/golden";

fn run(arguments: &[String]) -> Result<()> {
    let usage = || Failure::Usage(format!("unknown arguments\n\n{}", TASK.help));
    let (arguments, python) = match arguments {
        [rest @ .., flag, program] if flag == "--python" => (rest, Some(PathBuf::from(program))),
        rest => (rest, None),
    };
    let root = workspace::root();
    let scripts = root.join("xtask/golden");
    let (script, folder, parts) = match arguments {
        [] => (scripts.join("make.py"), root.join(FILES), arguments),
        [flag, folder, parts @ ..]
            if flag == "--full" && arguments[1..].iter().all(|word| !word.starts_with('-')) =>
        {
            (scripts.join("full.py"), PathBuf::from(folder), parts)
        }
        _ => return Err(usage()),
    };
    let python = python.map_or_else(environment, Ok)?;
    // -B: no compiled files beside the sources.
    process::run(Command::new(python).arg("-B").arg(script).arg(folder).args(parts))
}

/// The Python of an environment that has the requirements.
fn environment() -> Result<PathBuf> {
    let folder = workspace::root().join("target/golden");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !python.is_file() {
        let system = if process::has_program("python3") { "python3" } else { "python" };
        process::run(Command::new(system).args(["-m", "venv"]).arg(&folder))?;
    }
    let requirements = workspace::root().join("xtask/golden/requirements.txt");
    process::run(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements),
    )?;
    Ok(python)
}
