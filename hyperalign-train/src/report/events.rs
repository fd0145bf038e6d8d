//! A run's log as an event file of TensorBoard.
//!
//! The file is a sequence of records: the length (8 bytes, little-endian), a masked CRC-32C of it, the
//! bytes, and a masked CRC-32C of those. The bytes are a protocol buffer `Event`, of which only what
//! scalars and pictures need is written here (tensorboard/compat/proto/event.proto and summary.proto).

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::RunLog;

/// What TensorBoard looks for in the name of a file.
const NAME: &str = "events.out.tfevents.0.hyperalign";
/// The first record of every file.
const VERSION: &str = "brain.Event:2";

/// An event file that is written to while a run goes on.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
    /// When the first update began, in seconds since 1970.
    start: f64,
    /// Seconds that the updates written so far have taken.
    seconds: f64,
    /// The first update of which the row, the row of the watch and the grid have not been written.
    next: [u64; 3],
}

impl EventFile {
    /// A new file in `folder`, in the place of one that an earlier run left there; the first update
    /// began at `start`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn create(folder: &Path, start: f64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        let mut file = File::create(&path)?;
        file.write_all(&record(&[double(1, start), bytes(3, VERSION.as_bytes())].concat()))?;
        Ok(Self { file, path, start, seconds: 0.0, next: [0; 3] })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what of `log` has not been written yet.
    ///
    /// # Errors
    ///
    /// Fails if the disk is full.
    pub fn add(&mut self, log: &RunLog) -> io::Result<()> {
        let mut new = Vec::new();
        for row in newer(&log.rows, &mut self.next[0]) {
            self.seconds += row["seconds"].as_f64().unwrap_or(0.0);
            let scalars = scalars(row).into_iter().map(|(tag, value)| scalar(&tag, value));
            new.extend(self.event(row, &scalars.collect::<Vec<_>>().concat()));
        }
        for row in newer(&log.watch, &mut self.next[1]) {
            let scalars = watched(row).into_iter().map(|(tag, value)| scalar(&tag, value));
            new.extend(self.event(row, &scalars.collect::<Vec<_>>().concat()));
        }
        for (update, png) in &log.grids {
            if *update < self.next[2] {
                continue;
            }
            self.next[2] = update + 1;
            let row = serde_json::json!({ "update": update });
            new.extend(self.event(&row, &picture("samples", png)));
        }
        self.file.write_all(&new)?;
        self.file.flush()
    }

    /// A record of the values of the update of `row`, made by now.
    fn event(&self, row: &Value, values: &[u8]) -> Vec<u8> {
        let update = row["update"].as_u64().unwrap_or(0);
        let time = double(1, self.start + self.seconds);
        record(&[time, varint_field(2, update), bytes(5, values)].concat())
    }
}

/// The rows from update `next` on, which becomes the one after the last of them.
fn newer<'a>(rows: &'a [Value], next: &mut u64) -> Vec<&'a Value> {
    let update = |row: &Value| row["update"].as_u64().unwrap_or(0);
    let new: Vec<&Value> = rows.iter().filter(|row| update(row) >= *next).collect();
    *next = new.last().map_or(*next, |row| update(row) + 1);
    new
}

/// Every number of a row of `metrics.jsonl`, by its tag: `loss/total`, `metrics/reward`, `lr`.
fn scalars(row: &Value) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    for (key, value) in row.as_object().into_iter().flatten() {
        match value {
            Value::Object(of) => {
                let each = of.iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
                all.extend(each.map(|(name, value)| (format!("{key}/{name}"), value)));
            }
            _ if key == "update" => {}
            _ => all.extend(value.as_f64().map(|value| (format!("run/{key}"), value))),
        }
    }
    all
}

/// Every number of a row of `watch.jsonl`, by its tag.
fn watched(row: &Value) -> Vec<(String, f64)> {
    let keys = ["trained", "held_out_score", "diversity", "distance_to_base"];
    let own = keys.into_iter().filter_map(|key| Some((format!("watch/{key}"), row[key].as_f64()?)));
    let held_out = row["held_out"].as_object().into_iter().flatten();
    let held_out = held_out
        .filter_map(|(name, value)| Some((format!("watch/held_out/{name}"), value.as_f64()?)));
    own.chain(held_out).collect()
}

/// A `Summary.Value` of a number.
fn scalar(tag: &str, value: f64) -> Vec<u8> {
    let number = [&[2 << 3 | 5][..], &(value as f32).to_le_bytes()].concat();
    bytes(1, &[bytes(1, tag.as_bytes()), number].concat())
}

/// A `Summary.Value` of a PNG file, whose size its own header says.
fn picture(tag: &str, png: &[u8]) -> Vec<u8> {
    let side = |at: usize| {
        let four = png.get(at..at + 4).and_then(|four| four.try_into().ok());
        u64::from(four.map_or(0, u32::from_be_bytes))
    };
    let (width, height) = (side(16), side(20));
    // Three channels.
    let image =
        [varint_field(1, height), varint_field(2, width), varint_field(3, 3), bytes(4, png)];
    bytes(1, &[bytes(1, tag.as_bytes()), bytes(4, &image.concat())].concat())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checked = |bytes: &[u8]| masked(crc32c::crc32c(bytes)).to_le_bytes();
    [&length[..], &checked(&length), data, &checked(data)].concat()
}

/// A checksum that may itself be part of what is checked.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn varint_field(field: u8, number: u64) -> Vec<u8> {
    [vec![field << 3], varint(number)].concat()
}

fn double(field: u8, number: f64) -> Vec<u8> {
    [&[field << 3 | 1][..], &number.to_le_bytes()].concat()
}

fn bytes(field: u8, data: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(data.len() as u64), data.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The payloads of a file whose checksums are right.
    fn records(file: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = file;
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let (crc, after) = after.split_at(4);
            assert_eq!(crc, masked(crc32c::crc32c(length)).to_le_bytes());
            let (data, after) =
                after.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (crc, after) = after.split_at(4);
            assert_eq!(crc, masked(crc32c::crc32c(data)).to_le_bytes());
            found.push(data.to_vec());
            rest = after;
        }
        found
    }

    #[test]
    fn numbers_are_written_as_protocol_buffers_have_them() {
        assert_eq!(varint(1), [1]);
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(varint_field(2, 150), [0x10, 0x96, 0x01]);
        assert_eq!(bytes(2, b"testing"), [&[0x12, 0x07][..], b"testing"].concat());
        // The checksum of "123456789" that every table of CRCs has.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn every_update_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let row = |update: u64| json!({"update": update, "seconds": 0.5, "lr": 0.1, "loss": {"total": 2.0}, "x": null});
        let mut log = RunLog { rows: vec![row(1), row(2)], ..RunLog::default() };
        let mut file = EventFile::create(folder.path(), 100.0).unwrap();
        file.add(&log).unwrap();
        log.rows.push(row(3));
        log.watch.push(json!({"update": 0, "trained": 1.0, "held_out": {"gold": 0.5}}));
        log.grids.push((3, vec![0; 30]));
        file.add(&log).unwrap();
        file.add(&log).unwrap();
        let found = records(&std::fs::read(file.path()).unwrap());
        assert_eq!(found.len(), 1 + 3 + 1 + 1);
        let time = |record: &[u8]| f64::from_le_bytes(record[1..9].try_into().unwrap());
        let times: Vec<f64> = found.iter().map(|record| time(record)).collect();
        assert_eq!(times, [100.0, 100.5, 101.0, 101.5, 101.5, 101.5]);
        let has = |record: &[u8], tag: &[u8]| record.windows(tag.len()).any(|part| part == tag);
        assert!(has(&found[0], VERSION.as_bytes()));
        for tag in ["run/lr", "run/seconds", "loss/total"] {
            assert!(has(&found[3], tag.as_bytes()), "{tag}");
        }
        assert!(!has(&found[3], b"run/x") && !has(&found[3], b"update"));
        assert!(has(&found[4], b"watch/held_out/gold") && has(&found[5], b"samples"));
    }
}
