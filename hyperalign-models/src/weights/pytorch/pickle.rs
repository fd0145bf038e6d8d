//! The few instructions of pickle that `torch.save` writes (Python's `pickletools` lists all).

use safetensors::Dtype;

use super::graph::{Graph, Tensor, Value};

/// Builds the values of a pickle.
pub(super) fn read(bytes: &[u8]) -> Result<Graph, String> {
    let (values, stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Machine { bytes, at: 0, values, stack, marks, memo }.run()
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<usize>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: Vec<Option<usize>>,
}

/// More remembered values than any checkpoint has.
const MOST_REMEMBERED: usize = 1 << 24;

impl Machine<'_> {
    fn run(mut self) -> Result<Graph, String> {
        loop {
            match self.take::<1>()?[0] {
                b'.' => {
                    let root = self.pop()?;
                    return Ok(Graph { values: self.values, root });
                }
                code => self.step(code)?,
            }
        }
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            // PROTO, FRAME: nothing to do.
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'G' => {
                self.take::<8>()?;
                self.push(Value::Other);
            }
            b'K' => {
                let [value] = self.take()?;
                self.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()));
            }
            0x8a => {
                let [length] = self.take()?;
                let bytes = self.slice(length.into())?;
                let value = long(bytes);
                self.push(value);
            }
            b'X' => self.text::<4>()?,
            0x8c => self.text::<1>()?,
            // Bytes.
            b'B' | b'T' => {
                let length = u32::from_le_bytes(self.take()?) as usize;
                self.skip(length)?;
            }
            b'C' | b'U' => {
                let [length] = self.take()?;
                self.skip(length.into())?;
            }
            b'c' => {
                let name = format!("{} {}", self.line()?, self.line()?);
                self.push(Value::Global(name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let name = match (&self.values[module], &self.values[name]) {
                    (Value::Text(module), Value::Text(name)) => format!("{module} {name}"),
                    _ => return Err("a name in it is no text".to_owned()),
                };
                self.push(Value::Global(name));
            }
            b')' | b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' | b'l' => {
                let items = self.since_mark()?;
                self.push(Value::List(items));
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Value::List(items));
            }
            b'a' => {
                let items = self.last(1)?;
                self.extend(items)?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.insert(&items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.insert(&items)?;
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(Vec::new()));
                self.insert(&items)?;
            }
            b'q' => {
                let [at] = self.take()?;
                self.remember(at.into())?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.take()?) as usize;
                self.remember(at)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let [at] = self.take()?;
                self.recall(at.into())?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.take()?) as usize;
                self.recall(at)?;
            }
            // BUILD: the state of an object is of no interest.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id);
                self.push(storage);
            }
            // REDUCE and NEWOBJ: a call, of which only those that make tensors are followed.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.call(function, arguments);
                self.push(value);
            }
            other => {
                return Err(format!(
                    "its pickle has the instruction {other:#04x}, which no weights need"
                ));
            }
        }
        Ok(())
    }

    fn call(&self, function: usize, arguments: usize) -> Value {
        let (Value::Global(name), Value::List(arguments)) =
            (&self.values[function], &self.values[arguments])
        else {
            return Value::Other;
        };
        match name.as_str() {
            "collections OrderedDict" => Value::Dict(Vec::new()),
            "torch._utils _rebuild_tensor_v2" => {
                self.tensor(arguments).map_or(Value::Other, Value::Tensor)
            }
            "torch._utils _rebuild_parameter" => {
                arguments.first().map_or(Value::Other, |id| self.values[*id].clone())
            }
            _ => Value::Other,
        }
    }

    /// Of storage, offset, shape and strides.
    fn tensor(&self, arguments: &[usize]) -> Option<Tensor> {
        let [storage, offset, shape, strides, ..] = arguments else { return None };
        let Value::Storage { dtype, file } = &self.values[*storage] else { return None };
        Some(Tensor {
            storage: file.clone(),
            dtype: (*dtype)?,
            offset: self.extent(*offset)?,
            shape: self.extents(*shape)?,
            strides: self.extents(*strides)?,
        })
    }

    fn extent(&self, id: usize) -> Option<usize> {
        match self.values[id] {
            Value::Int(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }

    fn extents(&self, id: usize) -> Option<Vec<usize>> {
        match &self.values[id] {
            Value::List(items) => items.iter().map(|id| self.extent(*id)).collect(),
            _ => None,
        }
    }

    /// Of `("storage", type, file, device, elements)`.
    fn storage(&self, id: usize) -> Value {
        let Value::List(items) = &self.values[id] else { return Value::Other };
        let [_, kind, file, ..] = items[..] else { return Value::Other };
        match (&self.values[kind], &self.values[file]) {
            (Value::Global(kind), Value::Text(file)) => {
                Value::Storage { dtype: dtype(kind), file: file.clone() }
            }
            _ => Value::Other,
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<usize, String> {
        self.stack.pop().ok_or_else(damaged)
    }

    fn last(&mut self, count: usize) -> Result<Vec<usize>, String> {
        let at = self.stack.len().checked_sub(count).ok_or_else(damaged)?;
        Ok(self.stack.split_off(at))
    }

    fn since_mark(&mut self) -> Result<Vec<usize>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or_else(damaged)?))
    }

    fn top(&mut self) -> Result<&mut Value, String> {
        let id = *self.stack.last().ok_or_else(damaged)?;
        Ok(&mut self.values[id])
    }

    fn extend(&mut self, items: Vec<usize>) -> Result<(), String> {
        if let Value::List(list) = self.top()? {
            list.extend(items);
        }
        Ok(())
    }

    fn insert(&mut self, items: &[usize]) -> Result<(), String> {
        if let Value::Dict(entries) = self.top()? {
            entries.extend(items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
        }
        Ok(())
    }

    fn remember(&mut self, at: usize) -> Result<(), String> {
        let id = *self.stack.last().ok_or_else(damaged)?;
        if at >= MOST_REMEMBERED {
            return Err(damaged());
        }
        if at >= self.memo.len() {
            self.memo.resize(at + 1, None);
        }
        self.memo[at] = Some(id);
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<(), String> {
        let id = self.memo.get(at).copied().flatten().ok_or_else(damaged)?;
        self.stack.push(id);
        Ok(())
    }

    fn slice(&mut self, length: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("its pickle is cut off")?;
        let slice = &self.bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.slice(N)?.try_into().expect("a slice of N bytes"))
    }

    fn skip(&mut self, length: usize) -> Result<(), String> {
        self.slice(length)?;
        self.push(Value::Other);
        Ok(())
    }

    /// A text behind its length of `N` bytes.
    fn text<const N: usize>(&mut self) -> Result<(), String> {
        let length = self.take::<N>()?.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
        let text = String::from_utf8_lossy(self.slice(length)?).into_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("its pickle is cut off")?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }
}

fn damaged() -> String {
    "its pickle is damaged".to_owned()
}

/// An integer of any length; those beyond 64 bits are no extents.
fn long(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        }
        None => Value::Other,
    }
}

fn dtype(kind: &str) -> Option<Dtype> {
    Some(match kind {
        "torch DoubleStorage" => Dtype::F64,
        "torch FloatStorage" => Dtype::F32,
        "torch HalfStorage" => Dtype::F16,
        "torch BFloat16Storage" => Dtype::BF16,
        "torch LongStorage" => Dtype::I64,
        "torch IntStorage" => Dtype::I32,
        "torch ByteStorage" => Dtype::U8,
        "torch BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}
