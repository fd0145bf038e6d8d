//! `hyperalign parity` and `hyperalign inspect`, from the outside, on reference files that
//! `cargo xtask golden` made.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn hyperalign(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// Exit status, `ok`, and the rows.
fn parity(path: &Path) -> (i32, bool, Vec<Value>) {
    let output = hyperalign(&["parity", "--json", path.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let rows = report["rows"].as_array().unwrap().clone();
    (output.status.code().unwrap(), report["ok"].as_bool().unwrap(), rows)
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A copy of a reference file with `change` made to its bytes, alone in a folder.
fn changed(stem: &str, change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{stem}.safetensors"));
    let mut bytes = std::fs::read(golden().join(format!("{stem}.safetensors"))).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// Where the values of a tensor lie in a safetensors file.
fn range_of(bytes: &[u8], name: &str) -> std::ops::Range<usize> {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header_json: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let offset = |i: usize| header_json[name]["data_offsets"][i].as_u64().unwrap() as usize;
    8 + header + offset(0)..8 + header + offset(1)
}

fn set_first(bytes: &mut [u8], name: &str, value: f32) {
    let start = range_of(bytes, name).start;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
}

fn row<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn every_reference_file_is_met() {
    let (status, ok, rows) = parity(&golden());
    let wrong: Vec<_> = rows.iter().filter(|row| row["ok"] != true).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(ok && status == 0);

    let compared: BTreeSet<&str> = rows.iter().map(|row| row["file"].as_str().unwrap()).collect();
    let names = std::fs::read_dir(golden()).unwrap();
    let names: BTreeSet<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(compared, names.iter().map(String::as_str).collect());
}

#[test]
fn a_wrong_value_is_one_wrong_row() {
    let (_dir, path) =
        changed("clip_text_small", |bytes| set_first(bytes, "out.pooler_output", 9.0));
    let (status, ok, rows) = parity(&path);
    assert!(status == 1 && !ok);
    let wrong: Vec<_> = rows.iter().filter(|row| row["ok"] != true).collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert_eq!(wrong[0]["name"], "out.pooler_output");
    assert!(wrong[0]["max_rel_error"].as_f64().unwrap() > 0.1);
}

#[test]
fn a_value_that_is_not_a_number_is_wrong() {
    let (_dir, path) = changed("clip_text_small", |bytes| {
        set_first(bytes, "out.last_hidden_state", f32::NAN);
    });
    let (status, _, rows) = parity(&path);
    assert_eq!(status, 1);
    assert_eq!(row(&rows, "out.last_hidden_state")["ok"], false);
    assert_eq!(row(&rows, "out.pooler_output")["ok"], true);
}

#[test]
fn a_wrong_weight_is_noticed() {
    let key = "w.transformer.resblocks.0.mlp.c_fc.bias";
    let (_dir, path) = changed("open_clip_small", |bytes| set_first(bytes, key, 1.0));
    let (status, _, rows) = parity(&path);
    assert_eq!(status, 1);
    assert_eq!(row(&rows, "out.text_features")["ok"], false);
    assert_eq!(row(&rows, "out.image_features")["ok"], true);
    assert_eq!(row(&rows, "grad.in.image")["ok"], false);
}

/// Masked attention is held to the reference's masks where signs differ, but not in silence.
#[test]
fn a_mask_of_another_sign_is_told() {
    // Of a mask of 13 by 21 attention reads a few pixels only: all of the first query's are changed.
    let rows = [1e3_f32, -1e3].map(|value| {
        let (_folder, path) = changed("mask2former_small", |bytes| {
            let start = range_of(bytes, "tap.masks_queries_logits.0").start;
            let mask = &mut bytes[start..start + 4 * 13 * 21];
            mask.chunks_exact_mut(4).for_each(|pixel| pixel.copy_from_slice(&value.to_le_bytes()));
        });
        parity(&path).2
    });
    let told = rows.iter().find(|rows| rows.iter().any(|row| row["name"] == "masks at 0"));
    let one = told.expect("one of both has another sign");
    assert_eq!(row(one, "masks at 0")["ok"], false);
    assert_eq!(row(one, "tap.masks_queries_logits.0")["ok"], false);
}

#[test]
fn a_result_that_we_do_not_compute_is_an_error() {
    let (_dir, path) = changed("clip_text_small", |bytes| {
        let name = b"\"out.pooler_output\"";
        let at = bytes.windows(name.len()).position(|part| part == name).unwrap();
        bytes[at..at + name.len()].copy_from_slice(b"\"out.pooler_0utput\"");
    });
    let (status, _, rows) = parity(&path);
    assert_eq!(status, 1);
    let note = row(&rows, "out.pooler_0utput")["note"].as_str().unwrap();
    assert!(note.contains("not computed"), "{note}");
}

#[test]
fn a_file_that_is_cut_off_is_an_error_row() {
    let (_dir, path) = changed("clip_text_small", |bytes| bytes.truncate(bytes.len() - 10));
    let (status, _, rows) = parity(&path);
    assert_eq!(status, 1);
    let note = row(&rows, "*")["note"].as_str().unwrap();
    assert!(note.contains("error") && note.contains("cut off"), "{note}");
}

#[test]
fn weights_that_should_be_beside_are_asked_for() {
    let (_dir, path) = changed("pipeline_sd_small", |_| {});
    let (status, _, rows) = parity(&path);
    assert_eq!(status, 1);
    let note = row(&rows, "*")["note"].as_str().unwrap();
    assert!(note.contains("clip_text_*.safetensors"), "{note}");
}

#[test]
fn unknown_components_fail_and_unbuilt_ones_only_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let unbuilt = dir.path().join("minilm_small.safetensors");
    std::fs::write(&unbuilt, b"").unwrap();
    assert_eq!(parity(dir.path()).0, 0, "found in a folder");
    let (status, _, rows) = parity(&unbuilt);
    assert_eq!((status, &rows[0]["supported"]), (1, &Value::Bool(false)), "named");
    std::fs::write(dir.path().join("mystery.safetensors"), b"").unwrap();
    let (status, _, rows) = parity(dir.path());
    assert_eq!(status, 1);
    assert!(rows[1]["note"].as_str().unwrap().contains("mystery"));
}

#[test]
fn paths_that_are_not_there_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = hyperalign(&["parity", dir.path().join("no.safetensors").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no.safetensors"));
    let output = hyperalign(&["parity", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no reference"));
}

#[test]
fn the_table_says_how_many_rows_failed() {
    let path = golden().join("clip_hf_small.safetensors");
    let output = hyperalign(&["parity", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("clip_hf_small.safetensors\n"), "{text}");
    assert!(text.ends_with("3 rows: 3 ok, 0 failed, 0 not supported\n"), "{text}");
}
