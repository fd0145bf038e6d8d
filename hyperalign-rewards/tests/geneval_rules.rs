//! The engine of GenEval's rules against hand-made detections, whoever made them.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use hyperalign_rewards::geneval::{BoundingBox, Detection, judge, read_jsonl};

/// Class, colour (or nothing), left, top, width, height, score.
type Found = (&'static str, &'static str, [f32; 4], f32);

struct Case {
    name: &'static str,
    row: &'static str,
    found: &'static [Found],
    right: bool,
}

const BENCH: &str =
    r#"{"tag":"single_object","include":[{"class":"bench","count":1}],"prompt":"p"}"#;
const TWO: &str = r#"{"tag":"two_object","include":[{"class":"dog","count":1},{"class":"car","count":1}],"prompt":"p"}"#;
const THREE: &str = r#"{"tag":"counting","include":[{"class":"dog","count":3}],"exclude":[{"class":"dog","count":4}],"prompt":"p"}"#;
const RED: &str =
    r#"{"tag":"colors","include":[{"class":"car","count":1,"color":"red"}],"prompt":"p"}"#;
const LEFT: &str = r#"{"tag":"position","include":[{"class":"car","count":1},{"class":"dog","count":1,"position":["left of",0]}],"prompt":"p"}"#;
const BELOW: &str = r#"{"tag":"position","include":[{"class":"car","count":1},{"class":"dog","count":1,"position":["below",0]}],"prompt":"p"}"#;
const BOTH: &str = r#"{"tag":"color_attr","include":[{"class":"dog","count":1,"color":"brown"},{"class":"car","count":1,"color":"red"}],"prompt":"p"}"#;
const NO_DOG: &str = r#"{"tag":"single_object","include":[{"class":"car","count":1}],"exclude":[{"class":"dog","count":1}],"prompt":"p"}"#;
const TWO_RED: &str =
    r#"{"tag":"colors","include":[{"class":"car","count":2,"color":"red"}],"prompt":"p"}"#;

const A: [f32; 4] = [0.0, 0.0, 20.0, 20.0];
const B: [f32; 4] = [100.0, 0.0, 20.0, 20.0];
const C: [f32; 4] = [200.0, 0.0, 20.0, 20.0];
const D: [f32; 4] = [300.0, 0.0, 20.0, 20.0];

const CASES: &[Case] = &[
    Case { name: "one object", row: BENCH, found: &[("bench", "", A, 0.9)], right: true },
    Case { name: "nothing at all", row: BENCH, found: &[], right: false },
    Case { name: "another class", row: BENCH, found: &[("chair", "", A, 0.9)], right: false },
    Case {
        name: "more than asked for, nothing excluded",
        row: BENCH,
        found: &[("bench", "", A, 0.9), ("bench", "", B, 0.8), ("dog", "", C, 0.7)],
        right: true,
    },
    Case {
        name: "two objects, one inside the other",
        row: TWO,
        found: &[("dog", "", [5.0, 5.0, 5.0, 5.0], 0.5), ("car", "", A, 0.9)],
        right: true,
    },
    Case { name: "one of two", row: TWO, found: &[("dog", "", A, 0.9)], right: false },
    Case {
        name: "three",
        row: THREE,
        found: &[("dog", "", A, 0.95), ("dog", "", B, 0.95), ("dog", "", C, 0.95)],
        right: true,
    },
    Case {
        name: "three that lie on each other",
        row: THREE,
        found: &[("dog", "", A, 0.95), ("dog", "", A, 0.94), ("dog", "", A, 0.93)],
        right: true,
    },
    Case {
        name: "two of three",
        row: THREE,
        found: &[("dog", "", A, 0.95), ("dog", "", B, 0.95), ("cat", "", C, 0.95)],
        right: false,
    },
    Case {
        name: "one over",
        row: THREE,
        found: &[
            ("dog", "", A, 0.95),
            ("dog", "", B, 0.95),
            ("dog", "", C, 0.95),
            ("dog", "", D, 0.91),
        ],
        right: false,
    },
    Case { name: "the colour", row: RED, found: &[("car", "red", A, 0.9)], right: true },
    Case { name: "another colour", row: RED, found: &[("car", "blue", A, 0.9)], right: false },
    Case { name: "no colour told", row: RED, found: &[("car", "", A, 0.9)], right: false },
    Case {
        name: "the colour on a less sure object",
        row: RED,
        found: &[("car", "red", A, 0.8), ("car", "blue", B, 0.9)],
        right: false,
    },
    Case {
        name: "equal scores: the first is the surest",
        row: RED,
        found: &[("car", "red", A, 0.9), ("car", "blue", B, 0.9)],
        right: true,
    },
    Case {
        name: "equal scores, the other way round",
        row: RED,
        found: &[("car", "blue", B, 0.9), ("car", "red", A, 0.9)],
        right: false,
    },
    Case {
        name: "both of two have the colour",
        row: TWO_RED,
        found: &[("car", "red", A, 0.9), ("car", "red", B, 0.8), ("car", "blue", C, 0.7)],
        right: true,
    },
    Case {
        name: "one of two has the colour",
        row: TWO_RED,
        found: &[("car", "red", A, 0.9), ("car", "blue", B, 0.8), ("car", "red", C, 0.7)],
        right: false,
    },
    Case {
        name: "left",
        row: LEFT,
        found: &[("dog", "", A, 0.9), ("car", "", B, 0.9)],
        right: true,
    },
    Case {
        name: "right instead",
        row: LEFT,
        found: &[("dog", "", B, 0.9), ("car", "", A, 0.9)],
        right: false,
    },
    Case {
        name: "boxes that touch are left and right",
        row: LEFT,
        found: &[("dog", "", A, 0.9), ("car", "", [20.0, 0.0, 20.0, 20.0], 0.9)],
        right: true,
    },
    Case {
        name: "half covered, a quarter of the way is too little",
        row: LEFT,
        found: &[("dog", "", A, 0.9), ("car", "", [5.0, 0.0, 20.0, 20.0], 0.9)],
        right: false,
    },
    Case {
        name: "one box in the other with the same centre",
        row: LEFT,
        found: &[("dog", "", [8.0, 8.0, 4.0, 4.0], 0.9), ("car", "", A, 0.9)],
        right: false,
    },
    Case {
        name: "left and a little below is left",
        row: LEFT,
        found: &[("dog", "", [0.0, 30.0, 20.0, 20.0], 0.9), ("car", "", B, 0.9)],
        right: true,
    },
    Case {
        name: "left and a little below is not below",
        row: BELOW,
        found: &[("dog", "", [0.0, 30.0, 20.0, 20.0], 0.9), ("car", "", B, 0.9)],
        right: false,
    },
    Case {
        name: "a diagonal is both",
        row: BELOW,
        found: &[("dog", "", [0.0, 100.0, 20.0, 20.0], 0.9), ("car", "", B, 0.9)],
        right: true,
    },
    Case {
        name: "only the surest of each class is placed",
        row: LEFT,
        found: &[("dog", "", A, 0.8), ("dog", "", D, 0.9), ("car", "", B, 0.9)],
        right: false,
    },
    Case { name: "nothing to lie left of", row: LEFT, found: &[("dog", "", A, 0.9)], right: false },
    Case {
        name: "each has its own colour",
        row: BOTH,
        found: &[("dog", "brown", A, 0.9), ("car", "red", B, 0.9)],
        right: true,
    },
    Case {
        name: "colours the wrong way round",
        row: BOTH,
        found: &[("dog", "red", A, 0.9), ("car", "brown", B, 0.9)],
        right: false,
    },
    Case {
        name: "an excluded class",
        row: NO_DOG,
        found: &[("car", "", A, 0.9), ("dog", "", B, 0.4)],
        right: false,
    },
    Case {
        name: "an excluded class that is not there",
        row: NO_DOG,
        found: &[("car", "", A, 0.9), ("cat", "", B, 0.4)],
        right: true,
    },
];

#[test]
fn hand_made_detections() {
    for Case { name, row, found, right } in CASES {
        let row = read_jsonl(row).unwrap().remove(0);
        let detection = |&(class, color, [x, y, width, height], score): &Found| Detection {
            class: class.to_owned(),
            color: Some(color.to_owned()).filter(|color| !color.is_empty()),
            bounds: BoundingBox { x, y, width, height },
            score,
        };
        let detections: Vec<Detection> = found.iter().map(detection).collect();
        let verdict = judge(&detections, &row);
        assert_eq!(verdict.correct, *right, "{name}: {:?}", verdict.reasons);
        assert_eq!(verdict.reasons.is_empty(), *right, "{name}: a reason where it is wrong");
    }
}

/// Every task has cases of both kinds.
#[test]
fn the_table_is_whole() {
    use hyperalign_rewards::geneval::Task;
    for task in Task::ALL {
        for right in [true, false] {
            let of =
                |case: &&Case| read_jsonl(case.row).unwrap()[0].tag == task && case.right == right;
            assert!(CASES.iter().any(|case| of(&case)), "{task} {right}");
        }
    }
}
