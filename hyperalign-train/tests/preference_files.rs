//! Preference sets as people have them: other compressions, other kinds of labels, other names,
//! missing captions and damaged pictures. The files are made here.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use hyperalign_core::testing;
use std::{io::Cursor, path::Path, sync::Arc};

use hyperalign_train::data::{ColumnNames, Preferences, PreferredData, PreferredPictures};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use parquet::{
    basic::Compression,
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

/// One row: a caption, whether its picture is whole, whether the first of the two is preferred.
#[derive(Clone, Copy)]
struct Row {
    caption: Option<&'static str>,
    is_whole: bool,
    first: bool,
}

fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|k| Row { caption: Some("a dog"), is_whole: true, first: k % 2 == 0 }).collect()
}

fn picture(shade: u8) -> Vec<u8> {
    let picture = RgbImage::from_pixel(16, 16, Rgb([shade, 100, 7]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// What labels are written as.
#[derive(Clone, Copy)]
enum Labels {
    Numbers,
    Booleans,
    Texts([&'static str; 2]),
}

/// Writes `rows` in the schema of Pick-a-Pic, with these names of the columns.
fn write(path: &Path, rows: &[Row], names: [&str; 4], labels: Labels, compression: Compression) {
    let kind = match labels {
        Labels::Numbers => "double",
        Labels::Booleans => "boolean",
        Labels::Texts(_) => "byte_array",
    };
    let [caption, first, second, label] = names;
    let schema = format!(
        "message set {{ optional byte_array {caption} (UTF8); required byte_array {first}; \
         required byte_array {second}; required {kind} {label}; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let present: Vec<i16> = rows.iter().map(|row| i16::from(row.caption.is_some())).collect();
    let captions = rows.iter().filter_map(|row| row.caption).map(ByteArray::from).collect();
    column::<ByteArrayType>(&mut group, captions, Some(&present));
    for which in [true, false] {
        let file = |row: &Row| match row.is_whole {
            true => ByteArray::from(picture(if row.first == which { 250 } else { 10 })),
            false => ByteArray::from("broken"),
        };
        column::<ByteArrayType>(&mut group, rows.iter().map(file).collect(), None);
    }
    let first = rows.iter().map(|row| row.first);
    match labels {
        Labels::Numbers => {
            let values = first.map(|first| f64::from(u8::from(first))).collect();
            column::<DoubleType>(&mut group, values, None);
        }
        Labels::Booleans => column::<BoolType>(&mut group, first.collect(), None),
        Labels::Texts(texts) => {
            let values = first.map(|first| ByteArray::from(texts[usize::from(first)])).collect();
            column::<ByteArrayType>(&mut group, values, None);
        }
    }
    group.close().unwrap();
    writer.close().unwrap();
}

fn column<T: DataType>(
    group: &mut parquet::file::writer::SerializedRowGroupWriter<'_, std::fs::File>,
    values: Vec<T::T>,
    present: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(&values, present, None).unwrap();
    column.close().unwrap();
}

const NAMES: [&str; 4] = ["caption", "jpg_0", "jpg_1", "label_0"];

struct Set {
    folder: tempfile::TempDir,
}

impl Set {
    fn of(rows: &[Row]) -> Self {
        let set = Self { folder: tempfile::tempdir().unwrap() };
        write(&set.file(), rows, NAMES, Labels::Numbers, Compression::SNAPPY);
        set
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("set.parquet")
    }

    fn open(&self, seed: u64) -> Preferences {
        Preferences::open(self.folder.path(), seed).unwrap()
    }

    fn pictures(&self, seed: u64, most: f64) -> Result<PreferredPictures, String> {
        PreferredPictures::new(self.open(seed), [8, 8], most).map_err(|error| error.to_string())
    }
}

/// The red of the preferred pictures, which is 250 if labels were read as they were meant.
fn all_preferred(preferences: Preferences) -> bool {
    let pictures = PreferredPictures::new(preferences, [8, 8], 0.0).unwrap();
    let (images, _) = pictures.batch(&[0, 1, 2, 3], &testing::device());
    let red = images.narrow(1, 0, 1).min().into_scalar::<f32>();
    (red - (250.0 / 127.5 - 1.0)).abs() < 1e-5
}

#[test]
fn every_compression_and_every_kind_of_label() {
    let set = Set::of(&rows(4));
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4_RAW,
        Compression::LZ4,
        Compression::ZSTD(Default::default()),
    ] {
        write(&set.file(), &rows(4), NAMES, Labels::Numbers, compression);
        assert!(all_preferred(set.open(1)), "{compression:?}");
    }
    for labels in [
        Labels::Booleans,
        Labels::Texts(["0", "1"]),
        Labels::Texts(["false", "True"]),
        Labels::Texts(["0.0", " 1.0"]),
    ] {
        write(&set.file(), &rows(4), NAMES, labels, Compression::SNAPPY);
        assert!(all_preferred(set.open(1)));
    }
    write(&set.file(), &rows(4), NAMES, Labels::Texts(["left", "right"]), Compression::SNAPPY);
    let message = Preferences::open(&set.file(), 0).unwrap_err().to_string();
    assert!(message.contains("no pair"), "{message}");
}

#[test]
fn own_names_and_wrong_kinds() {
    let set = Set::of(&rows(4));
    let own = ["text", "left", "right", "left_is_better"];
    write(&set.file(), &rows(4), own, Labels::Booleans, Compression::SNAPPY);
    let message = Preferences::open(&set.file(), 0).unwrap_err().to_string();
    assert!(message.contains("left_is_better") && message.contains("--columns"), "{message}");
    let names = "caption=text,jpg_0=left,jpg_1=right,label_0=left_is_better";
    let names: ColumnNames = names.parse().unwrap();
    assert!(all_preferred(Preferences::open_with(&set.file(), 1, &names).unwrap()));
    // A column of numbers is no caption, and the file is whole all the same.
    let swapped: ColumnNames = "caption=label_0,label_0=caption".parse().unwrap();
    write(&set.file(), &rows(4), NAMES, Labels::Numbers, Compression::SNAPPY);
    let error = Preferences::open_with(&set.file(), 1, &swapped).unwrap_err().to_string();
    assert!(error.contains("`label_0`") && error.contains("DOUBLE"), "{error}");
    assert!(!error.contains("whole parquet file"), "{error}");
    std::fs::write(set.file(), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let message = Preferences::open(&set.file(), 0).unwrap_err().to_string();
    assert!(message.contains("git lfs pull"), "{message}");
}

#[test]
fn rows_without_a_caption_are_left_out_and_told() {
    let mut all = rows(12);
    all[..5].iter_mut().for_each(|row| row.caption = None);
    all[5].caption = Some(" \n");
    let set = Set::of(&all);
    assert_eq!((set.open(0).len(), set.open(0).without_caption()), (6, 6));
    let pictures = set.pictures(0, 0.1).unwrap();
    assert_eq!(pictures.notes(), ["6 of 12 pairs have no caption and are left out"]);
    let set = Set::of(&all[..6]);
    let message = Preferences::open(&set.file(), 0).unwrap_err().to_string();
    assert!(message.contains("6 have none"), "{message}");
    let json = set.folder.path().join("set.json");
    let entry = |prompt: &str| {
        format!(r#"{{"prompt": {prompt}, "image_path": ["a.png", "b.png"], "rank": [1, 2]}}"#)
    };
    let text = format!("\u{FEFF}[{}, {}, {}]", entry("null"), entry("\"\""), entry("\"x\""));
    std::fs::write(&json, text).unwrap();
    let preferences = Preferences::open(&json, 0).unwrap();
    assert_eq!((preferences.len(), preferences.without_caption()), (1, 2));
}

#[test]
fn a_damaged_picture_is_passed_over_whatever_the_seed() {
    let mut all = rows(6);
    all[3].is_whole = false;
    let set = Set::of(&all);
    for seed in 0..12 {
        let pictures = set.pictures(seed, 0.1).unwrap();
        assert!(pictures.notes()[0].contains("1 of 6 pictures cannot be read"));
        let indices: Vec<u32> = (0..60).collect();
        let (images, prompts) = pictures.batch(&indices, &testing::device());
        assert!(images.mean().into_scalar::<f32>().is_finite());
        assert!(prompts.iter().all(|prompt| prompt == "a dog"));
        // Once in each of ten rounds, and once more where the one before begins with it.
        let (passed_over, drawn) = pictures.passed_over().unwrap();
        assert_eq!(drawn, 60);
        assert!((10..=11).contains(&passed_over), "{passed_over}");
        assert!(pictures.fault().is_none());
    }
}

#[test]
fn too_many_damaged_pictures_are_an_error_and_no_panic() {
    let mut all = rows(40);
    all.iter_mut().enumerate().for_each(|(k, row)| row.is_whole = k % 10 == 0);
    let set = Set::of(&all);
    let message = set.pictures(1, 0.1).unwrap_err();
    assert!(message.contains("36 of 40") && message.contains("--max-damaged"), "{message}");
    // A user may go on all the same, with those that are left.
    let pictures = set.pictures(1, 1.0).unwrap();
    let (images, _) = pictures.batch(&[0, 1, 2, 3], &testing::device());
    assert!(images.mean().into_scalar::<f32>().is_finite() && pictures.fault().is_none());
    assert!(set.pictures(1, 0.5).is_err());
    all.iter_mut().for_each(|row| row.is_whole = false);
    assert!(Set::of(&all).pictures(1, 1.0).is_err(), "nothing is left");
}

/// The disk drops out when the run has begun: no weight may learn from what is not there.
#[test]
fn a_set_that_vanishes_is_a_fault() {
    let set = Set::of(&rows(40));
    let pictures = set.pictures(1, 0.1).unwrap();
    std::fs::remove_file(set.file()).unwrap();
    let (images, prompts) = pictures.batch(&[0, 1], &testing::device());
    assert_eq!((images.dims(), prompts.len()), ([2, 3, 8, 8], 2));
    assert!(images.mean().into_scalar::<f32>().is_nan());
    let fault = pictures.fault().unwrap().to_string();
    assert!(fault.contains("of 40 pictures cannot be read"), "{fault}");
    assert!(pictures.fault().is_none(), "told once");
}
