//! One forward pass seen from inside a network: the low-rank updates below a module, and who
//! looks on.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::TextWatch,
    lora::{LoraDelta, LoraScope, LoraSet},
};

/// An intermediate result of a network.
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

/// The updates and the observer of a pass, seen from one module.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    lora: LoraScope<'a>,
    observer: Option<(Observer<'a>, String)>,
    watch: Option<TextWatch<'a>>,
}

impl<'a> Scope<'a> {
    /// The pass seen from the network as a whole.
    pub fn root(lora: Option<&'a LoraSet>, observer: Option<Observer<'a>>) -> Self {
        let observer = observer.map(|observer| (observer, String::new()));
        Self { lora: LoraScope::root(lora), observer, watch: None }
    }

    /// The same with `watch` shown where the picture looks at the text.
    pub fn watching(self, watch: Option<TextWatch<'a>>) -> Self {
        Self { watch, ..self }
    }

    /// The pass seen from the child module `name`.
    pub fn child(&self, name: &str) -> Self {
        let observer = self.observer.as_ref().map(|(observer, path)| {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            (*observer, path)
        });
        Self { lora: self.lora.child(name), observer, watch: self.watch }
    }

    /// The pass seen from item `i` of the list `name`.
    pub fn item(&self, name: &str, i: usize) -> Self {
        self.child(&format!("{name}.{i}"))
    }

    /// The update of the linear layer `name` of this module.
    pub fn lora(&self, name: &str) -> Option<&'a LoraDelta> {
        self.lora.get(name)
    }

    /// The updates of the layers below this module, by their paths from here.
    pub fn below(&self) -> LoraSet {
        self.lora.below()
    }

    /// Whether anybody looks on.
    pub fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Whether anybody is shown where the picture looks at the text.
    pub fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Shows where each pixel of a map of `[height, width]` looks in the text.
    ///
    /// # Shapes
    ///
    /// - `weights`: `[batch, heads, height * width, tokens]`
    pub fn looks(&self, [height, width]: [usize; 2], weights: impl FnOnce() -> Tensor<4>) {
        let Some(watch) = self.watch else { return };
        let weights = weights().mean_dim(1);
        let [batch, _, _, tokens] = weights.dims();
        watch(weights.swap_dims(2, 3).reshape([batch, tokens, height, width]));
    }

    /// Shows the output of this module, one vector for each sample, and hands it on.
    pub fn vector(&self, output: Tensor<2>) -> Tensor<2> {
        self.show(|| Tap::Vector(output.clone()));
        output
    }

    /// Shows the output of this module, tokens, and hands it on.
    pub fn tokens(&self, output: Tensor<3>) -> Tensor<3> {
        self.show(|| Tap::Tokens(output.clone()));
        output
    }

    /// Shows the output of this module, a feature map, and hands it on.
    pub fn map(&self, output: Tensor<4>) -> Tensor<4> {
        self.show(|| Tap::Map(output.clone()));
        output
    }

    fn show(&self, tap: impl FnOnce() -> Tap) {
        if let Some((observer, path)) = &self.observer {
            observer(path, tap());
        }
    }
}
