//! What every block of one forward pass reads.

use std::ops::Deref;

use burn::tensor::Tensor;
use hyperalign_core::{contract::TextWatch, lora::LoraSet};

use crate::scope::{Observer, Scope};

/// One forward pass seen from a module: the text, the time, the updates below the module, and
/// who looks on.
#[derive(Clone)]
pub(super) struct Pass<'a> {
    /// The time embedding after its activation, `[batch, d_time]`.
    pub time: &'a Tensor<2>,
    /// The text, `[batch, context_tokens, context_dim]`.
    pub context: &'a Tensor<3>,
    /// Height and width of the feature map at hand, where its attention to the text is shown.
    watched: Option<[usize; 2]>,
    scope: Scope<'a>,
}

/// Pixels of the largest maps whose attention to the text is shown: a quarter of the side of
/// Stable Diffusion's latents, where words have their places (Hertz et al. 2022, arXiv:2208.01626).
const WATCHED_PIXELS: usize = 16 * 16;

impl<'a> Pass<'a> {
    /// The pass seen from the network as a whole.
    pub fn new(
        time: &'a Tensor<2>,
        context: &'a Tensor<3>,
        lora: Option<&'a LoraSet>,
        observer: Option<Observer<'a>>,
    ) -> Self {
        Self { time, context, watched: None, scope: Scope::root(lora, observer) }
    }

    /// The same with `watch` shown where the picture looks at the text.
    pub fn watching(self, watch: Option<TextWatch<'a>>) -> Self {
        Self { scope: self.scope.watching(watch), ..self }
    }

    /// Whether the attention of a feature map of this size to the text is shown.
    pub fn is_watched(&self, [height, width]: [usize; 2]) -> bool {
        self.scope.is_watched() && height * width <= WATCHED_PIXELS
    }

    /// The pass within a feature map of this size.
    pub fn within(&self, size: [usize; 2]) -> Self {
        Self { watched: Some(size).filter(|size| self.is_watched(*size)), ..self.clone() }
    }

    /// The pass of a layer whose pixels look at each other, of which nothing is shown.
    pub fn unwatched(self) -> Self {
        Self { watched: None, ..self }
    }

    /// Shows where each pixel looks in the text, if that is shown here.
    ///
    /// # Shapes
    ///
    /// - `weights`: `[batch, heads, pixels, tokens]`
    pub fn looks(&self, weights: impl FnOnce() -> Tensor<4>) {
        if let Some(size) = self.watched {
            self.scope.looks(size, weights);
        }
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
