//! Kernels of GPU backends, compiled once and kept.
//!
//! A GPU backend compiles a kernel when it first meets an operation at a shape, and tries several
//! for matrix products, convolutions and reductions. A program that keeps nothing does this anew
//! in every process, which takes longer than most work that it was started for.

use std::path::Path;

/// Under this target the `log` crate hears of every kernel that is compiled, and of none that was
/// found in the store.
pub const LOG_TARGET: &str = "cubecl::compilation";

/// Keeps compiled kernels, and which of several is the fastest, in the folder `dir`. It is made
/// when there is something to keep; several processes may share it, and kernels of another program,
/// device or driver are not mixed up.
///
/// To be called before the first GPU is opened, and of no effect afterwards or where no GPU backend
/// is built in: the answer says whether kernels are kept from here on. A `cubecl.toml` or
/// `burn.toml` of the working directory and the variables `CUBECL_*` go first, as burn documents
/// them.
#[cfg(feature = "kernels")]
pub fn keep_in(dir: &Path) -> bool {
    use burn::cubecl::config::{
        CubeClRuntimeConfig, RuntimeConfig, autotune::AutotuneLevel, cache::CacheConfig,
        compilation::CompilationLogLevel,
    };

    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    if matches!(config.environment.path, CacheConfig::Target) {
        config.environment.path = CacheConfig::Directory(dir.to_owned());
    }
    // The next level tries many more kernels for each product, and each has to be compiled.
    if std::env::var_os("CUBECL_AUTOTUNE_LEVEL").is_none() {
        config.autotune.level = AutotuneLevel::Minimal;
    }
    if config.compilation.logger.log.is_none() {
        config.compilation.logger.log = Some(Default::default());
        config.compilation.logger.level = CompilationLogLevel::Basic;
    }
    CubeClRuntimeConfig::try_set(config)
}

/// Keeps compiled kernels in the folder `dir`, where a GPU backend is built in: here none is, and
/// nothing is kept.
#[cfg(not(feature = "kernels"))]
pub fn keep_in(_dir: &Path) -> bool {
    false
}
