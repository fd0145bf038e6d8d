//! The terminal while burn's dashboard is open.

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

#[cfg(unix)]
type Terminal = nix::sys::termios::Termios;
#[cfg(not(unix))]
type Terminal = ();

/// How the terminal was before the dashboard that is open. The process has one terminal.
static OPEN: Mutex<Option<Option<Terminal>>> = Mutex::new(None);

/// Mouse reports off, back from the alternate screen, the cursor shown: what the dashboard
/// changes, undone in the control sequences of xterm.
const CLOSE: &[u8] = b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1049l\x1b[?25h";

fn open() -> MutexGuard<'static, Option<Option<Terminal>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A dashboard, from before it opens until it is closed.
pub(crate) struct Dashboard(());

impl Dashboard {
    pub(crate) fn new() -> Self {
        *open() = Some(terminal());
        Self(())
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        *open() = None;
    }
}

/// Whether a dashboard covers the terminal. A line that is written now is lost in it.
pub fn dashboard_is_open() -> bool {
    open().is_some()
}

/// Gives the terminal back as it was before the dashboard, if one is open: for a program that
/// leaves at once. Otherwise the shell would be left without an echo, on another screen. Nothing
/// can be written to standard output afterwards.
pub fn abandon_dashboard() {
    let Some(terminal) = open().take() else { return };
    let mut out = std::io::stdout().lock();
    // There is nobody to tell where the terminal is gone.
    out.write_all(CLOSE).and_then(|()| out.flush()).ok();
    // The dashboard's thread would draw over it until the program has ended.
    std::mem::forget(out);
    restore(terminal);
}

#[cfg(unix)]
fn terminal() -> Option<Terminal> {
    nix::sys::termios::tcgetattr(std::io::stdin()).ok()
}

#[cfg(unix)]
fn restore(terminal: Option<Terminal>) {
    use nix::sys::termios::{SetArg, tcsetattr};
    if let Some(terminal) = terminal {
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &terminal).ok();
    }
}

#[cfg(not(unix))]
fn terminal() -> Option<Terminal> {
    None
}

#[cfg(not(unix))]
fn restore(_: Option<Terminal>) {}

/// Lets Ctrl-C be an interrupt again.
///
/// The dashboard puts the terminal into raw mode, in which Ctrl-C is a mere character, and it does
/// so on a thread of its own, at a time that it does not tell. Ctrl-Z stays off: a dashboard that
/// is suspended leaves the terminal unusable. Closing the dashboard restores all of it.
#[cfg(unix)]
pub(crate) fn keep_interrupt_key() {
    use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let Ok(mut terminal) = tcgetattr(&stdin) else { return };
    if !terminal.local_flags.contains(LocalFlags::ISIG) {
        terminal.local_flags.insert(LocalFlags::ISIG);
        terminal.control_chars[SpecialCharacterIndices::VSUSP as usize] = 0;
        // Without it the dashboard's own key `q` still ends the run.
        tcsetattr(&stdin, SetArg::TCSANOW, &terminal).ok();
    }
}

/// Other systems deliver Ctrl-C in their own ways; the dashboard's key `q` ends the run.
#[cfg(not(unix))]
pub(crate) fn keep_interrupt_key() {}
