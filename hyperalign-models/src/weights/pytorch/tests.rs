use super::*;
use crate::testing::stored_zip;

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// `_rebuild_tensor_v2` of a storage.
fn tensor(kind: &str, file: &str, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let ints = |values: &[u8]| -> Vec<u8> {
        let items = values.iter().flat_map(|value| [b'K', *value]);
        std::iter::once(b'(').chain(items).chain([b't']).collect()
    };
    let storage = [
        b"((".to_vec(),
        text("storage"),
        format!("ctorch\n{kind}\n").into_bytes(),
        text(file),
        text("cpu"),
        b"K\x06tQ".to_vec(),
    ];
    let call = b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec();
    [call, storage.concat(), vec![b'K', offset], ints(shape), ints(strides), b"\x89NtR".to_vec()]
        .concat()
}

fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
    b"}(".iter().copied().chain(items).chain([b'u']).collect()
}

fn pickle(body: Vec<u8>) -> Vec<u8> {
    [b"\x80\x02".to_vec(), body, b".".to_vec()].concat()
}

fn file(body: Vec<u8>) -> Vec<u8> {
    stored_zip(&[
        ("archive/data.pkl", &pickle(body)),
        ("archive/data/0", &[0; 24]),
        ("archive/version", b"3"),
    ])
}

#[test]
fn tensors_lie_where_the_file_says() {
    let weights = dict(&[
        ("a", tensor("FloatStorage", "0", 0, &[2, 3], &[3, 1])),
        ("b", tensor("FloatStorage", "0", 4, &[2], &[1])),
        ("turned", tensor("HalfStorage", "0", 0, &[2, 3], &[1, 2])),
        ("one", tensor("DoubleStorage", "0", 0, &[], &[])),
        ("column", tensor("FloatStorage", "0", 0, &[3, 1], &[1, 7])),
    ]);
    let whole = dict(&[("epoch", b"K\x09".to_vec()), ("state_dict", weights)]);
    let bytes = file(whole);
    let found = tensors(&bytes).unwrap();
    let start = found[0].range.start;
    let summary: Vec<_> = found
        .iter()
        .map(|t| (t.key.as_str(), t.range.start - start..t.range.end - start, t.transposed))
        .collect();
    assert_eq!(
        summary,
        [
            ("a", 0..24, false),
            ("b", 16..24, false),
            ("turned", 0..12, true),
            ("one", 0..8, false),
            ("column", 0..12, false)
        ]
    );
    assert_eq!(found[2].shape, [2, 3]);
    assert_eq!(bytes[found[0].range.clone()], [0; 24]);
}

/// As `Module.state_dict` makes it: an ordered dictionary with an attribute, and parameters.
#[test]
fn ordered_dictionaries_and_parameters_are_seen_through() {
    let parameter = [
        b"ctorch._utils\n_rebuild_parameter\n(".to_vec(),
        tensor("FloatStorage", "0", 1, &[2], &[1]),
        b"\x88NtR".to_vec(),
    ];
    let ordered = b"ccollections\nOrderedDict\n)R".to_vec();
    let entry = [text("w"), parameter.concat(), b"s".to_vec()].concat();
    let attribute = dict(&[("_metadata", ordered.clone())]);
    let found = tensors(&file([ordered, entry, attribute, b"b".to_vec()].concat())).unwrap();
    assert_eq!((found[0].key.as_str(), &found[0].shape[..]), ("w", &[2][..]));
    assert_eq!(found[0].range.len(), 8);
}

/// An entry costs four bytes, but its key and its shape only once.
#[test]
fn repeated_entries_are_one() {
    let first = [text("w"), b"q\0".to_vec(), tensor("FloatStorage", "0", 0, &[2], &[1])].concat();
    let again = b"h\0h\x01".repeat(1000);
    let body = [b"}(".to_vec(), first, b"q\x01".to_vec(), again, b"u".to_vec()].concat();
    assert_eq!(tensors(&file(body)).unwrap().len(), 1);
}

#[test]
fn what_is_no_tensor_is_not_run() {
    let evil = b"cos\nsystem\n(".to_vec();
    let evil = [evil, text("false"), b"tR".to_vec()].concat();
    let weights = dict(&[("x", evil), ("b", tensor("FloatStorage", "0", 0, &[2], &[1]))]);
    let found = tensors(&file(weights)).unwrap();
    assert_eq!(found.iter().map(|t| t.key.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn what_does_not_add_up_is_said() {
    let reason = |body| tensors(&file(body)).unwrap_err();
    let one = |tensor| dict(&[("w", tensor)]);
    let beyond = reason(one(tensor("FloatStorage", "0", 1, &[2, 3], &[3, 1])));
    assert!(beyond.contains("`w` reaches beyond"), "{beyond}");
    let sparse = reason(one(tensor("FloatStorage", "0", 0, &[2, 2], &[3, 1])));
    assert!(sparse.contains("one piece"), "{sparse}");
    let missing = reason(one(tensor("FloatStorage", "7", 0, &[2], &[1])));
    assert!(missing.contains("no values"), "{missing}");
    assert!(reason(b"K\x01".to_vec()).contains("no dictionary"));
    assert!(reason(b"t".to_vec()).contains("damaged"));
    assert!(reason(b"i".to_vec()).contains("0x69"));
    let script = stored_zip(&[("m/data.pkl", b""), ("m/constants.pkl", b"")]);
    assert!(tensors(&script).unwrap_err().contains("TorchScript"));
    assert!(tensors(&stored_zip(&[("x", b"")])).unwrap_err().contains("data.pkl"));
}

/// Whatever is cut off or changed: an error or other tensors, never a crash.
#[test]
fn damaged_files_do_not_crash() {
    let weights = dict(&[("a", tensor("FloatStorage", "0", 0, &[2, 3], &[3, 1]))]);
    let whole = file(dict(&[("state_dict", weights)]));
    assert!(tensors(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(tensors(&whole[..length]).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        for value in [0, 0x7f, 0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if let Ok(found) = tensors(&bytes) {
                assert!(found.iter().all(|tensor| tensor.range.end <= bytes.len()));
            }
        }
    }
}

/// A file without an archive: two storages of which one is of integers.
fn legacy(names: &[&str], rest: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    let version = pickle(b"M\xe9\x03".to_vec());
    let machine = pickle(dict(&[("little_endian", b"\x88".to_vec())]));
    let weights = dict(&[
        ("places", tensor("LongStorage", "9", 0, &[2], &[1])),
        ("w", tensor("FloatStorage", "4", 1, &[2], &[1])),
    ]);
    let meta = dict(&[("epoch", b"K\x09".to_vec())]);
    let state = pickle(dict(&[("meta", meta), ("state_dict", weights)]));
    let names = names.iter().flat_map(|name| text(name)).collect();
    let names = pickle([b"](".to_vec(), names, b"e".to_vec()].concat());
    [magic, version, machine, state, names, rest.to_vec()].concat()
}

#[test]
fn files_without_an_archive() {
    let storages = [
        &3_u64.to_le_bytes()[..],
        &[1.0_f32, 2.0, 3.0].map(f32::to_le_bytes).concat(),
        &2_u64.to_le_bytes(),
        &[0; 16],
    ];
    let bytes = legacy(&["4", "9"], &storages.concat());
    assert!(is_pytorch(&bytes));
    let found = tensors(&bytes).unwrap();
    let keys: Vec<_> = found.iter().map(|t| (t.key.as_str(), t.dtype)).collect();
    assert_eq!(keys, [("places", Dtype::I64), ("w", Dtype::F32)]);
    assert_eq!(bytes[found[1].range.clone()], [2.0_f32, 3.0].map(f32::to_le_bytes).concat());
    assert_eq!(found[0].range, bytes.len() - 16..bytes.len());
    for length in MAGIC..bytes.len() {
        assert!(tensors(&bytes[..length]).is_err(), "{length}");
    }
    let reason = |names: &[&str]| tensors(&legacy(names, &storages.concat())).unwrap_err();
    assert!(reason(&["4", "8"]).contains("unknown numbers"));
    assert!(reason(&["4"]).contains("`places` has no values"));
    // A count that is beyond all memory.
    let endless = legacy(&["4", "9"], &u64::MAX.to_le_bytes());
    assert!(tensors(&endless).unwrap_err().contains("cut off"));
}

/// Bytes of the mark of a file without an archive.
const MAGIC: usize = 15;
