//! Files without an archive: what `torch.save` wrote before PyTorch 1.6, and what the checkpoints
//! that mmdetection publishes are still written as.
//!
//! Four pickles (a mark, the version of the format, the machine, the values), a fifth of the names of
//! all storages, and then the storages in this order, each behind the number of its elements.

use std::{collections::HashMap, ops::Range};

use super::{BIG_ENDIAN, size_of, state::State};

/// The first pickle: the number 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The only version of the format that there has been.
const VERSION: i64 = 1001;

/// Whether the bytes are those of such a file.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The values of a file, and where each of its storages lies.
pub(super) fn read(bytes: &[u8]) -> Result<(State<'_>, HashMap<&str, Range<usize>>), String> {
    let read = |bytes| State::read(bytes).map_err(|error| error.to_string());
    let rest = bytes.get(MAGIC.len()..).ok_or("it is cut off")?;
    let (version, rest) = read(rest)?;
    if version.number() != Some(VERSION) {
        return Err(format!("it is of another version of the format than {VERSION}"));
    }
    let (machine, rest) = read(rest)?;
    if machine.flag("little_endian") == Some(false) {
        return Err(BIG_ENDIAN.to_owned());
    }
    let (state, rest) = read(rest)?;
    let (names, rest) = read(rest)?;
    let names = names.texts().ok_or("its storages have no names")?;
    let storages = storages(&state, &names, rest, bytes.len())?;
    Ok((state, storages))
}

/// Where the storages of these `names` lie, which are the last part, `rest`, of a file of `length`.
fn storages<'a>(
    state: &State<'a>,
    names: &[&'a str],
    mut rest: &'a [u8],
    length: usize,
) -> Result<HashMap<&'a str, Range<usize>>, String> {
    let sizes: HashMap<&str, usize> =
        state.storages().map(|(name, dtype)| (name, size_of(dtype))).collect();
    let mut storages = HashMap::new();
    for name in names {
        let size = sizes.get(name).ok_or("it has a storage of unknown numbers")?;
        let (count, values) = rest.split_first_chunk().ok_or("it is cut off")?;
        let bytes = usize::try_from(u64::from_le_bytes(*count)).ok();
        let bytes = bytes.and_then(|count| count.checked_mul(*size)).ok_or("it is cut off")?;
        let start = length - values.len();
        rest = values.get(bytes..).ok_or("it is cut off")?;
        storages.insert(*name, start..start + bytes);
    }
    Ok(storages)
}
