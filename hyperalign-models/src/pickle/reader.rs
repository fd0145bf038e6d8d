//! The instructions.

use std::collections::HashMap;

use super::{Call, Global, Id, Pickle, PickleError, Policy, Value};

/// The values of a pickle and which one it is of, and what follows it.
pub(super) fn read(bytes: &[u8], policy: Policy) -> Result<(Pickle<'_>, &[u8]), PickleError> {
    let mut reader = Reader {
        bytes,
        policy,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..policy.instructions {
        let [instruction] = reader.array()?;
        if instruction == b'.' {
            let root = reader.pop()?;
            return Ok((Pickle { values: reader.values, root }, reader.bytes));
        }
        reader.step(instruction)?;
    }
    Err(PickleError::TooLong(policy.instructions))
}

struct Reader<'a> {
    /// What is not read yet.
    bytes: &'a [u8],
    policy: Policy,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack, below which nothing is taken. They rise.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

const EMPTY: PickleError = PickleError::Damaged("it takes from an empty stack");

impl<'a> Reader<'a> {
    fn step(&mut self, instruction: u8) -> Result<(), PickleError> {
        match instruction {
            // The protocol, and frames, which only say how much may be read at once.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()));
            }
            b'K' => {
                let [value] = self.array()?;
                self.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()));
            }
            0x8A => self.long()?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value));
            }
            0x8C => self.text(1)?,
            b'X' => self.text(4)?,
            0x8D => self.text(8)?,
            b'C' | b'U' => self.binary(1)?,
            b'B' | b'T' => self.binary(4)?,
            0x8E | 0x96 => self.binary(8)?,
            b']' | b')' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' | b'l' => {
                let items = self.since_mark()?;
                self.push(Value::List(items));
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(pairs(&items)?));
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(instruction - 0x84))?;
                self.push(Value::List(items));
            }
            b'a' => {
                let items = self.last(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.set(&items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'q' | b'r' => {
                let key = self.length(if instruction == b'q' { 1 } else { 4 })?;
                self.remember(key as u32)?;
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
                    (Value::Text(module), Value::Text(name)) => self.global(module, name)?,
                    _ => return Err(PickleError::Damaged("a name in it is no text")),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            // A function, and a class without its constructor.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let (items, entries) = (Vec::new(), Vec::new());
                let call = Call { function, arguments, state: None, items, entries };
                self.push(Value::Call(Box::new(call)));
            }
            b'b' => {
                let state = self.pop()?;
                match self.top()? {
                    Value::Call(call) => call.state = Some(state),
                    _ => return Err(PickleError::Damaged("a state for what is no object")),
                }
            }
            other => return Err(PickleError::Refused(other)),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let (bytes, rest) = self.bytes.split_at_checked(count).ok_or(PickleError::CutOff)?;
        self.bytes = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let (bytes, rest) = self.bytes.split_first_chunk().ok_or(PickleError::CutOff)?;
        self.bytes = rest;
        Ok(*bytes)
    }

    /// A number without a sign, its lowest byte first. One that is too large for an address is the
    /// length of something that cannot be there.
    fn length(&mut self, bytes: usize) -> Result<usize, PickleError> {
        let bytes = self.take(bytes)?;
        let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| PickleError::CutOff)
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let length = self.bytes.iter().position(|byte| *byte == b'\n');
        let line = self.take(length.ok_or(PickleError::CutOff)?)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| PickleError::Damaged("a name in it is no text"))
    }

    /// Two's complement of any length, of which 64 bits are read.
    fn long(&mut self) -> Result<(), PickleError> {
        let length = self.length(1)?;
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        self.push(match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Other,
        });
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<(), PickleError> {
        let length = self.length(bytes)?;
        // Python also writes halves of surrogate pairs.
        let text = std::str::from_utf8(self.take(length)?).map_or(Value::Other, Value::Text);
        self.push(text);
        Ok(())
    }

    fn binary(&mut self, bytes: usize) -> Result<(), PickleError> {
        let length = self.length(bytes)?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), PickleError> {
        let global = Global { module, name };
        self.policy.names.allow(global)?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// How much of the stack lies above the last mark.
    fn height(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        if self.height() == 0 { Err(EMPTY) } else { self.stack.pop().ok_or(EMPTY) }
    }

    fn last(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        if self.height() < count {
            return Err(EMPTY);
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::Damaged("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Value<'a>, PickleError> {
        let id = *self.stack.last().ok_or(EMPTY)?;
        Ok(&mut self.values[id])
    }

    fn append(&mut self, new: Vec<Id>) -> Result<(), PickleError> {
        match self.top()? {
            Value::List(items) => items.extend(new),
            Value::Call(call) => call.items.extend(new),
            _ => return Err(PickleError::Damaged("items for what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, new: &[Id]) -> Result<(), PickleError> {
        let new = pairs(new)?;
        match self.top()? {
            Value::Dict(entries) => entries.extend(new),
            Value::Call(call) => call.entries.extend(new),
            _ => return Err(PickleError::Damaged("entries for what is no dict")),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), PickleError> {
        let id = *self.stack.last().ok_or(EMPTY)?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<(), PickleError> {
        let key = self.length(bytes)? as u32;
        let id = self.memo.get(&key).ok_or(PickleError::Damaged("it recalls what never was"))?;
        self.stack.push(*id);
        Ok(())
    }
}

/// Keys and values that stand in turn.
fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(PickleError::Damaged("a key has no value")),
    }
}
