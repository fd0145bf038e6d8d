use super::*;

const ANY: Policy = Policy { names: Names::Any, instructions: 1 << 16 };

fn read(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    Pickle::read(bytes, ANY)
}

/// What a pickle is of, as text; `..` below a depth that only values inside of themselves have.
fn show(pickle: &Pickle, id: Id, depth: usize) -> String {
    if depth == 0 {
        return "..".to_owned();
    }
    let show = |id: &Id| show(pickle, *id, depth - 1);
    let all = |items: &[Id]| items.iter().map(show).collect::<Vec<_>>().join(", ");
    let entries = |entries: &[(Id, Id)]| {
        let entry = |(key, value): &(Id, Id)| format!("{}: {}", show(key), show(value));
        entries.iter().map(entry).collect::<Vec<_>>().join(", ")
    };
    match pickle.value(id) {
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("b{bytes:?}"),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::List(items) => format!("[{}]", all(items)),
        Value::Dict(items) => format!("{{{}}}", entries(items)),
        Value::Global(Global { module, name }) => format!("{module}.{name}"),
        Value::Persistent(id) => format!("@{}", show(id)),
        Value::Call(call) => {
            let Call { function, arguments, state, items, entries: set } = &**call;
            let state = state.as_ref().map(|id| format!(" state {}", show(id)));
            let (items, set) = (all(items), entries(set));
            let called = format!("{}{}", show(function), show(arguments));
            format!("{called} [{items}] {{{set}}}{}", state.unwrap_or_default())
        }
        plain => format!("{plain:?}"),
    }
}

fn shown(bytes: &[u8]) -> String {
    let pickle = read(bytes).unwrap();
    show(&pickle, pickle.root(), 8)
}

/// `{"a": [1, -2, 300, 2.5, b"xy", (None, True)], "b": OrderedDict([("k", Fraction("1/3"))])}` as
/// Python 3.11 wrote it, in protocols 2 to 5.
const WRITTEN: [&[u8]; 4] = [
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01G@\x04\x00\
      \x00\x00\x00\x00\x00c_codecs\nencode\nq\x03X\x02\x00\x00\x00xyq\x04X\x06\x00\x00\x00\
      latin1q\x05\x86q\x06Rq\x07N\x88\x86q\x08eX\x01\x00\x00\x00bq\x09ccollections\nOrdere\
      dDict\nq\n)Rq\x0bX\x01\x00\x00\x00kq\x0ccfractions\nFraction\nq\x0dK\x01K\x03\x86q\
      \x0eRq\x0fsu.",
    b"\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01G@\x04\x00\
      \x00\x00\x00\x00\x00C\x02xyq\x03N\x88\x86q\x04eX\x01\x00\x00\x00bq\x05ccollections\n\
      OrderedDict\nq\x06)Rq\x07X\x01\x00\x00\x00kq\x08cfractions\nFraction\nq\x09K\x01K\
      \x03\x86q\nRq\x0bsu.",
    b"\x80\x04\x95t\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\
      \xffM,\x01G@\x04\x00\x00\x00\x00\x00\x00C\x02xy\x94N\x88\x86\x94e\x8c\x01b\x94\x8c\
      \x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94\x8c\x01k\x94\x8c\x09fractio\
      ns\x94\x8c\x08Fraction\x94\x93\x94K\x01K\x03\x86\x94R\x94su.",
    b"\x80\x05\x95t\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\
      \xffM,\x01G@\x04\x00\x00\x00\x00\x00\x00C\x02xy\x94N\x88\x86\x94e\x8c\x01b\x94\x8c\
      \x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94\x8c\x01k\x94\x8c\x09fractio\
      ns\x94\x8c\x08Fraction\x94\x93\x94K\x01K\x03\x86\x94R\x94su.",
];

const READ: &str = "{\"a\": [1, -2, 300, 2.5, b[120, 121], [None, Bool(true)]], \
    \"b\": collections.OrderedDict[] [] {\"k\": fractions.Fraction[1, 3] [] {}}}";

#[test]
fn every_protocol_reads_the_same() {
    for (protocol, written) in (2..).zip(WRITTEN) {
        assert_eq!(written[..2], [0x80, protocol]);
        let found = shown(written);
        // Before protocol 3, bytes are a call of a text.
        let bytes = "_codecs.encode[\"xy\", \"latin1\"] [] {}";
        assert_eq!(found.replace(bytes, "b[120, 121]"), READ, "protocol {protocol}");
    }
}

#[test]
fn numbers() {
    for (bytes, expected) in [
        (&b"\x80\x02K\xff."[..], Value::Int(255)),
        (b"\x80\x02M\x00\x01.", Value::Int(256)),
        (b"\x80\x02J\xff\xff\xff\xff.", Value::Int(-1)),
        (b"\x80\x02\x8a\x00.", Value::Int(0)),
        (b"\x80\x02\x8a\x02\x00\xff.", Value::Int(-256)),
        (b"\x80\x02\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", Value::Int(i64::MIN)),
        (b"\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00.", Value::Other),
    ] {
        let pickle = read(bytes).unwrap();
        assert_eq!(*pickle.value(pickle.root()), expected);
    }
}

#[test]
fn values_may_lie_inside_of_themselves() {
    // ], memoized as 0, then the 0th appended to it.
    let pickle = read(b"\x80\x02]q\x00h\x00a.").unwrap();
    assert_eq!(pickle.list(pickle.root()), Some(&[pickle.root()][..]));
    // A tuple whose list holds it: Python drops what it began and takes the one that is there.
    assert_eq!(shown(b"\x80\x02]q\x00(h\x00tq\x01a0h\x01."), "[[[[[[[[..]]]]]]]]");
}

#[test]
fn what_is_taken_from_above_a_mark_stays_there() {
    for bytes in
        [&b"\x80\x02NN(\x86t."[..], b"\x80\x02N(0t.", b"\x80\x02](Na\x85.", b"\x80\x02}N(s."]
    {
        assert!(matches!(read(bytes), Err(PickleError::Damaged(_))), "{bytes:?}");
    }
    assert_eq!(shown(b"\x80\x02(K\x01(K\x021t."), "[1]");
}

#[test]
fn names_are_those_of_the_policy() {
    let names = Names::Only { known: &[("a", "b")], reason: "only b is read" };
    let policy = Policy { names, instructions: 100 };
    assert!(Pickle::read(b"\x80\x02ca\nb\n.", policy).is_ok());
    for bytes in [&b"\x80\x02cos\nsystem\n."[..], b"\x80\x04\x8c\x02os\x8c\x06system\x93."] {
        let error = Pickle::read(bytes, policy).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the pickle names `os.system`; only b is read, nothing is run"
        );
        assert_eq!(shown(bytes), "os.system");
    }
}

#[test]
fn what_builds_no_data_is_refused() {
    // Protocol 0, an instance, a class with keywords, a buffer from elsewhere, an extension.
    for instruction in [b'I', b'p', b'i', b'o', b'P', 0x92, 0x97, 0x82, 0xff] {
        let error = read(&[0x80, 2, instruction, b'.']).unwrap_err();
        assert_eq!(error, PickleError::Refused(instruction));
    }
}

/// Little input asks for little memory and little time.
#[test]
fn lengths_and_counts_are_not_believed() {
    let huge = [0xff; 8];
    for instruction in [0x8d, 0x8e, 0x96] {
        let bytes = [&[0x80, 4, instruction], &huge[..]].concat();
        assert_eq!(read(&bytes).unwrap_err(), PickleError::CutOff);
    }
    // A place in the memo that would be the four billionth.
    assert_eq!(shown(b"\x80\x02Nr\xff\xff\xff\xffj\xff\xff\xff\xff\x86."), "[None, None]");
    let long = [&b"\x80\x02"[..], &[b'N'; 100], b"."].concat();
    let policy = Policy { names: Names::Any, instructions: 50 };
    assert_eq!(Pickle::read(&long, policy).unwrap_err(), PickleError::TooLong(50));
    assert!(size_of::<Value>() <= 40);
}

#[test]
fn what_is_cut_off_is_an_error_and_what_is_changed_no_crash() {
    for whole in WRITTEN {
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut off at {length}");
        }
    }
    let mut bytes = WRITTEN[2].to_vec();
    for at in 0..bytes.len() {
        for value in 0..=u8::MAX {
            bytes[at] = value;
            if let Ok(pickle) = read(&bytes) {
                show(&pickle, pickle.root(), 4);
            }
        }
        bytes[at] = WRITTEN[2][at];
    }
}
