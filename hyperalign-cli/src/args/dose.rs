//! The flags that say how much of an adapter is used.

use hyperalign_models::generate::Dose;

use super::{finite, share};

/// How much of the adapter is used, and for how many steps.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct DoseArgs {
    /// What the adapter's updates are multiplied by: 0 is the base, 1 the adapter as it was trained.
    #[arg(long, value_name = "NUMBER", value_parser = finite, allow_negative_numbers = true)]
    adapter_scale: Option<f64>,

    /// Share of the sampling steps, from the first, that the adapter takes part in; the base takes the
    /// others alone. MixGRPO's pictures are drawn with 0.6.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    adapter_until: Option<f64>,
}

/// Flags of an adapter without one.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`--adapter-scale` and `--adapter-until` say how an adapter is used, and none is")]
#[diagnostic(help("give one with `--adapter`, or leave them out"))]
pub struct NoAdapterToDose;

impl DoseArgs {
    /// What they come to in a run of `steps` sampling steps.
    pub fn dose(&self, steps: usize) -> Dose {
        Dose::new(self.adapter_scale.unwrap_or(1.0), self.adapter_until.unwrap_or(1.0), steps)
    }

    /// Fails where they were given and no adapter is `used`.
    pub fn check(&self, used: bool) -> Result<(), NoAdapterToDose> {
        let given = self.adapter_scale.is_some() || self.adapter_until.is_some();
        if given && !used { Err(NoAdapterToDose) } else { Ok(()) }
    }
}
