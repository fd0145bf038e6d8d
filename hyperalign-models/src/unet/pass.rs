//! What every block of one forward pass reads.

use std::ops::Deref;

use burn::tensor::Tensor;
use hyperalign_core::lora::LoraSet;

use crate::scope::{Observer, Scope};

/// One forward pass seen from a module: the text, the time, the updates below the module, and
/// who looks on.
#[derive(Clone)]
pub(super) struct Pass<'a> {
    /// The time embedding after its activation, `[batch, d_time]`.
    pub time: &'a Tensor<2>,
    /// The text, `[batch, context_tokens, context_dim]`.
    pub context: &'a Tensor<3>,
    scope: Scope<'a>,
}

impl<'a> Pass<'a> {
    /// The pass seen from the network as a whole.
    pub fn new(
        time: &'a Tensor<2>,
        context: &'a Tensor<3>,
        lora: Option<&'a LoraSet>,
        observer: Option<Observer<'a>>,
    ) -> Self {
        Self { time, context, scope: Scope::root(lora, observer) }
    }

    /// The pass seen from the child module `name`.
    pub fn child(&self, name: &str) -> Self {
        Self { scope: self.scope.child(name), ..*self }
    }

    /// The pass seen from item `i` of the list `name`.
    pub fn item(&self, name: &str, i: usize) -> Self {
        Self { scope: self.scope.item(name, i), ..*self }
    }
}

/// A pass is a scope with more in it.
impl<'a> Deref for Pass<'a> {
    type Target = Scope<'a>;

    fn deref(&self) -> &Scope<'a> {
        &self.scope
    }
}
