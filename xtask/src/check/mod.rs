//! `cargo xtask check`: everything that can be said about the code without running it.

mod devices;
mod layering;
mod manners;

use crate::process::{self, Failure, Result};
use crate::task::Task;
use crate::{docs, workspace};

/// Checks the code without running it.
pub const TASK: Task = Task {
    name: "check",
    about: "Check form, layering, lints and documentation.",
    help: "\
Usage: cargo xtask check

In this order, all of it even if one part fails:
  tidy    each crate uses only crates to its left (core, models, rewards, train, cli), libraries
          print nothing, files are read through `core::input`, no file of code is over 400
          lines, no forbidden words, no dead links;
          tests compute on the device that `cargo xtask test --device` names
  fmt     cargo fmt --check
  clippy  all targets, warnings are errors; the program also without its optional features
  doc     cargo doc, warnings are errors
  package what each crate would publish can be told

A tool that is not installed (rustfmt, clippy) is named and left out.",
    run: |_| run(),
};

fn run() -> Result<()> {
    let mut failed = Vec::new();
    let mut part = |name: &'static str, result: Result<()>| match result {
        Ok(()) => {}
        Err(Failure::Told(message) | Failure::Usage(message)) => {
            eprintln!("{message}");
            failed.push(name);
        }
        Err(Failure::Status(_)) => failed.push(name),
    };
    part("tidy", tidy());
    part("fmt", fmt());
    part("clippy", clippy());
    part("doc", doc());
    part("package", package());
    if failed.is_empty() {
        println!("check: all is well");
        Ok(())
    } else {
        Err(Failure::Told(format!("check: failed in {}", failed.join(", "))))
    }
}

fn tidy() -> Result<()> {
    eprintln!("xtask: tidy");
    let files = workspace::files()?;
    let mut problems = layering::problems()?;
    problems.extend(manners::problems(&files)?);
    problems.extend(docs::problems(&files)?);
    let (named, counts) = devices::problems(&files)?;
    eprintln!("xtask: {}", counts.line());
    problems.extend(named);
    if problems.is_empty() { Ok(()) } else { Err(Failure::Told(problems.join("\n"))) }
}

fn fmt() -> Result<()> {
    if !process::has_cargo_command("fmt") {
        return left_out("rustfmt");
    }
    process::run(process::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    if !process::has_cargo_command("clippy") {
        return left_out("clippy");
    }
    let lint = |selection: &[&str]| {
        let mut command = process::cargo();
        command.arg("clippy").args(selection).args(["--all-targets", "--quiet"]);
        process::run(command.args(["--", "-D", "warnings"]))
    };
    lint(&["--workspace"])?;
    // What a feature leaves out, others may have relied on.
    lint(&["--package", "hyperalign-cli", "--no-default-features", "--features", "flex"])
}

fn doc() -> Result<()> {
    let mut command = process::cargo();
    command.env("RUSTDOCFLAGS", "-D warnings");
    process::run(command.args(["doc", "--workspace", "--no-deps", "--quiet"]))
}

/// Lists what would be published: a dependency without a version, or a readme that is not there, ends
/// it.
fn package() -> Result<()> {
    for name in workspace::LAYERS {
        let mut command = process::cargo();
        command.args([
            "package",
            "--list",
            "--quiet",
            "--offline",
            "--allow-dirty",
            "--package",
            name,
        ]);
        process::run(command.stdout(std::process::Stdio::null()))?;
    }
    Ok(())
}

fn left_out(component: &str) -> Result<()> {
    eprintln!("xtask: LEFT OUT: {component} is not installed (rustup component add {component})");
    Ok(())
}
