//! Files that lie where weights should, and are something else.

use hyperalign_core::input;
use safetensors::SafeTensorError;

/// How the files of other programs begin, and what to do with them.
const MAGICS: [(&[u8], &str); 7] = [
    (
        b"GGUF",
        "a GGUF file, whose weights are quantised for other programs; get the model as .safetensors",
    ),
    (b"\x1F\x8B", "compressed with gzip; unpack it first"),
    (b"\x28\xB5\x2F\xFD", "compressed with zstd; unpack it first"),
    (b"7z\xBC\xAF", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF\r\n", "an HDF5 file, as TensorFlow writes; get the model as .safetensors"),
    (b"\x89PNG", "a picture"),
];

/// What `bytes` are that should be a safetensors file, if that is plain from how they begin.
pub(super) fn what_else(bytes: &[u8]) -> Option<&'static str> {
    if let Some(what) = input::not_the_file(bytes) {
        return Some(what);
    }
    if let Some((_, what)) = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(what);
    }
    // The header of a safetensors file begins behind eight bytes; JSON that begins before is an
    // index or a configuration. A length that begins with a brace would be absurd.
    let is_json =
        bytes.trim_ascii_start().starts_with(b"{") && bytes.get(7).is_some_and(|b| *b != 0);
    is_json.then_some(
        "a JSON text, such as the index of shards; give the folder that it lies in instead",
    )
}

/// What is wrong with the safetensors file `bytes`, in words that say where to look.
pub(super) fn reason(bytes: &[u8], error: &SafeTensorError) -> String {
    match (error, lengths(bytes)) {
        (SafeTensorError::MetadataIncompleteBuffer, Some((promised, found)))
            if found > promised =>
        {
            format!(
                "its header describes {promised} bytes and it has {found}: something was written \
                 behind the weights"
            )
        }
        (SafeTensorError::MetadataIncompleteBuffer, Some((promised, found))) => format!(
            "its header describes {promised} bytes and it has {found}: it was cut off while it was \
             copied"
        ),
        (SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength, _) => format!(
            "{error}: it was cut off while it was copied, or is no safetensors file whatever its \
             name says"
        ),
        _ => error.to_string(),
    }
}

/// How long the file must be by its header, and how long it is.
fn lengths(bytes: &[u8]) -> Option<(u64, u64)> {
    let header = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let end = 8_usize.checked_add(usize::try_from(header).ok()?)?;
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(bytes.get(8..end)?).ok()?;
    let ends = entries.values().filter_map(|entry| entry.get("data_offsets")?.get(1)?.as_u64());
    Some((ends.max().unwrap_or(0).checked_add(end as u64)?, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_weights_is_told_as_what_it_is() {
        let told = |bytes: &[u8]| what_else(bytes).unwrap_or_default();
        assert!(told(b"version https://git-lfs.github.com/spec/v1\noid sha256:00").contains("LFS"));
        assert!(told(b"<!DOCTYPE html><html>").contains("HTML"));
        assert!(told(b"GGUF\x03\0\0\0").contains("GGUF"));
        assert!(told(b"{\"weight_map\": {}}").contains("index of shards"));
        assert!(told(b"").contains("empty"));
        // A header of 123 bytes begins with the byte of a brace.
        assert!(told(b"{\0\0\0\0\0\0\0{\"a\"").is_empty());
    }
}
