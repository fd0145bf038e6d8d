//! Signals: the first Ctrl-C or SIGTERM finishes the step and saves, the second leaves at once; a
//! file that grows too large is an error, not the end.

use hyperalign_train::learner::{Stop, abandon_dashboard, dashboard_is_open};
use miette::IntoDiagnostic;
#[cfg(unix)]
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};

use crate::outcome::INTERRUPTED;
use crate::output;

/// Makes the first Ctrl-C, or SIGTERM, request `stop`, and the second one end the program.
///
/// # Errors
///
/// Fails if the system refuses the handler.
pub fn request_on_ctrl_c(stop: Stop) -> miette::Result<()> {
    #[cfg(unix)]
    let hangup = hangup(&SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty()))?;
    ctrlc::set_handler(move || {
        if stop.is_requested() {
            abandon_dashboard();
            std::process::exit(INTERRUPTED.into());
        }
        stop.request();
        if !dashboard_is_open() {
            output::note("finishing what is at hand; Ctrl-C again leaves at once");
        }
    })
    .into_diagnostic()?;
    // The handler is one for hangups too, which `nohup` has taught the program to ignore.
    #[cfg(unix)]
    self::hangup(&hangup)?;
    Ok(())
}

/// Does `action` at a hangup; what was done before comes back.
#[cfg(unix)]
fn hangup(action: &SigAction) -> miette::Result<SigAction> {
    // SAFETY: the actions are those of the system or of whoever started the program, and no
    // function of ours.
    unsafe { sigaction(Signal::SIGHUP, action) }.into_diagnostic()
}

/// Turns the end of the program at a limit on the size of files (`ulimit -f`) into an error of the
/// write, which is told and leaves nothing half-written.
#[cfg(unix)]
pub fn survive_file_size_limit() {
    // SAFETY: no handler is installed that could do what handlers must not.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn survive_file_size_limit() {}
