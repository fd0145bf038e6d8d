//! What a pickle builds.

use safetensors::Dtype;

/// A value of the pickle. Others are referred to by their place in [`Graph`], which therefore is
/// never larger than the pickle, however often it repeats itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    /// Tuples and lists.
    List(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    /// A name of Python's, which is never looked up.
    Global(String),
    /// A storage: its type and its file.
    Storage {
        dtype: Option<Dtype>,
        file: String,
    },
    Tensor(Tensor),
    /// Everything that weights do not need.
    Other,
}

/// A view into a storage, all of it in elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub storage: String,
    pub dtype: Dtype,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) values: Vec<Value>,
    pub(super) root: usize,
}

impl Graph {
    pub fn root(&self) -> usize {
        self.root
    }

    pub fn value(&self, id: usize) -> &Value {
        &self.values[id]
    }

    pub fn text(&self, id: usize) -> Option<&str> {
        match &self.values[id] {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn entries(&self, id: usize) -> Option<&[(usize, usize)]> {
        match &self.values[id] {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }
}
