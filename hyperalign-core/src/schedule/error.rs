//! What can be wrong with a scheduler's settings and with a number of steps.

use std::path::PathBuf;

use super::Solver;

/// A number of sampling steps that the training schedule cannot give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepCountError {
    /// Nothing to do.
    #[error("0 sampling steps were asked for; take at least 1")]
    Zero,
    /// The steps do not fit into the training schedule.
    #[error(
        "{given} sampling steps were asked for, but the schedule has {train_steps} training steps \
         and its {spacing} spacing allows at most {most}; take fewer"
    )]
    TooMany {
        /// What was asked for.
        given: usize,
        /// Steps of the training schedule.
        train_steps: usize,
        /// How the steps are spread.
        spacing: &'static str,
        /// The largest number that fits.
        most: usize,
    },
}

/// Why a `scheduler_config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerConfigError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}; a model folder has its noise schedule there", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("`{}` is not a scheduler configuration: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Betas outside of (0, 1), or none.
    #[error(
        "betas from {beta_start} to {beta_end} over {train_steps} steps are no noise schedule; \
         both must lie inside (0, 1) and there must be at least one step"
    )]
    Betas {
        /// First beta.
        beta_start: f64,
        /// Last beta.
        beta_end: f64,
        /// Steps of the training schedule.
        train_steps: usize,
    },
    /// A setting that is not built here.
    #[error(
        "the scheduler configuration sets `{key}`, which is not supported and would change the \
         pictures; only a model that was trained without it can be used"
    )]
    Unsupported {
        /// The setting.
        key: &'static str,
    },
    /// A schedule that ends in pure noise, for a network that predicts the noise.
    #[error(
        "the scheduler configuration sets `rescale_betas_zero_snr` and `prediction_type` epsilon: \
         from pure noise the noise tells nothing of the picture; a network that was trained so \
         predicts v (`v_prediction`)"
    )]
    ZeroSnr,
    /// A shift that leaves no falling noise levels.
    #[error(
        "the scheduler configuration gives a shift of {shift} for {image_tokens} image tokens; it \
         must be a number above 0"
    )]
    Shift {
        /// The shift.
        shift: f64,
        /// The number of image tokens that it was computed for.
        image_tokens: usize,
    },
    /// A solver that is not built here.
    #[error(
        "the scheduler configuration names diffusers' {class}, which is not built; choose one of \
         these in its place: {choices}"
    )]
    Class {
        /// The class that the file names.
        class: String,
        /// Names of the solvers that can be chosen.
        choices: String,
    },
    /// A setting of the file's own solver that is not built here.
    #[error(
        "the scheduler configuration asks {solver} for `{key}` = {value}, which is not built; \
         choose a scheduler by its name to sample without this setting"
    )]
    Setting {
        /// The solver of the file.
        solver: Solver,
        /// The setting.
        key: &'static str,
        /// Its value.
        value: serde_json::Value,
    },
    /// A solver of the other kind of process.
    #[error("the scheduler {solver} is one for {of}, and the base is {base}; these fit: {choices}")]
    Process {
        /// The solver.
        solver: Solver,
        /// What it solves.
        of: &'static str,
        /// What the base is.
        base: &'static str,
        /// Names of the solvers that can be chosen.
        choices: String,
    },
    /// An eta for a solver that has none.
    #[error("the scheduler {solver} has no eta; these have one: {choices}")]
    NoEta {
        /// The solver.
        solver: Solver,
        /// Names of the solvers that have one.
        choices: String,
    },
    /// An eta out of its range.
    #[error("eta {eta} is not {range}, as the scheduler {solver} needs it")]
    Eta {
        /// The solver.
        solver: Solver,
        /// What was given.
        eta: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// The settings of a diffusion where those of a flow are needed.
    #[error(
        "the scheduler configuration is one of diffusers' {class}, which does not describe a \
         rectified flow; that of a FlowMatchEulerDiscreteScheduler, a \
         FlowMatchHeunDiscreteScheduler or a UniPCMultistepScheduler with `use_flow_sigmas` was \
         expected"
    )]
    NoFlow {
        /// The class that the file names.
        class: String,
    },
    /// The settings of a flow where those of a diffusion are needed.
    #[error(
        "the scheduler configuration is one of diffusers' {class}, which describes a rectified \
         flow; that of a diffusion (DDIMScheduler, PNDMScheduler, ...) was expected"
    )]
    NoDiffusion {
        /// The class that the file names.
        class: String,
    },
    /// The number of sampling steps does not fit.
    #[error(transparent)]
    StepCount(#[from] StepCountError),
}
