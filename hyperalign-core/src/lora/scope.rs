//! The updates, seen from inside a network.

use super::{LoraDelta, LoraSet};

/// A [`LoraSet`] seen from inside a network: the updates below one module's path.
#[derive(Debug, Clone)]
pub struct LoraScope<'a> {
    set: Option<&'a LoraSet>,
    path: String,
}

impl<'a> LoraScope<'a> {
    /// The scope of the whole network.
    pub fn root(set: Option<&'a LoraSet>) -> Self {
        Self { set: set.filter(|set| !set.is_empty()), path: String::new() }
    }

    /// The scope of the child module `name`, such as `attn1` or `attentions.0`.
    pub fn child(&self, name: &str) -> Self {
        if self.set.is_none() {
            return self.clone();
        }
        Self { set: self.set, path: join(&self.path, name) }
    }

    /// The updates of the layers below this module, by their paths from here.
    pub fn below(&self) -> LoraSet {
        self.set.map(|set| set.below(&join(&self.path, ""))).unwrap_or_default()
    }

    /// The updates of the layer `name` of this module; none where it is not adapted.
    pub fn at(&self, name: &str) -> &'a [LoraDelta] {
        self.set.map_or(&[], |set| set.at(&join(&self.path, name)))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
