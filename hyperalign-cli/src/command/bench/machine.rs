//! What the numbers were taken on.

use serde::Serialize;

/// The machine and the program.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// The processor's name, where the system tells.
    pub cpu: String,
    /// Threads that this process may run at once.
    pub cores: usize,
    /// The system and the architecture.
    pub system: String,
    /// The value of `--device`.
    pub device: String,
    /// Version and profile of the program: unoptimised ones are for debugging only.
    pub program: String,
}

impl Machine {
    pub(super) fn this(device: &str) -> Self {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self {
            cpu: cpu().unwrap_or_else(|| "unknown processor".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            device: device.to_owned(),
            program: format!("hyperalign {} ({profile})", env!("CARGO_PKG_VERSION")),
        }
    }
}

#[cfg(target_os = "macos")]
fn cpu() -> Option<String> {
    let arguments = ["-n", "machdep.cpu.brand_string"];
    let output = std::process::Command::new("sysctl").args(arguments).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(not(target_os = "macos"))]
fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
