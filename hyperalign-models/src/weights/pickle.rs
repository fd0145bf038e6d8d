//! Files that are programs in disguise.
//!
//! A pickle can run any code when it is read, and needs Python to be understood.

use std::path::Path;

/// Extensions of the files that PyTorch writes.
const EXTENSIONS: [&str; 5] = ["ckpt", "pt", "pth", "bin", "pkl"];
/// How a zip archive begins, which is what PyTorch has written since 1.6, and a bare pickle of
/// protocol 2 and up.
const ZIP: &[u8] = b"PK\x03\x04";
const PICKLE: u8 = 0x80;
/// How a pickle's first byte goes on: the protocol.
const PROTOCOLS: std::ops::RangeInclusive<u8> = 2..=5;

/// Whether the file `path` that begins with `bytes` is a pickle.
pub(super) fn is_pickle(path: &Path, bytes: &[u8]) -> bool {
    let named = path.extension().and_then(|extension| extension.to_str()).is_some_and(|given| {
        EXTENSIONS.iter().any(|extension| given.eq_ignore_ascii_case(extension))
    });
    // The length of a header that begins so would be absurd, so no safetensors file is hit.
    let pickled = |bytes: &[u8]| {
        matches!(bytes, [PICKLE, protocol, ..] if PROTOCOLS.contains(protocol))
            && bytes.get(7).is_some_and(|high| *high != 0)
    };
    (named && !is_safetensors(bytes)) || bytes.starts_with(ZIP) || pickled(bytes)
}

/// Whether `bytes` begin as a safetensors file, under whatever name: the length of a header that
/// lies within the file, and a header.
fn is_safetensors(bytes: &[u8]) -> bool {
    let length =
        bytes.get(..8).and_then(|length| Some(u64::from_le_bytes(length.try_into().ok()?)));
    length.is_some_and(|length| length < bytes.len() as u64) && bytes.get(8) == Some(&b'{')
}
