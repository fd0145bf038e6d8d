//! Text as tools write it: with a mark before it, with the line ends of three systems, and now and
//! then in another encoding than UTF-8.

use std::borrow::Cow;

/// Why bytes are no text. The messages name no file; whoever read it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Two bytes a letter.
    #[error("it is text in {encoding}; save it as UTF-8")]
    Wide {
        /// Name of the encoding.
        encoding: &'static str,
    },
    /// An 8-bit code page, or no text.
    #[error("line {line} is not UTF-8 (byte {byte:#04x}); save it as UTF-8")]
    NotUtf8 {
        /// Counted from 1.
        line: usize,
        /// The first byte that is none of UTF-8.
        byte: u8,
    },
}

/// The mark that some editors write before UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// The text in `bytes`: UTF-8 with or without a mark before it. Every end of a line (`\r\n`, a
/// lone `\r`) comes out as `\n`.
///
/// # Errors
///
/// Fails for other encodings, and names UTF-16 and UTF-32 as what they are.
pub fn decode_text(bytes: &[u8]) -> Result<Cow<'_, str>, TextError> {
    if let Some(encoding) = wide(bytes) {
        return Err(TextError::Wide { encoding });
    }
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        TextError::NotUtf8 { line, byte: bytes[error.valid_up_to()] }
    })?;
    Ok(match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    })
}

/// The encoding of more than a byte a letter that `bytes` begin in: by their mark, or without one
/// by the zeros beside the first two letters, which are ASCII in everything that is read here.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Some("UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("UTF-16"),
        [a, 0, b, 0, ..] | [0, a, 0, b, ..] if a != 0 && b != 0 => Some("UTF-16 without its mark"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_line_ends() {
        assert_eq!(decode_text("a\nb".as_bytes()), Ok(Cow::Borrowed("a\nb")));
        assert_eq!(decode_text("\u{FEFF}a\r\nb\rc\n\r\n".as_bytes()).unwrap(), "a\nb\nc\n\n");
        assert_eq!(decode_text(b"\xEF\xBB\xBF"), Ok(Cow::Borrowed("")));
        assert_eq!(decode_text(b"").unwrap(), "");
    }

    #[test]
    fn other_encodings_are_named() {
        let wide = |bytes: &[u8]| decode_text(bytes).unwrap_err().to_string();
        for order in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            let bytes: Vec<u8> = "a dog".encode_utf16().flat_map(order).collect();
            let mark = order(0xFEFF);
            assert!(wide(&bytes).contains("UTF-16 without its mark"));
            assert!(wide(&[&mark[..], &bytes].concat()).contains("text in UTF-16; save"));
        }
        assert!(wide(b"\xff\xfe\0\0a\0\0\0").contains("UTF-32"));
        let latin1 = decode_text(b"a dog\na d\xf6g\n").unwrap_err();
        assert_eq!(latin1, TextError::NotUtf8 { line: 2, byte: 0xF6 });
        assert!(latin1.to_string().contains("0xf6"));
    }
}
