//! One forward pass seen from inside a network: the low-rank updates below a module, and who
//! looks on.

use burn::{
    nn::{Linear, conv::Conv2d},
    tensor::Tensor,
};
use hyperalign_core::{
    contract::TextWatch,
    lora::{LoraScope, LoraSet, conv_with_lora, linear_with_lora},
    quantized,
};

use crate::blocks::PointwiseConv;

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

    /// A pass without updates that nobody looks at.
    pub fn bare() -> Self {
        Self::root(None, None)
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

    /// Applies `layer`, called `name` in this module, with its updates to tokens.
    pub fn linear(&self, name: &str, layer: &Linear, x: Tensor<3>) -> Tensor<3> {
        linear_with_lora(layer, x, self.lora.at(name))
    }

    /// [`linear`](Self::linear) of one vector for each sample.
    pub fn linear_of_vector(&self, name: &str, layer: &Linear, x: Tensor<2>) -> Tensor<2> {
        match self.lora.at(name) {
            [] => quantized::linear(layer, x),
            deltas => linear_with_lora(layer, x.unsqueeze_dim(1), deltas).squeeze_dim(1),
        }
    }

    /// Applies `layer`, called `name` in this module, with its updates to a feature map.
    pub fn conv(&self, name: &str, layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        conv_with_lora(layer, x, self.lora.at(name))
    }

    /// Applies the 1x1 convolution `layer`, called `name` in this module, with its updates to
    /// pixels as tokens.
    pub fn pointwise(&self, name: &str, layer: &PointwiseConv, x: Tensor<3>) -> Tensor<3> {
        let deltas = self.lora.at(name).iter();
        let shift = deltas.map(|delta| delta.forward(x.clone())).reduce(|sum, shift| sum + shift);
        match shift {
            Some(shift) => layer.tokens(x) + shift,
            None => layer.tokens(x),
        }
    }

    /// [`pointwise`](Self::pointwise) of a feature map.
    pub fn pointwise_of_map(&self, name: &str, layer: &PointwiseConv, x: Tensor<4>) -> Tensor<4> {
        if self.lora.at(name).is_empty() {
            return layer.pixels(x);
        }
        let [batch, channels, height, width] = x.dims();
        let tokens = x.reshape([batch, channels, height * width]).swap_dims(1, 2);
        let output = self.pointwise(name, layer, tokens);
        let channels = output.dims()[2];
        output.swap_dims(1, 2).reshape([batch, channels, height, width])
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
