//! A fingerprint of weights, which ties an adapter to its base.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use sha2::{Digest, Sha256};

use super::{layout::Position, save::values};

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
    hasher.sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
        self.sha.update(format!("{} {:?}\n", self.position.key(), tensor.dims()));
        let bytes: Vec<u8> = values(tensor).iter().flat_map(|value| value.to_le_bytes()).collect();
        self.sha.update(bytes);
    }
}
