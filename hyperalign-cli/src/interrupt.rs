//! Ctrl-C: the first finishes the step and saves, the second leaves at once.

use hyperalign_train::learner::Stop;
use miette::IntoDiagnostic;

use crate::outcome::INTERRUPTED;

/// Makes the first Ctrl-C request `stop`, and the second one end the program.
///
/// # Errors
///
/// Fails if the system refuses the handler.
pub fn request_on_ctrl_c(stop: Stop) -> miette::Result<()> {
    ctrlc::set_handler(move || {
        if stop.is_requested() {
            std::process::exit(INTERRUPTED.into());
        }
        stop.request();
        eprintln!("finishing this step and saving; Ctrl-C again leaves at once");
    })
    .into_diagnostic()
}
