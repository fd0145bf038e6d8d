//! Cleaning of a prompt before it is tokenised, as OpenAI's CLIP and open_clip do it.
//!
//! Their code runs the library ftfy and then undoes HTML entities. Here are the parts of that
//! which prompts meet: entities, curly quotes, ligatures, full-width letters, control characters,
//! and UTF-8 that was once read as Windows-1252. Of ftfy's guesses about rarer damage (text that
//! went through several wrong encodings) nothing is here.

/// Entities that occur in prompts; any other may be written by its number.
const ENTITIES: [(&str, char); 16] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{a0}'),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("hellip", '…'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
];

/// What bytes 0x80 to 0x9f mean in Windows-1252; the five unassigned ones mean themselves.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Cleans `text`. White space and case are left to the tokenizer.
pub(super) fn clean(text: &str) -> String {
    // ftfy takes a text with a `<` for HTML that is meant as such.
    let text = if text.contains('<') { text.to_owned() } else { unescape(text) };
    let text: String = misread(&text).unwrap_or(text);
    let text: String = text.chars().flat_map(plain).collect();
    unescape(&unescape(&text))
}

/// The text that `text` was before its UTF-8 was read as Windows-1252, if it was.
fn misread(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(byte).collect();
    // Bytes that happen to be UTF-8 of several bytes each are hardly ever meant as they stand.
    String::from_utf8(bytes?).ok()
}

/// The byte of a character in Windows-1252.
fn byte(c: char) -> Option<u8> {
    match u8::try_from(c) {
        Ok(byte) if !(0x80..0xa0).contains(&byte) => Some(byte),
        _ => WINDOWS_1252.iter().position(|known| *known == c).map(|at| 0x80 + at as u8),
    }
}

/// What a character is written as on a plain keyboard.
fn plain(c: char) -> impl Iterator<Item = char> {
    let text = match c {
        '‘' | '’' | '‚' | '‛' | 'ʼ' => Some("'"),
        '“' | '”' | '„' | '‟' => Some("\""),
        'ﬀ' => Some("ff"),
        'ﬁ' => Some("fi"),
        'ﬂ' => Some("fl"),
        'ﬃ' => Some("ffi"),
        'ﬄ' => Some("ffl"),
        'ﬅ' | 'ﬆ' => Some("st"),
        'Ĳ' => Some("IJ"),
        'ĳ' => Some("ij"),
        '\u{3000}' => Some(" "),
        '\u{feff}' => Some(""),
        _ if c.is_control() && !c.is_whitespace() => Some(""),
        _ => None,
    };
    let single = match (text, c) {
        (Some(_), _) => None,
        // Full-width forms lie at a fixed distance from ASCII.
        (None, '\u{ff01}'..='\u{ff5e}') => char::from_u32(c as u32 - 0xfee0),
        (None, _) => Some(c),
    };
    text.unwrap_or_default().chars().chain(single)
}

/// Replaces HTML entities by what they stand for.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        result.push_str(before);
        match entity(&from[1..]) {
            Some((c, length)) => {
                result.push(c);
                rest = &from[1 + length..];
            }
            None => {
                result.push('&');
                rest = &from[1..];
            }
        }
    }
    result + rest
}

/// The character of the entity that `text` begins with after its `&`, and the entity's length.
fn entity(text: &str) -> Option<(char, usize)> {
    // The longest entity of ours has seven letters; numbers have at most eight digits.
    let (name, _) = text.split_once(';').filter(|(name, _)| name.len() <= 10)?;
    let c = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
            None => number.parse().ok(),
        }
        .and_then(char::from_u32)?,
        None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((c, name.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_undone() {
        for (given, expected) in [
            ("a dog", "a dog"),
            ("don\u{2019}t \u{201c}curly\u{201d}", "don't \"curly\""),
            ("cats &amp; dogs &#38; &#x26; &lt;3", "cats & dogs & & <3"),
            ("AT&T &unknown; &", "AT&T &unknown; &"),
            ("&amp;amp;quot;", "\""),
            ("\u{fb01}ne \u{ff21}\u{ff42}", "fine Ab"),
            ("sch\u{c3}\u{b6}n", "schön"),
            ("schön café", "schön café"),
            ("it\u{e2}\u{20ac}\u{2122}s", "it's"),
            ("a\u{7}b\u{feff}", "ab"),
        ] {
            assert_eq!(clean(given), expected, "{given:?}");
        }
    }

    #[test]
    fn html_that_is_meant_is_unescaped_all_the_same() {
        assert_eq!(clean("C++ & <html> &amp; tags"), "C++ & <html> & tags");
    }
}
