//! Why a method cannot make a picture.

use hyperalign_core::{contract::ScoreError, one_picture::SettingError};

use super::KnowledgeError;

/// Why a method cannot make a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestTimeError {
    /// A setting out of range.
    #[error("the method `{method}` cannot run: {error}")]
    Setting {
        /// The method.
        method: &'static str,
        /// The setting.
        error: SettingError,
    },
    /// A reward that cannot guide.
    #[error(
        "the method `{method}` follows the gradient of the reward, and `{reward}` has none; take a \
         reward that is a network, or a method that only compares scores, such as best-of-n"
    )]
    NoGradient {
        /// The method.
        method: &'static str,
        /// The reward.
        reward: String,
    },
    /// Nobody knows how much a reward has to say.
    #[error(
        "das weighs a reward by `alpha`, in the unit of its scores, and there is none for \
         `{reward}`; give one with `--option alpha=X`, about a tenth of what its scores differ by"
    )]
    NoAlpha {
        /// The reward.
        reward: String,
    },
    /// Nothing to choose.
    #[error(
        "the method `{method}` chooses the noise that steps draw, and with this solver they draw \
         none; take one that does, such as `--scheduler ddim --eta 1`, for flows `--scheduler \
         flow-sde-grpo`, or leave both flags out"
    )]
    NoNoise {
        /// The method.
        method: &'static str,
    },
    /// Too little for a picture.
    #[error(
        "a budget of {evaluations} evaluations of the denoiser is less than the {steps} that one \
         picture takes; allow more, or take fewer steps"
    )]
    Budget {
        /// What is allowed.
        evaluations: u64,
        /// What one picture takes.
        steps: usize,
    },
    /// What was written down of a prompt is not of it.
    #[error(transparent)]
    Knowledge(#[from] KnowledgeError),
    /// A picture that the reward does not read.
    #[error(transparent)]
    Score(#[from] ScoreError),
}
