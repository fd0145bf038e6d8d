//! What of a pickle is a dictionary of weights.

use safetensors::Dtype;

use crate::pickle::{Global, Id, Names, Pickle, PickleError, Policy, Value};

/// The key under which training programs keep the weights, among epochs and optimizers.
const STATE_DICT: &str = "state_dict";
/// More instructions than any checkpoint has.
const INSTRUCTIONS: usize = 1 << 24;
/// The most axes of a tensor, as in burn.
const AXES: usize = 8;
/// A storage's name is a number.
const DIGITS: usize = 20;

/// A view into a storage, all of it in elements.
#[derive(Debug, PartialEq)]
pub(super) struct Tensor<'a> {
    pub storage: &'a str,
    pub dtype: Dtype,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The values of a file. Calls that make no tensors are passed over.
#[derive(Debug)]
pub(super) struct State<'a>(Pickle<'a>);

impl<'a> State<'a> {
    /// Reads the values that `bytes` begin with; the second value is what follows them.
    pub fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), PickleError> {
        let policy = Policy { names: Names::Any, instructions: INSTRUCTIONS };
        let (pickle, rest) = Pickle::read_first(bytes, policy)?;
        Ok((Self(pickle), rest))
    }

    /// The number that these values are.
    pub fn number(&self) -> Option<i64> {
        match self.0.value(self.0.root()) {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// What the dictionary that these values are says of `key`, yes or no.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.0.value(self.0.get(self.0.root(), key)?) {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The texts of the list that these values are.
    pub fn texts(&self) -> Option<Vec<&'a str>> {
        self.0.list(self.0.root())?.iter().map(|id| self.0.text(*id)).collect()
    }

    /// The storages that tensors lie in, each by its name and as often as it is spoken of.
    pub fn storages(&self) -> impl Iterator<Item = (&'a str, Dtype)> {
        let storages = self.0.values().iter().filter_map(|value| self.storage_of(value));
        storages.map(|(dtype, name)| (name, dtype))
    }

    /// The entries of the dictionary `state_dict`, or else of the outermost one. Of several under
    /// one object, the last.
    pub fn entries(&self) -> Option<Vec<(&'a str, Id)>> {
        let outer = self.dict(self.0.root())?;
        let inner = self.0.last(outer, STATE_DICT).and_then(|id| self.dict(id));
        // A long key costs a few bytes where it is repeated, but much in a list of tensors.
        let mut seen = std::collections::HashSet::new();
        let last = inner.unwrap_or(outer).iter().rev().filter(|(key, _)| seen.insert(*key));
        let mut entries: Vec<_> =
            last.filter_map(|(key, value)| Some((self.0.text(*key)?, *value))).collect();
        entries.reverse();
        Some(entries)
    }

    fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.0.value(id) {
            Value::Dict(entries) => Some(entries),
            _ => match self.0.call(id)? {
                (Global { module: "collections", name: "OrderedDict" }, call) => {
                    Some(&call.entries)
                }
                _ => None,
            },
        }
    }

    /// The tensor that a value is, by itself or as a parameter.
    pub fn tensor(&self, id: Id) -> Option<Tensor<'a>> {
        let id = match self.torch(id)? {
            ("_rebuild_parameter", arguments) => *arguments.first()?,
            _ => id,
        };
        let ("_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) = self.torch(id)? else {
            return None;
        };
        let (dtype, storage) = self.storage(*storage)?;
        Some(Tensor {
            storage,
            dtype,
            offset: self.extent(*offset)?,
            shape: self.extents(*shape)?,
            strides: self.extents(*strides)?,
        })
    }

    /// The name and the arguments of a call of `torch._utils`.
    fn torch(&self, id: Id) -> Option<(&'a str, &[Id])> {
        let (function, call) = self.0.call(id)?;
        let arguments = self.0.list(call.arguments)?;
        (function.module == "torch._utils").then_some((function.name, arguments))
    }

    fn storage(&self, id: Id) -> Option<(Dtype, &'a str)> {
        self.storage_of(self.0.value(id))
    }

    /// Of `("storage", type, file, device, elements)`. Files of before 2018 may have the part of
    /// another storage in a sixth place, which is not read.
    fn storage_of(&self, value: &Value<'a>) -> Option<(Dtype, &'a str)> {
        let Value::Persistent(id) = value else { return None };
        let [_, kind, file, _, _, part @ ..] = self.0.list(*id)? else { return None };
        if part.iter().any(|part| *self.0.value(*part) != Value::None) {
            return None;
        }
        let Value::Global(Global { module: "torch", name }) = self.0.value(*kind) else {
            return None;
        };
        let file = self.0.text(*file).filter(|file| file.len() <= DIGITS)?;
        Some((dtype(name)?, file))
    }

    fn extent(&self, id: Id) -> Option<usize> {
        match self.0.value(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    fn extents(&self, id: Id) -> Option<Vec<usize>> {
        let items = self.0.list(id).filter(|items| items.len() <= AXES)?;
        items.iter().map(|id| self.extent(*id)).collect()
    }
}

fn dtype(storage: &str) -> Option<Dtype> {
    Some(match storage {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "ByteStorage" => Dtype::U8,
        "CharStorage" => Dtype::I8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}
