//! Pickles as Python writes them, and as it must never get us to run them.

use axum::body::Bytes;
use hyperalign_models::pickle::{PickleError, Value};
use hyperalign_rewards::geneval::{Row, Task};

use super::flow_grpo::{Needs, Request, answer};
use super::numpy;
use super::writer::Writer;

/// A pickle as Python's `pickle.dumps` printed it, in hexadecimal.
fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(text, 16).expect("digits")
    };
    digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
}

const GENEVAL_2: &str = "\
    80027d7100285806000000696d6167657371015d710228635f636f646563730a656e636f64650a710358040000\
    00c3bfc398710458060000006c6174696e31710586710652710768035801000000017108680586710952710a65\
    580a0000006d6574615f6461746173710b5d710c287d710d285803000000746167710e5808000000636f756e74\
    696e67710f5807000000696e636c75646571105d71117d7112285805000000636c61737371135803000000646f\
    6771145805000000636f756e7471154b02756158070000006578636c75646571165d71177d7118286813681468\
    154b037561580600000070726f6d707471195813000000612070686f746f206f662074776f20646f6773711a75\
    680d65580b0000006f6e6c795f737472696374711b89752e";

const GENEVAL_4: &str = "\
    800495b3000000000000007d94288c06696d61676573945d94284302ffd89443010194658c0a6d6574615f6461\
    746173945d94287d94288c03746167948c08636f756e74696e67948c07696e636c756465945d947d94288c0563\
    6c617373948c03646f67948c05636f756e74944b0275618c076578636c756465945d947d9428680d680e680f4b\
    0375618c0670726f6d7074948c13612070686f746f206f662074776f20646f677394756807658c0b6f6e6c795f\
    7374726963749489752e";

const GENEVAL_5: &str = "\
    800595b3000000000000007d94288c06696d61676573945d94284302ffd89443010194658c0a6d6574615f6461\
    746173945d94287d94288c03746167948c08636f756e74696e67948c07696e636c756465945d947d94288c0563\
    6c617373948c03646f67948c05636f756e74944b0275618c076578636c756465945d947d9428680d680e680f4b\
    0375618c0670726f6d7074948c13612070686f746f206f662074776f20646f677394756807658c0b6f6e6c795f\
    7374726963749489752e";

const NUMPY_1: &str = "\
    800495f8000000000000007d94288c06696d61676573945d94284302ffd89443010194658c0770726f6d707473\
    948c166e756d70792e5f636f72652e6d756c74696172726179948c0c5f7265636f6e7374727563749493948c05\
    6e756d7079948c076e6461727261799493944b0085944301629487945294284b014b02859468098c0564747970\
    659493948c0355313094898887945294284b038c013c944e4e4e4b284b044b0874946289435061000000200000\
    00640000006f0000006700000000000000000000000000000000000000000000007a0000007700000065000000\
    690000002000000042000000e400000072000000650000006e00000094749462752e";

const NUMPY_2: &str = "\
    800495c4000000000000007d94288c06696d61676573945d94284302ffd89443010194658c0770726f6d707473\
    948c166e756d70792e5f636f72652e6d756c74696172726179948c0c5f7265636f6e7374727563749493948c05\
    6e756d7079948c076e6461727261799493944b0085944301629487945294284b014b02859468098c0564747970\
    659493948c024f3894898887945294284b038c017c944e4e4e4affffffff4affffffff4b3f749462895d94288c\
    056120646f67948c0b7a7765692042c3a472656e9465749462752e";

/// NUMPY_1 as protocols 2 and 5 have it.
const NUMPY_IN_2: &str = "\
    80027d7100285806000000696d6167657371015d710228635f636f646563730a656e636f64650a710358040000\
    00c3bfc398710458060000006c6174696e31710586710652710768035801000000017108680586710952710a65\
    580700000070726f6d707473710b636e756d70792e5f636f72652e6d756c746961727261790a5f7265636f6e73\
    74727563740a710c636e756d70790a6e6461727261790a710d4b0085710e6803580100000062710f6805867110\
    527111877112527113284b014b02857114636e756d70790a64747970650a711558030000005531307116898887\
    7117527118284b0358010000003c71194e4e4e4b284b044b0874711a6289680358510000006100000020000000\
    640000006f0000006700000000000000000000000000000000000000000000007a000000770000006500000069\
    0000002000000042000000c3a400000072000000650000006e000000711b680586711c52711d74711e62752e";

const NUMPY_IN_5: &str = "\
    800595e3000000000000007d94288c06696d61676573945d94284302ffd89443010194658c0770726f6d707473\
    948c136e756d70792e5f636f72652e6e756d65726963948c0b5f66726f6d627566666572949394289650000000\
    000000006100000020000000640000006f0000006700000000000000000000000000000000000000000000007a\
    0000007700000065000000690000002000000042000000e400000072000000650000006e000000948c056e756d\
    7079948c0564747970659493948c0355313094898887945294284b038c013c944e4e4e4b284b044b087494624b\
    0285948c01439474945294752e";

const SYSTEM_0: &str = "\
    63706f7369780a73797374656d0a70300a2856747275650a70310a7470320a5270330a2e";

const SYSTEM_4: &str = "\
    8004951f000000000000008c05706f736978948c0673797374656d9493948c047472756594859452942e";

const WRITTEN: &str = "\
    80037d285801000000615d28473ff000000000000047c004000000000000655801000000627d28580100000063\
    5d286575752e";

/// Of rewards that judge by no rules.
fn needs(prompts: bool) -> Needs {
    Needs { prompts, rules: false }
}

#[test]
fn every_protocol_reads_the_same() {
    // Before protocol 3 there are no bytes: Python writes a call of its codecs instead.
    for hex in [GENEVAL_2, GENEVAL_4, GENEVAL_5] {
        let bytes = bytes(hex);
        let pickle = numpy::read(&bytes).unwrap();
        let request = Request::read(&pickle, &bytes, needs(true)).unwrap();
        assert_eq!(request.images, [&[0xFF, 0xD8][..], &[0x01]]);
        // The same dict twice: the second time the pickle only points at it.
        assert_eq!(request.prompts, ["a photo of two dogs", "a photo of two dogs"]);
        assert_eq!(request.tasks.unwrap(), [Some(Task::Counting); 2]);
        let strict = pickle.get(pickle.root(), "only_strict").unwrap();
        assert_eq!(*pickle.value(strict), Value::Bool(false));
        assert!(request.rows.is_empty(), "nobody judges by them");
    }
}

/// What is judged by is the row as it stands in GenEval's file.
#[test]
fn rules_come_with_the_rows() {
    let rules = Needs { prompts: false, rules: true };
    let row = r#"{"tag":"counting","include":[{"class":"dog","count":2}],"exclude":[{"class":"dog","count":3}],"prompt":"a photo of two dogs"}"#;
    let row = Row::read_jsonl(row).unwrap().remove(0);
    for hex in [GENEVAL_2, GENEVAL_4, GENEVAL_5] {
        let bytes = bytes(hex);
        let request = Request::read(&numpy::read(&bytes).unwrap(), &bytes, rules).unwrap();
        assert_eq!(request.rows, [row.clone(), row.clone()]);
    }
    // A row without clauses, and one that holds itself.
    let head = b"\x80\x02}(X\x06\x00\x00\x00images](C\x01aeX\x0a\x00\x00\x00meta_datas](";
    let bare =
        b"}(X\x06\x00\x00\x00promptX\x01\x00\x00\x00pX\x03\x00\x00\x00tagX\x01\x00\x00\x00xueu.";
    let own = b"}q\x00(X\x06\x00\x00\x00promptX\x01\x00\x00\x00pX\x03\x00\x00\x00tagX\x01\x00\x00\x00xX\x01\x00\x00\x00yh\x00ueu.";
    for (row, words) in [(&bare[..], "a row is"), (&own[..], "no plain data")] {
        let body = Bytes::from([&head[..], row].concat());
        let error = Request::read(&numpy::read(&body).unwrap(), &body, rules).unwrap_err();
        assert!(error.contains("`meta_datas`") && error.contains(words), "{error}");
    }
}

#[test]
fn bytes_as_texts_are_latin_1_and_decoded_once() {
    let read = |encoding: &str, text: &str| {
        let [text, encoding] = [text, encoding]
            .map(|text| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat());
        let call = [b"c_codecs\nencode\n", &text[..], &encoding, b"\x86Rq\x00"].concat();
        let head = b"\x80\x02}(X\x06\x00\x00\x00images](".to_vec();
        let body = Bytes::from([head, call, b"h\x00eu.".to_vec()].concat());
        let pickle = numpy::read(&body).unwrap();
        Request::read(&pickle, &body, needs(false)).map(|request| request.images)
    };
    let images = read("latin1", "\u{e9}a").unwrap();
    assert_eq!(images, [&[0xE9, b'a'][..]; 2]);
    assert_eq!(images[0].as_ptr(), images[1].as_ptr(), "there is one copy of it");
    assert!(read("utf-8", "a").unwrap_err().contains("something else than bytes"));
    assert!(read("latin1", "\u{20ac}").unwrap_err().contains("something else than bytes"));
}

#[test]
fn pictures_alone_are_a_request_where_no_reward_reads_prompts() {
    let body = Bytes::from_static(b"\x80\x03}(X\x06\x00\x00\x00images](C\x02abC\x01ceu.");
    let pickle = numpy::read(&body).unwrap();
    let error = Request::read(&pickle, &body, needs(true)).unwrap_err();
    assert!(error.contains("neither `meta_datas` nor `prompts`"), "{error}");
    let request = Request::read(&pickle, &body, needs(false)).unwrap();
    assert_eq!(request.images, [&b"ab"[..], b"c"]);
    assert_eq!((&request.prompts[..], request.tasks), (&["".into(), "".into()][..], None));
}

#[test]
fn prompts_may_be_a_numpy_array() {
    for hex in [NUMPY_1, NUMPY_2, NUMPY_IN_2, NUMPY_IN_5] {
        let bytes = bytes(hex);
        let request = Request::read(&numpy::read(&bytes).unwrap(), &bytes, needs(true)).unwrap();
        assert_eq!(request.prompts, ["a dog", "zwei Bären"]);
        assert_eq!(request.tasks, None);
    }
}

#[test]
fn nothing_is_run() {
    for hex in [SYSTEM_0, SYSTEM_4] {
        let bytes = bytes(hex);
        let error = numpy::read(&bytes).unwrap_err();
        assert!(matches!(error, PickleError::Name { .. } | PickleError::Refused(_)), "{error}");
    }
    let error = numpy::read(&bytes(SYSTEM_4)).unwrap_err().to_string();
    assert_eq!(
        error,
        "the pickle names `posix.system`; only bytes, and texts in numpy arrays, are read, nothing is run"
    );
}

#[test]
fn what_is_damaged_is_an_error() {
    for hex in [GENEVAL_2, GENEVAL_4, NUMPY_IN_5] {
        damage(&bytes(hex));
    }
}

fn damage(whole: &Bytes) {
    for cut in 0..whole.len() {
        assert!(numpy::read(&whole[..cut]).is_err(), "cut at {cut}");
        for bit in [0x01, 0x10, 0x80, 0xFF] {
            let mut flipped = whole.to_vec();
            flipped[cut] ^= bit;
            let flipped = Bytes::from(flipped);
            if let Ok(pickle) = numpy::read(&flipped) {
                let _ = Request::read(&pickle, &flipped, Needs { prompts: false, rules: true });
            }
        }
    }
}

#[test]
fn a_list_inside_of_itself_is_no_request() {
    let body = Bytes::from_static(b"\x80\x02]q\x00h\x00a.");
    let pickle = numpy::read(&body).unwrap();
    assert!(Request::read(&pickle, &body, needs(false)).is_err());
}

/// An array of four bytes whose type is `kind`.
fn array(kind: &str) -> Vec<u8> {
    let text =
        |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let state = [b"(K\x01Ncnumpy\ndtype\n(", &text(kind)[..], b"tRNC\x04a\0\0\0t"].concat();
    let call = b"cnumpy.core.multiarray\n_reconstruct\n)R".to_vec();
    [b"\x80\x04".to_vec(), call, state, b"b.".to_vec()].concat()
}

#[test]
fn arrays_of_impossible_types_are_no_texts() {
    let found = |kind: &str| {
        let bytes = array(kind);
        let pickle = numpy::read(&bytes).unwrap();
        numpy::texts(&pickle, pickle.root()).map(|texts| texts.concat())
    };
    assert_eq!(found("U1").as_deref(), Some("a"));
    // Four bytes for each letter are more than there can be, or nothing at all.
    for kind in ["U0", "U2", "U4611686018427387904", "U99999999999999999999", "f4", "O8"] {
        assert_eq!(found(kind), None, "{kind}");
    }
}

/// Python read this back as `{'a': [1.0, -2.5], 'b': {'c': []}}`.
#[test]
fn the_writer_writes_what_python_reads() {
    let mut writer = Writer::new();
    writer.numbers("a", [1.0, -2.5]);
    writer.groups("b", [("c".to_owned(), Vec::new())]);
    let found = writer.finish();
    assert_eq!(found, bytes(WRITTEN));
    let pickle = numpy::read(&found).unwrap();
    let list = pickle.list(pickle.get(pickle.root(), "a").unwrap()).unwrap();
    assert_eq!(*pickle.value(list[1]), Value::Float(-2.5));
}

#[test]
fn tasks_are_answered_in_groups() {
    let tasks = [Some(Task::Counting), Some(Task::Colors)];
    let bytes = answer(Some(&tasks), &[1.0, 0.0]);
    let pickle = numpy::read(&bytes).unwrap();
    let numbers = |id| -> Vec<f64> {
        let number = |id: &usize| match pickle.value(*id) {
            Value::Float(number) => *number,
            other => panic!("{other:?}"),
        };
        pickle.list(id).unwrap().iter().map(number).collect()
    };
    for key in ["scores", "rewards", "strict_rewards"] {
        assert_eq!(numbers(pickle.get(pickle.root(), key).unwrap()), [1.0, 0.0]);
    }
    for key in ["group_rewards", "group_strict_rewards"] {
        let groups = pickle.get(pickle.root(), key).unwrap();
        for task in Task::ALL {
            let expected = match task {
                Task::Counting => [1.0, -10.0],
                Task::Colors => [-10.0, 0.0],
                _ => [-10.0, -10.0],
            };
            assert_eq!(numbers(pickle.get(groups, task.tag()).unwrap()), expected);
        }
    }
}
