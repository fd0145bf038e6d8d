//! Pickles of plain values, of bytes as protocol 2 has them, and of numpy's arrays of texts.

use std::borrow::Cow;

use hyperalign_models::pickle::{Id, Names, Pickle, PickleError, Policy, Value};

/// What arrays are made of; more instructions than the largest queue of pictures needs.
const POLICY: Policy = Policy {
    names: Names::Only {
        known: &[
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            // Protocol 5.
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
            // Bytes before protocol 3: a text whose letters stand for them.
            ("_codecs", "encode"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        ],
        reason: "only bytes, and texts in numpy arrays, are read",
    },
    instructions: 1 << 22,
};

/// Reads a pickle.
///
/// # Errors
///
/// Fails if it is cut off or damaged, or names anything else than numpy's arrays.
pub fn read(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    Pickle::read(bytes, POLICY)
}

/// The texts of a list, or of a numpy array of texts.
pub fn texts<'a>(pickle: &Pickle<'a>, id: Id) -> Option<Vec<Cow<'a, str>>> {
    match pickle.value(id) {
        Value::List(items) => list(pickle, items),
        Value::Call(call) => match pickle.call(id)?.0.name {
            "_frombuffer" => {
                let [content, dtype, ..] = *pickle.list(call.arguments)? else { return None };
                array(pickle, dtype, content)
            }
            _ => {
                let [_, _, dtype, _, content] = *pickle.list(call.state?)? else { return None };
                array(pickle, dtype, content)
            }
        },
        _ => None,
    }
}

/// Bytes as they are, or the text that Python would encode as Latin-1 to have them.
pub fn bytes<'a>(pickle: &Pickle<'a>, id: Id) -> Option<Cow<'a, [u8]>> {
    if let Some(bytes) = pickle.bytes(id) {
        return Some(Cow::Borrowed(bytes));
    }
    let letters = pickle.text(encoded(pickle, id)?)?.chars();
    let bytes: Result<Vec<u8>, _> = letters.map(|letter| u8::try_from(u32::from(letter))).collect();
    bytes.ok().map(Cow::Owned)
}

/// The text of bytes that are written as one.
pub fn encoded(pickle: &Pickle, id: Id) -> Option<Id> {
    let (function, call) = pickle.call(id)?;
    let [text, encoding] = *pickle.list(call.arguments)? else { return None };
    (function.name == "encode" && pickle.text(encoding)? == "latin1").then_some(text)
}

fn list<'a>(pickle: &Pickle<'a>, items: &[Id]) -> Option<Vec<Cow<'a, str>>> {
    items.iter().map(|item| pickle.text(*item).map(Cow::Borrowed)).collect()
}

/// The texts of an array.
fn array<'a>(pickle: &Pickle<'a>, dtype: Id, content: Id) -> Option<Vec<Cow<'a, str>>> {
    let (_, dtype) = pickle.call(dtype)?;
    let kind = pickle.text(*pickle.list(dtype.arguments)?.first()?)?;
    if kind.starts_with('O') {
        return list(pickle, pickle.list(content)?);
    }
    // Letters of four bytes each, filled up with zeros.
    let letters: usize = kind.strip_prefix('U')?.parse().ok()?;
    let size = letters.checked_mul(4).filter(|size| *size > 0)?;
    let text = |bytes: &[u8]| -> Option<Cow<'a, str>> {
        let letters = bytes.as_chunks().0.iter().map(|letter| u32::from_le_bytes(*letter));
        letters
            .take_while(|letter| *letter != 0)
            .map(char::from_u32)
            .collect::<Option<_>>()
            .map(Cow::Owned)
    };
    let bytes = bytes(pickle, content)?;
    let texts = bytes.chunks_exact(size);
    if texts.remainder().is_empty() { texts.map(text).collect() } else { None }
}
