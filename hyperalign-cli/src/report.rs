//! How errors are shown.

use hyperalign_core::caught;
use miette::{Diagnostic, MietteHandlerOpts, ReportHandler};

/// Shows the causes of an error below it only where its message does not name them already, as
/// ours do.
pub fn install() {
    miette::set_hook(Box::new(|error| handler(error))).expect("nothing was reported yet");
    caught::report_the_others();
}

fn handler(error: &(dyn Diagnostic + 'static)) -> Box<dyn ReportHandler> {
    let options = MietteHandlerOpts::new();
    let options = match tells_its_causes(error) {
        true => options.without_cause_chain(),
        false => options.with_cause_chain(),
    };
    Box::new(options.build())
}

fn tells_its_causes(error: &dyn Diagnostic) -> bool {
    let message = error.to_string();
    let mut causes = std::iter::successors(error.source(), |cause| cause.source()).peekable();
    // An error without a cause may become that of another one.
    causes.peek().is_some() && causes.all(|cause| message.contains(&cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    enum Wrapped {
        #[error("cannot write: {0}")]
        Told(#[source] std::io::Error),
        #[error("cannot write")]
        Untold(#[source] std::io::Error),
    }

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("alone")]
    struct Alone;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("the dog ate it");
        assert!(tells_its_causes(&Wrapped::Told(cause())));
        assert!(!tells_its_causes(&Wrapped::Untold(cause())));
        assert!(!tells_its_causes(&Alone));
    }
}
