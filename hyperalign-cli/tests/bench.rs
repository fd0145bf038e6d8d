//! `hyperalign bench`, one repeat of everything.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .args(["bench", "--repeat", "1", "--warmup", "0", "--steps", "2"])
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn every_part_is_timed_over_its_first_line() {
    let output = bench(&["--only", "sampling,calls", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |part: &str| -> Vec<String> {
        let rows = report[part].as_array().unwrap();
        assert_eq!(rows[0]["over_first"], 1.0);
        for row in rows {
            assert!(row["seconds"]["median"].as_f64().unwrap() > 0.0, "{row}");
        }
        rows.iter().map(|row| row["what"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("sampling")[..4], ["base", "hyperalign-s", "hyperalign-p", "hyperalign-i"]);
    assert_eq!(names("calls")[0], "U-Net");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert!(report.get("training").is_none());
}

#[test]
fn a_training_step_has_a_time_and_a_size() {
    let output = bench(&["--only", "training"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("machine  "), "{text}");
    let row = text.lines().find(|line| line.starts_with("update ")).unwrap();
    assert!(row.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() > 0.0, "{row}");
}

#[test]
fn numbers_that_make_no_sense_are_wrong_usage() {
    for arguments in [["--repeat", "0"], ["--steps", "0"], ["--dtype", "f8"], ["--size", "xl"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
        let output = command.arg("bench").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn unknown_rewards_are_not_timed() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
    let output = command.args(["bench", "rewards", "hps"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("unknown reward `hps`") && message.contains("hps_v2.1"), "{message}");
}
