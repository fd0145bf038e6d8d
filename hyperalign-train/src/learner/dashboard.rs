//! The terminal while burn's dashboard is open.

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
