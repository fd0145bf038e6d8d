//! Checkpoints as training programs write them with `torch.save`.

use super::File;

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn number(number: usize) -> Vec<u8> {
    [&b"J"[..], &(number as i32).to_le_bytes()].concat()
}

fn tuple(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let items = items.into_iter().flatten();
    b"(".iter().copied().chain(items).chain(*b"t").collect()
}

fn dict(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let entries = entries.into_iter().flat_map(|(key, value)| [text(&key), value].concat());
    b"}(".iter().copied().chain(entries).chain(*b"u").collect()
}

fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

/// A tensor that is the whole of the storage called `name`.
fn tensor(name: &str, shape: &[usize]) -> Vec<u8> {
    let kind = b"ctorch\nFloatStorage\n".to_vec();
    let count = number(shape.iter().product());
    let storage = tuple([text("storage"), kind, text(name), text("cpu"), count, b"N".to_vec()]);
    let stride = |axis: usize| number(shape[axis + 1..].iter().product());
    let strides = tuple((0..shape.len()).map(stride));
    let places = tuple(shape.iter().copied().map(number));
    let arguments =
        tuple([[storage, b"Q".to_vec()].concat(), number(0), places, strides, b"\x89N".to_vec()]);
    [b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), arguments, b"R".to_vec()].concat()
}

/// The bytes of a checkpoint whose `state_dict` are the tensors of `file`, beside other things, in
/// the format without an archive.
pub fn checkpoint(file: &File) -> Vec<u8> {
    let name = |k: usize| format!("{}", 94_000_000_000_000 + 64 * k);
    let tensors = file.iter().enumerate();
    let weights =
        dict(tensors.map(|(k, (key, (shape, _)))| (key.clone(), tensor(&name(k), shape))));
    let meta = dict([("epoch".to_owned(), number(50))]);
    let state = dict([("meta".to_owned(), meta), ("state_dict".to_owned(), weights)]);
    let names: Vec<u8> = (0..file.len()).flat_map(|k| text(&name(k))).collect();
    let names = [b"](".to_vec(), names, b"e".to_vec()].concat();
    let machine = dict([("little_endian".to_owned(), b"\x88".to_vec())]);
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    for part in [number(1001), machine, state, names] {
        bytes.extend(pickle(&part));
    }
    for (_, values) in file.values() {
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}
