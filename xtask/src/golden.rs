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

Runs xtask/golden/make.py, which runs tiny networks of diffusers, transformers and open_clip and
writes what they compute. The versions in xtask/golden/requirements.txt are first installed into a
virtual environment in target/golden (about 6 GB, because of PyTorch). With --python that program
is used as it is, and nothing is installed.

The same versions on the same machine give the same bytes; `git diff` then shows nothing.",
    run,
};

/// Where the files go.
const FILES: &str = "hyperalign-cli/tests/golden";

fn run(arguments: &[String]) -> Result<()> {
    let python = match arguments {
        [] => environment()?,
        [flag, program] if flag == "--python" => PathBuf::from(program),
        _ => return Err(Failure::Usage(format!("unknown arguments\n\n{}", TASK.help))),
    };
    let root = workspace::root();
    // -B: no compiled files beside the sources.
    let script = root.join("xtask/golden/make.py");
    process::run(Command::new(python).arg("-B").arg(script).arg(root.join(FILES)))
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
