//! `hyperalign doctor`: is this device usable?

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use serde::Serialize;

use crate::context::Context;
use crate::disk;
use crate::outcome::Outcome;
use crate::output;

/// Side of the square matrices that are multiplied: large enough to wake a GPU up.
const SIDE: usize = 512;

/// Flags of `hyperalign doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    /// The program's version.
    version: &'static str,
    /// The device, as it was asked for.
    device: &'a str,
    /// The formats that it can compute in.
    dtypes: Dtypes,
    /// Time of one f32 matrix product of side [`SIDE`], the first left out, in milliseconds.
    matmul_milliseconds: f64,
    /// Where a GPU's kernels are kept.
    kernels: Option<Kernels>,
}

#[derive(Debug, Serialize)]
struct Kernels {
    folder: PathBuf,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Dtypes {
    f64: bool,
    f32: bool,
    bf16: bool,
    f16: bool,
}

/// Opens the device and prints what it can do.
///
/// # Errors
///
/// Fails if the device cannot be opened or the output cannot be written.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let device = context.device()?;
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        device: context.device_name(),
        dtypes: Dtypes {
            f64: device.supports_dtype(FloatDType::F64),
            f32: device.supports_dtype(FloatDType::F32),
            bf16: device.supports_dtype(FloatDType::BF16),
            f16: device.supports_dtype(FloatDType::F16),
        },
        matmul_milliseconds: time_matmul(&device),
        kernels: context.kernels().map(|folder| Kernels { bytes: disk::size(&folder), folder }),
    };
    if args.json {
        output::print_json(&findings)?;
    } else {
        output::print(&table(&findings))?;
    }
    Ok(Outcome::Done)
}

fn time_matmul(device: &Device) -> f64 {
    let x = Tensor::<2>::random([SIDE, SIDE], Distribution::Default, device);
    let mut seconds = 0.0;
    // The first round compiles kernels and fills caches.
    for _ in 0..2 {
        let start = Instant::now();
        // Reading one number back waits for the device to finish.
        x.clone().matmul(x.clone()).sum().into_scalar::<f32>();
        seconds = start.elapsed().as_secs_f64();
    }
    seconds * 1e3
}

/// The findings for people, one a line.
fn table(findings: &Findings) -> String {
    let Findings { version, device, dtypes, matmul_milliseconds, kernels } = findings;
    let known =
        [("f64", dtypes.f64), ("f32", dtypes.f32), ("bf16", dtypes.bf16), ("f16", dtypes.f16)];
    let names: Vec<_> = known.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    let kernels = kernels.as_ref().map_or_else(String::new, |Kernels { folder, bytes }| {
        format!("kernels     {:.1} MB in {}\n", *bytes as f64 / 1e6, folder.display())
    });
    format!(
        "hyperalign  {version}\n\
         device      {device}, works\n\
         formats     {}\n\
         matmul      {SIDE} x {SIDE} in {matmul_milliseconds:.2} ms\n\
         {kernels}",
        names.join(" ")
    )
}
