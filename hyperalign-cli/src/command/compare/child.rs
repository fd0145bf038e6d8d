//! The program, started by itself.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use hyperalign_core::stop::Stop;
use miette::IntoDiagnostic;

use crate::outcome::INTERRUPTED;
use crate::output;

/// Lines of what it said that are kept.
const LINES: usize = 16;
/// How often is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// It did what it was asked.
    Well,
    /// It was interrupted, and saved what it had.
    Interrupted,
    /// It failed, with the last that it said.
    Badly(String),
}

/// A call of this program, in a process of its own.
pub(super) struct Child(Command);

impl Child {
    /// A call that computes on `device`.
    pub(super) fn new(device: &str) -> Self {
        // A program that has no path of its own was started by its name.
        let program = std::env::current_exe().unwrap_or_else(|_| "hyperalign".into());
        let mut command = Command::new(program);
        command.args(["--device", device]);
        Self(command)
    }

    /// Adds arguments.
    pub(super) fn args(
        &mut self,
        arguments: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> &mut Self {
        self.0.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a flag that takes a path.
    pub(super) fn path(&mut self, flag: &str, path: &Path) -> &mut Self {
        self.0.arg(flag).arg(path);
        self
    }

    /// Runs it to its end. What it says to people is passed on; a request of `stop` reaches it
    /// once, as Ctrl-C would.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub(super) fn run(&mut self, stop: &Stop) -> miette::Result<Ended> {
        if stop.is_requested() {
            return Ok(Ended::Interrupted);
        }
        self.0.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A terminal's Ctrl-C would reach both, and ours reaches it again: twice leaves at once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut self.0, 0);
        let mut child = self.0.spawn().into_diagnostic()?;
        let said = child.stderr.take().map(|stderr| thread::spawn(move || pass_on(stderr)));
        let mut told = false;
        let status = loop {
            if let Some(status) = child.try_wait().into_diagnostic()? {
                break status;
            }
            if stop.is_requested() && !told {
                told = true;
                #[cfg(unix)]
                interrupt(child.id());
            }
            thread::sleep(PAUSE);
        };
        let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
        Ok(match status.code() {
            Some(0) => Ended::Well,
            Some(code) if code == i32::from(INTERRUPTED) => Ended::Interrupted,
            _ if stop.is_requested() => Ended::Interrupted,
            Some(code) => Ended::Badly(format!("status {code}: {}", in_one_line(&said))),
            None => Ended::Badly(format!("killed ({status}): {}", in_one_line(&said))),
        })
    }
}

#[cfg(unix)]
fn interrupt(process: u32) {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    // It may have ended meanwhile.
    let _ = i32::try_from(process).map(|process| kill(Pid::from_raw(process), Signal::SIGINT));
}

/// Passes lines on to our own standard error, and keeps the last.
fn pass_on(said: impl std::io::Read) -> VecDeque<String> {
    let mut last = VecDeque::new();
    for line in BufReader::new(said).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        output::note(&line);
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

/// A report as it is shown on terminals, without its frame; from its beginning, where one can be seen.
fn in_one_line(lines: &VecDeque<String>) -> String {
    let is_start = |line: &&String| line.trim_start().starts_with(['\u{d7}', 'x']);
    let start = lines.iter().position(|line| is_start(&line)).unwrap_or(0);
    let is_frame = |c: char| "\u{2502}\u{d7}\u{2570}\u{25b6}\u{2500}\u{256d}".contains(c);
    let words = lines.iter().skip(start).flat_map(|line| line.split_whitespace());
    words.filter(|word| !word.chars().all(is_frame)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_kept_in_one_line() {
        let said = "training in runs/s\n\n  \u{d7} the reward `x` has no gradient\n  \u{2502} and is needed\n  help: name another\n";
        let lines = pass_on(said.as_bytes());
        assert_eq!(
            in_one_line(&lines),
            "the reward `x` has no gradient and is needed help: name another"
        );
        let many: String = (0..40).map(|k| format!("{k}\n")).collect();
        let lines = pass_on(many.as_bytes());
        assert_eq!((lines.len(), lines[0].as_str()), (LINES, "24"));
    }
}
