//! A fingerprint of weights, which ties an adapter to its base.

use std::{io, path::Path};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use hyperalign_core::input;
use sha2::{Digest, Sha256};

use super::{LoadError, Tensors, layout::Position, save::values};

/// SHA-256 of the weights of `module` as 64 hexadecimal digits.
///
/// It covers keys, shapes and values (as `f32`), and not the way they came: a single file, its
/// shards and an embedded copy give the same. Rounding to another precision gives another.
pub fn hash<M: Module>(module: &M) -> String {
    hash_of(module, |_| true)
}

/// [`hash`] of the weights whose keys are `wanted`: for networks whose whole takes seconds.
pub fn hash_of<M: Module>(module: &M, wanted: impl Fn(&str) -> bool) -> String {
    let (position, sha) = (Position::default(), Sha256::new());
    let mut hasher = Hasher { position, sha, wanted: &wanted };
    module.visit(&mut hasher);
    hexadecimal(hasher.sha)
}

/// [`hash`] of the values of `tensors`, from which `module` was loaded, before they were rounded
/// to the module's format.
///
/// # Errors
///
/// Fails if `tensors` does not have a parameter of `module`.
pub(crate) fn hash_stored<M: Module>(module: &M, tensors: &Tensors) -> Result<String, LoadError> {
    let mut hasher =
        StoredHasher { position: Position::default(), sha: Sha256::new(), tensors, error: None };
    module.visit(&mut hasher);
    match hasher.error {
        Some(error) => Err(error),
        None => Ok(hexadecimal(hasher.sha)),
    }
}

/// SHA-256 of `bytes` as 64 hexadecimal digits.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

/// SHA-256 of the regular file at `path` as 64 hexadecimal digits, however large it is.
///
/// # Errors
///
/// Fails if it cannot be read, or something else is in its place.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let (mut sha, mut file) = (Sha256::new(), input::open(path)?);
    io::copy(&mut file, &mut sha)?;
    Ok(hexadecimal(sha))
}

/// What has gone into `sha`, as 64 hexadecimal digits.
fn hexadecimal(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the hash covers of a parameter.
fn cover(sha: &mut Sha256, key: &str, shape: &[usize], values: &[f32]) {
    sha.update(format!("{key} {shape:?}\n"));
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    sha.update(bytes);
}

struct StoredHasher<'a> {
    position: Position,
    sha: Sha256,
    tensors: &'a Tensors,
    error: Option<LoadError>,
}

impl ModuleVisitor for StoredHasher<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape: [usize; D] = param.lazy_shape().dims();
        let (key, layout) = (self.position.key(), self.position.layout());
        match self.tensors.f32(&key) {
            Ok(values) => {
                let values = layout.to_module(values, &layout.file_shape(&shape));
                cover(&mut self.sha, &key, &shape, &values);
            }
            Err(error) => self.error = Some(error),
        }
    }
}

struct Hasher<'a> {
    position: Position,
    sha: Sha256,
    wanted: &'a dyn Fn(&str) -> bool,
}

impl ModuleVisitor for Hasher<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !(self.wanted)(&self.position.key()) {
            return;
        }
        let tensor = param.val();
        let shape = tensor.dims();
        cover(&mut self.sha, &self.position.key(), &shape, &values(tensor));
    }
}
