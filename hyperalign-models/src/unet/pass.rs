//! What every block of one forward pass reads.

use burn::tensor::Tensor;
use hyperalign_core::lora::{LoraDelta, LoraScope, LoraSet};

/// An intermediate result of the network.
#[derive(Debug, Clone)]
pub enum Tap {
    /// One vector for each sample, `[batch, dim]`.
    Vector(Tensor<2>),
    /// Tokens, `[batch, tokens, dim]`.
    Tokens(Tensor<3>),
    /// A feature map, `[batch, channels, height, width]`.
    Map(Tensor<4>),
}

/// Looks at the output of each module, by the module's path.
pub type Observer<'a> = &'a dyn Fn(&str, Tap);

/// One forward pass seen from a module: the text, the time, the updates below the module, and
/// who looks on.
#[derive(Clone)]
pub(super) struct Pass<'a> {
    /// The time embedding after its activation, `[batch, d_time]`.
    pub time: &'a Tensor<2>,
    /// The text, `[batch, context_tokens, context_dim]`.
    pub context: &'a Tensor<3>,
    lora: LoraScope<'a>,
    observer: Option<(Observer<'a>, String)>,
}

impl<'a> Pass<'a> {
    /// The pass seen from the network as a whole.
    pub fn new(
        time: &'a Tensor<2>,
        context: &'a Tensor<3>,
        lora: Option<&'a LoraSet>,
        observer: Option<Observer<'a>>,
    ) -> Self {
        let observer = observer.map(|observer| (observer, String::new()));
        Self { time, context, lora: LoraScope::root(lora), observer }
    }

    /// The pass seen from the child module `name`.
    pub fn child(&self, name: &str) -> Self {
        let observer = self.observer.as_ref().map(|(observer, path)| {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            (*observer, path)
        });
        Self { lora: self.lora.child(name), observer, ..self.clone() }
    }

    /// The pass seen from item `i` of the list `name`.
    pub fn item(&self, name: &str, i: usize) -> Self {
        self.child(&format!("{name}.{i}"))
    }

    /// The update of the linear layer `name` of this module.
    pub fn lora(&self, name: &str) -> Option<&'a LoraDelta> {
        self.lora.get(name)
    }

    /// Shows the output of this module, a feature map, and hands it on.
    pub fn map(&self, output: Tensor<4>) -> Tensor<4> {
        if let Some((observer, path)) = &self.observer {
            observer(path, Tap::Map(output.clone()));
        }
        output
    }

    /// Shows the output of this module, tokens, and hands it on.
    pub fn tokens(&self, output: Tensor<3>) -> Tensor<3> {
        if let Some((observer, path)) = &self.observer {
            observer(path, Tap::Tokens(output.clone()));
        }
        output
    }
}
