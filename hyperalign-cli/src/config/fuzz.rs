//! Settings on inputs that nobody wrote.

use hyperalign_core::{
    fuzz::{Fuzz, inputs},
    input::decode_text,
};
use hyperalign_train::align::AlignSettings;

use super::file::parse;

#[test]
fn toml() {
    let defaults = AlignSettings::default();
    let whole = ::toml::to_string(&defaults).expect("settings").into_bytes();
    let few = b"[training]\nseed = \"18446744073709551615\"\nupdates = 2 # few\n".to_vec();
    let words = &["[", "]", "=", "\"", "\"\"\"", "{", "[[", ".", "nan", "1e999", "\n", "0x", "#"];
    let fuzz = Fuzz { name: "toml", corpus: vec![few, whole], words, constant: 16 << 20 };
    let figures = fuzz.run(inputs(), |bytes| {
        let Ok(text) = decode_text(bytes) else { return false };
        parse(&defaults, &[], &text).is_ok()
    });
    println!("fuzz toml: {figures}");
}
