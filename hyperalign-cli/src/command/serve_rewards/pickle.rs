//! Python's pickles, as data.
//!
//! A pickle is a program, and Python's reader runs what it is told to. This one knows the
//! instructions that build plain values (protocols 2 to 5), keeps calls as the data that they are
//! written as, and refuses every other: nothing is ever run. Values refer to each other by number,
//! so neither a value inside of itself nor one that is shared a million times costs anything.

use std::{collections::HashMap, ops::Range};

/// The number of a value.
pub type Id = usize;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` and `False`.
    Bool(bool),
    /// A whole number of up to 64 bits.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes, as a range of the pickle.
    Bytes(Range<usize>),
    /// A list or a tuple.
    List(Vec<Id>),
    /// Keys and values, in order.
    Dict(Vec<(Id, Id)>),
    /// A name that stands for something in Python: module and name.
    Global(String, String),
    /// A call that Python would make, and the state that it would set.
    Call {
        /// What is called.
        function: Id,
        /// A tuple.
        arguments: Id,
        /// What is set afterwards.
        state: Option<Id>,
    },
}

/// Why bytes are no pickle that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The bytes end in the middle.
    #[error("the pickle is cut off")]
    CutOff,
    /// An instruction that plain values do not need.
    #[error("the pickle has the instruction {0:#04x}, which builds no plain value; refused")]
    Refused(u8),
    /// A name that is not one of numpy's arrays.
    #[error("the pickle names `{0}`; only texts in numpy arrays are read, nothing is run")]
    Name(String),
    /// Instructions in an order that means nothing.
    #[error("the pickle is damaged: {0}")]
    Damaged(&'static str),
}

/// The names that arrays are made of.
const NAMES: [(&str, &str); 4] = [
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
];

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle.
    ///
    /// # Errors
    ///
    /// Fails if it is cut off or damaged, or would run something.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let mut reader = Reader {
            bytes,
            at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while reader.step()? {}
        let root = reader.pop()?;
        Ok(Self { bytes, values: reader.values, root })
    }

    /// The value that the pickle is of.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value.
    pub fn value(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// What `dict` has under `key`.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let Value::Dict(items) = self.value(dict) else { return None };
        // As in Python, the last one counts.
        let found = items.iter().rev().find(|(k, _)| self.text(*k) == Some(key));
        found.map(|(_, value)| *value)
    }

    /// The text of a value.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a value.
    pub fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.value(id) {
            Value::Bytes(range) => self.bytes.get(range.clone()),
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

    /// The texts of a list, or of a numpy array of texts.
    pub fn texts(&self, id: Id) -> Option<Vec<String>> {
        match self.value(id) {
            Value::List(items) => {
                items.iter().map(|item| self.text(*item).map(str::to_owned)).collect()
            }
            Value::Call { state: Some(state), .. } => self.array(*state),
            _ => None,
        }
    }

    /// The texts of an array's state: version, shape, type, order, content.
    fn array(&self, state: Id) -> Option<Vec<String>> {
        let [_, _, dtype, _, content] = *self.list(state)? else { return None };
        let Value::Call { arguments, .. } = self.value(dtype) else { return None };
        let kind = self.text(*self.list(*arguments)?.first()?)?;
        if kind.starts_with('O') {
            return self.texts(content).filter(|_| self.list(content).is_some());
        }
        // Letters of four bytes each, filled up with zeros.
        let letters: usize = kind.strip_prefix('U')?.parse().ok()?;
        let text = |bytes: &[u8]| -> Option<String> {
            let letters =
                bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            letters.take_while(|letter| *letter != 0).map(char::from_u32).collect()
        };
        let bytes = self.bytes(content)?;
        if letters == 0 || bytes.len() % (4 * letters) != 0 {
            return None;
        }
        bytes.chunks_exact(4 * letters).map(text).collect()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Reader<'_> {
    /// Reads one instruction. False at the end.
    fn step(&mut self) -> Result<bool, PickleError> {
        let instruction = self.take(1)?[0];
        match instruction {
            b'.' => return Ok(false),
            // The version, and frames, which only say how much may be read at once.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Value::Int(value.into()));
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            0x8A => self.long()?,
            b'G' => {
                let bytes = self.take(8)?.try_into().map_err(|_| PickleError::CutOff)?;
                self.push(Value::Float(f64::from_be_bytes(bytes)));
            }
            0x8C => self.unicode(1)?,
            b'X' => self.unicode(4)?,
            0x8D => self.unicode(8)?,
            b'C' => self.binary(1)?,
            b'B' => self.binary(4)?,
            0x8E | 0x96 => self.binary(8)?,
            b']' | b')' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::List(items));
            }
            0x85..=0x87 => {
                let count = usize::from(instruction - 0x84);
                let start = self.stack.len().checked_sub(count).ok_or(EMPTY)?;
                let items = self.stack.split_off(start);
                self.push(Value::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(items)?;
            }
            0x94 => {
                let next = self.memo.len() as u32;
                self.remember(next)?;
            }
            b'q' | b'r' => {
                let key = self.number(if instruction == b'q' { 1 } else { 4 })? as u32;
                self.remember(key)?;
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module], &self.values[name]) {
                    (Value::Text(module), Value::Text(name)) => {
                        let (module, name) = (module.clone(), name.clone());
                        self.global(module, name)?;
                    }
                    _ => return Err(PickleError::Damaged("a name is no text")),
                }
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.push(Value::Call { function, arguments, state: None });
            }
            b'b' => {
                let (value, object) = (self.pop()?, self.stack.last().copied().ok_or(EMPTY)?);
                let Value::Call { state, .. } = &mut self.values[object] else {
                    return Err(PickleError::Refused(instruction));
                };
                *state = Some(value);
            }
            other => return Err(PickleError::Refused(other)),
        }
        Ok(true)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], PickleError> {
        let end = self.at.checked_add(count).ok_or(PickleError::CutOff)?;
        let bytes = self.bytes.get(self.at..end).ok_or(PickleError::CutOff)?;
        self.at = end;
        Ok(bytes)
    }

    /// A number without a sign, its lowest byte first.
    fn number(&mut self, bytes: usize) -> Result<u64, PickleError> {
        let bytes = self.take(bytes)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, PickleError> {
        usize::try_from(self.number(bytes)?).map_err(|_| PickleError::CutOff)
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(PickleError::CutOff)?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }

    fn int(&mut self, bytes: usize) -> Result<(), PickleError> {
        let value = self.number(bytes)? as i64;
        self.push(Value::Int(value));
        Ok(())
    }

    /// Two's complement of any length, of which 64 bits are read.
    fn long(&mut self) -> Result<(), PickleError> {
        let length = self.length(1)?;
        if length > 8 {
            return Err(PickleError::Damaged("a number has more than 64 bits"));
        }
        let value = self.number(length)?;
        let unused = 64 - 8 * length as u32;
        let signed = if length == 0 { 0 } else { ((value << unused) as i64) >> unused };
        self.push(Value::Int(signed));
        Ok(())
    }

    fn unicode(&mut self, bytes: usize) -> Result<(), PickleError> {
        let length = self.length(bytes)?;
        let text = std::str::from_utf8(self.take(length)?)
            .map_err(|_| PickleError::Damaged("a text is not UTF-8"))?
            .to_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn binary(&mut self, bytes: usize) -> Result<(), PickleError> {
        let length = self.length(bytes)?;
        let start = self.at;
        self.take(length)?;
        self.push(Value::Bytes(start..self.at));
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor { Err(EMPTY) } else { self.stack.pop().ok_or(EMPTY) }
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::Damaged("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let top = self.stack.last().copied().ok_or(EMPTY)?;
        let Value::List(list) = &mut self.values[top] else {
            return Err(PickleError::Damaged("items for what is no list"));
        };
        list.extend(items);
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let top = self.stack.last().copied().ok_or(EMPTY)?;
        let Value::Dict(dict) = &mut self.values[top] else {
            return Err(PickleError::Damaged("entries for what is no dict"));
        };
        dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), PickleError> {
        let top = self.stack.last().copied().ok_or(EMPTY)?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<(), PickleError> {
        let key = self.number(bytes)? as u32;
        let id = self.memo.get(&key).ok_or(PickleError::Damaged("it recalls what never was"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn global(&mut self, module: String, name: String) -> Result<(), PickleError> {
        if !NAMES.contains(&(module.as_str(), name.as_str())) {
            return Err(PickleError::Name(format!("{module}.{name}")));
        }
        self.push(Value::Global(module, name));
        Ok(())
    }
}

const EMPTY: PickleError = PickleError::Damaged("it takes from an empty stack");
