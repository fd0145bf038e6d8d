//! The flags that say how long and how strongly guided pictures are sampled.

use hyperalign_models::{base::Preset, generate::Sampling};

use super::{at_least_one, finite};

/// Steps and guidance, for commands that make pictures.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct StepArgs {
    /// Sampling steps. Default: what suits the base.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    steps: Option<usize>,

    /// Weight of guidance; 1 turns it off. Default: what suits the base.
    #[arg(long, value_name = "X", value_parser = finite)]
    guidance: Option<f64>,
}

impl StepArgs {
    /// The sampling that the flags ask for, and `preset` where they say nothing.
    pub fn sampling(self, preset: Preset) -> Sampling {
        Sampling::new(
            self.steps.unwrap_or(preset.steps),
            self.guidance.unwrap_or(preset.guidance_scale),
        )
    }
}
