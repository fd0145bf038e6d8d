//! Zip archives whose members are stored as they are (PKWARE's APPNOTE 6.3, sections 4.3 and 4.4).

use std::{collections::HashMap, ops::Range};

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const MEMBER: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// Length of the end record, which a comment of up to 64 KiB may follow.
const END_LENGTH: usize = 22;
/// The field of a member that holds sizes which do not fit into 32 bits.
const EXTRA_64: u16 = 1;

/// Where the members of an archive lie.
#[derive(Debug)]
pub(super) struct Archive {
    members: Vec<(String, Range<usize>)>,
}

/// Reads little-endian numbers.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        let end = at.checked_add(N).ok_or("an offset is out of range")?;
        let bytes = self.0.get(at..end).ok_or("it is cut off")?;
        Ok(bytes.try_into().expect("a slice of N bytes"))
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    fn u32(&self, at: usize) -> Result<usize, String> {
        Ok(u32::from_le_bytes(self.array(at)?) as usize)
    }

    fn u64(&self, at: usize) -> Result<usize, String> {
        let value = u64::from_le_bytes(self.array(at)?);
        usize::try_from(value).map_err(|_| "an offset is out of range".to_owned())
    }
}

impl Archive {
    /// Finds the members by the directory at the end.
    pub fn open(file: &[u8]) -> Result<Self, String> {
        let bytes = Bytes(file);
        let first = file.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
        let end = (first..=file.len().saturating_sub(END_LENGTH))
            .rev()
            .find(|at| file.get(*at..*at + 4) == Some(&END[..]))
            .ok_or("its directory is missing: it is cut off")?;
        let (count, mut at) = match end.checked_sub(20) {
            Some(locator) if bytes.array(locator)? == LOCATOR_64 => {
                let end = bytes.u64(locator + 8)?;
                if bytes.array(end)? != END_64 {
                    return Err("its directory is damaged".to_owned());
                }
                (bytes.u64(end.saturating_add(32))?, bytes.u64(end.saturating_add(48))?)
            }
            _ => (usize::from(bytes.u16(end + 10)?), bytes.u32(end + 16)?),
        };
        let mut members = Vec::new();
        for _ in 0..count {
            if bytes.array(at)? != MEMBER {
                return Err("its directory is damaged".to_owned());
            }
            let lengths = [28, 30, 32].map(|field| bytes.u16(at + field).map(usize::from));
            let [name, extra, comment] = lengths;
            let (name, extra, comment) = (name?, extra?, comment?);
            let start = at + 46;
            let text = file.get(start..start + name).ok_or("it is cut off")?;
            let text = String::from_utf8_lossy(text).into_owned();
            if bytes.u16(at + 10)? != 0 {
                return Err(format!("`{text}` is compressed, which torch.save never does"));
            }
            let [size, offset] = sizes(&bytes, at, start + name..start + name + extra)?;
            members.push((text, body(&bytes, offset, size)?));
            at = start + name + extra + comment;
        }
        Ok(Self { members })
    }

    /// The members below `folder`, by the rest of their names.
    pub fn within(&self, folder: &str) -> HashMap<&str, Range<usize>> {
        self.members
            .iter()
            .filter_map(|(name, range)| Some((name.strip_prefix(folder)?, range.clone())))
            .collect()
    }

    /// The first member whose name ends so.
    pub fn ends_with(&self, end: &str) -> Option<Range<usize>> {
        self.members
            .iter()
            .find(|(member, _)| member.ends_with(end))
            .map(|(_, range)| range.clone())
    }

    /// The pickle, and the name of its folder with a `/`.
    pub fn pickle(&self) -> Result<(Range<usize>, &str), String> {
        self.members
            .iter()
            .find_map(|(name, range)| {
                let folder = name.strip_suffix("data.pkl")?;
                (folder.is_empty() || folder.ends_with('/')).then(|| (range.clone(), folder))
            })
            .ok_or_else(|| "it holds no data.pkl: torch.save did not write it".to_owned())
    }
}

/// The stored size and the offset of a member, which may stand in an extra field.
fn sizes(bytes: &Bytes, member: usize, extra: Range<usize>) -> Result<[usize; 2], String> {
    let full = [bytes.u32(member + 24)?, bytes.u32(member + 20)?, bytes.u32(member + 42)?];
    let [_, mut size, mut offset] = full;
    let mut at = extra.start;
    while at + 4 <= extra.end {
        let (kind, length) = (bytes.u16(at)?, usize::from(bytes.u16(at + 2)?));
        if kind == EXTRA_64 {
            // Only the numbers that did not fit are there, in this order.
            let mut field = at + 4;
            for (k, value) in full.into_iter().enumerate() {
                if value == u32::MAX as usize {
                    let value = bytes.u64(field)?;
                    field += 8;
                    match k {
                        1 => size = value,
                        2 => offset = value,
                        _ => {}
                    }
                }
            }
        }
        at += 4 + length;
    }
    Ok([size, offset])
}

/// Where the bytes of the member at `offset` are: behind its name and its own extra fields.
fn body(bytes: &Bytes, offset: usize, size: usize) -> Result<Range<usize>, String> {
    if bytes.array(offset)? != LOCAL {
        return Err("its directory points to nothing".to_owned());
    }
    let names = usize::from(bytes.u16(offset + 26)?) + usize::from(bytes.u16(offset + 28)?);
    let start = offset + 30 + names;
    match start.checked_add(size) {
        Some(end) if end <= bytes.0.len() => Ok(start..end),
        _ => Err("it is cut off".to_owned()),
    }
}
