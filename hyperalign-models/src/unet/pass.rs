//! What every block of one forward pass reads.

use burn::tensor::Tensor;
use hyperalign_core::lora::{LoraDelta, LoraSet};

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

    /// The update of the linear layer `name` of this module.
    pub fn lora(&self, name: &str) -> Option<&'a LoraDelta> {
        self.scope.lora(name)
    }

    /// The updates of the layers below this module, by their paths from here.
    pub fn lora_below(&self) -> LoraSet {
        self.scope.below()
    }

    /// Whether somebody looks on.
    pub fn is_observed(&self) -> bool {
        self.scope.is_observed()
    }

    /// Shows the output of this module, a feature map, and hands it on.
    pub fn map(&self, output: Tensor<4>) -> Tensor<4> {
        self.scope.map(output)
    }

    /// Shows the output of this module, tokens, and hands it on.
    pub fn tokens(&self, output: Tensor<3>) -> Tensor<3> {
        self.scope.tokens(output)
    }
}
