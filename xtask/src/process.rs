//! Starting other programs, and how that fails.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Why a chore did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was called wrongly.
    Usage(String),
    /// It found something wrong.
    Told(String),
    /// A program that it started ended with this status, and has said why.
    Status(u8),
}

/// What a chore answers.
pub type Result<T> = std::result::Result<T, Failure>;

/// The cargo that runs us: `cargo +nightly xtask` stays on nightly.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::workspace::root());
    // What `cargo run` tells us of our own package. Build scripts that look at it would be run again
    // whenever cargo is called from here and from a shell by turns, and all that depends on them
    // compiled again.
    let ours = |key: &str| key.starts_with("CARGO_MANIFEST_") || key.starts_with("CARGO_PKG_");
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_str().is_some_and(ours)) {
        command.env_remove(key);
    }
    command
}

/// Shows `command` as one would type it, and runs it on our terminal.
///
/// # Errors
///
/// Fails if it cannot be started or does not end with 0.
pub fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().map_err(|error| not_started(command, &error))?;
    status_to_result(status)
}

/// Shows `command` as one would type it.
pub fn announce(command: &Command) {
    let words = std::iter::once(name(command))
        .chain(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    let variables = command.get_envs().filter_map(|(key, value)| {
        Some(format!("{}={}", key.to_string_lossy(), value?.to_string_lossy()))
    });
    eprintln!("xtask: {}", variables.chain(words).collect::<Vec<_>>().join(" "));
}

/// The failure of a program that could not be started.
pub fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    Failure::Told(format!("could not start `{}`: {error}", name(command)))
}

/// Success for status 0, the status itself otherwise.
///
/// # Errors
///
/// Fails if `status` is not success.
pub fn status_to_result(status: ExitStatus) -> Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Status(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::Told(format!("the program was stopped: {status}"))),
    }
}

/// Replaces this process by `command`, so that Ctrl-C and the exit status are the program's own.
///
/// # Errors
///
/// Fails if it cannot be started, and, where processes cannot be replaced, as [`run`] does.
pub fn become_program(command: &mut Command) -> Result<()> {
    announce(command);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        let error = command.exec();
        Err(not_started(command, &error))
    }
    #[cfg(not(unix))]
    {
        let status = command.status().map_err(|error| not_started(command, &error))?;
        status_to_result(status)
    }
}

/// The Cargo feature that brings `device` (`cuda` for `cuda:1`), if it needs one.
pub fn feature_of(device: &str) -> Option<&str> {
    let kind = device.split(':').next().unwrap_or(device);
    (kind != "cpu").then_some(kind)
}

/// Whether `cargo NAME` is installed.
pub fn has_cargo_command(name: &str) -> bool {
    succeeds(cargo().args([name, "--version"]))
}

/// Whether `program --version` works.
pub fn has_program(program: &str) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test has the variables of its package, as a program that `cargo run` starts has.
    #[test]
    fn cargo_is_started_as_from_a_shell() {
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let command = cargo();
        for key in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            assert!(command.get_envs().any(|found| found == (key.as_ref(), None)), "{key} is kept");
        }
    }
}
