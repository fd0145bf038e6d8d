//! Python's pickles, as data.
//!
//! A pickle is a program, and Python's reader runs what it is told to. This one knows the
//! instructions by which protocols 2 to 5 build values (Python's `pickletools` lists all), keeps
//! calls as the data that they are written as, and never runs anything: what a call or a name
//! means is up to whoever asks for it.
//!
//! Values refer to each other by number, and texts and bytes are parts of the pickle, so neither a
//! value inside of itself nor one that is shared a million times costs anything. Whoever walks
//! along the numbers has to expect both.

mod reader;
#[cfg(test)]
mod tests;

/// The number of a value.
pub type Id = usize;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` and `False`.
    Bool(bool),
    /// A whole number of up to 64 bits.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list or a tuple.
    List(Vec<Id>),
    /// Keys and values, in order.
    Dict(Vec<(Id, Id)>),
    /// A name that stands for something in Python.
    Global(Global<'a>),
    /// What a program other than Python's own reader has to supply: a tensor's storage.
    Persistent(Id),
    /// A call that Python would make.
    Call(Box<Call>),
    /// A whole number of more bits, or a text that is not Unicode.
    Other,
}

/// A module and a name in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Global<'a> {
    /// Such as `collections`.
    pub module: &'a str,
    /// Such as `OrderedDict`.
    pub name: &'a str,
}

/// A call that Python would make, and what it would do with the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What is called.
    pub function: Id,
    /// A tuple.
    pub arguments: Id,
    /// What is set as its state.
    pub state: Option<Id>,
    /// What is appended to it.
    pub items: Vec<Id>,
    /// What is set in it by key.
    pub entries: Vec<(Id, Id)>,
}

/// What a pickle may contain.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The names that may stand in it.
    pub names: Names,
    /// The most instructions, which bounds the memory that its values take: none takes more than
    /// 100 bytes, but for what [`Value::List`] and [`Value::Dict`] hold.
    pub instructions: usize,
}

/// Names that a pickle may contain.
#[derive(Debug, Clone, Copy)]
pub enum Names {
    /// All, since whoever reads it passes over those that are unknown.
    Any,
    /// These alone.
    Only {
        /// Module and name.
        known: &'static [(&'static str, &'static str)],
        /// What these are for, for the error: `only .. are read`.
        reason: &'static str,
    },
}

impl Names {
    fn allow(self, global: Global<'_>) -> Result<(), PickleError> {
        match self {
            Self::Only { known, reason } if !known.contains(&(global.module, global.name)) => {
                let name = format!("{}.{}", global.module, global.name);
                Err(PickleError::Name { name: name.chars().take(SHOWN).collect(), reason })
            }
            _ => Ok(()),
        }
    }
}

/// Letters of a refused name that an error shows.
const SHOWN: usize = 200;

/// Why bytes are no pickle that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The bytes end in the middle.
    #[error("the pickle is cut off")]
    CutOff,
    /// An instruction that builds something else than data.
    #[error("the pickle has the instruction {0:#04x}, which builds no plain value; refused")]
    Refused(u8),
    /// A name that the policy does not allow.
    #[error("the pickle names `{name}`; {reason}, nothing is run")]
    Name {
        /// Module and name.
        name: String,
        /// What is allowed.
        reason: &'static str,
    },
    /// Instructions in an order that means nothing.
    #[error("the pickle is damaged: {0}")]
    Damaged(&'static str),
    /// More instructions than the policy allows.
    #[error("the pickle has more than {0} instructions, more than anything that is read here")]
    TooLong(usize),
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle of protocol 2 to 5.
    ///
    /// # Errors
    ///
    /// Fails if it is cut off or damaged, or has an instruction or a name that is not allowed.
    pub fn read(bytes: &'a [u8], policy: Policy) -> Result<Self, PickleError> {
        Ok(Self::read_first(bytes, policy)?.0)
    }

    /// Reads the pickle that `bytes` begin with; the second value is what follows it.
    ///
    /// # Errors
    ///
    /// Fails where [`read`](Self::read) does.
    pub fn read_first(bytes: &'a [u8], policy: Policy) -> Result<(Self, &'a [u8]), PickleError> {
        reader::read(bytes, policy)
    }

    /// All values, in the order that they are made in.
    pub fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// The value that the pickle is of.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value.
    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The text of a value.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a value.
    pub fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.value(id) {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items of a list or a tuple.
    pub fn list(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// What `dict` has under `key`: of several, the last one, as in Python.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let Value::Dict(entries) = self.value(dict) else { return None };
        self.last(entries, key)
    }

    /// The last of the `entries` under `key`.
    pub fn last(&self, entries: &[(Id, Id)], key: &str) -> Option<Id> {
        let found = entries.iter().rev().find(|(k, _)| self.text(*k) == Some(key));
        found.map(|(_, value)| *value)
    }

    /// A call and the name of what it calls.
    pub fn call(&self, id: Id) -> Option<(Global<'a>, &Call)> {
        let Value::Call(call) = self.value(id) else { return None };
        match self.value(call.function) {
            Value::Global(global) => Some((*global, call)),
            _ => None,
        }
    }
}
