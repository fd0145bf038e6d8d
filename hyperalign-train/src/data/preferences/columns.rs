//! Values of single columns of a parquet file, a row group or a row at a time.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::PathBuf,
};

use bytes::Bytes;
use hyperalign_core::{caught::caught, input};
use parquet::{
    basic::{Repetition, Type as PhysicalType},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType},
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, FileReader, Length, SerializedFileReader},
    schema::types::{SchemaDescriptor, Type},
};

/// A file that is opened anew for each read: threads that share a handle share its position, and
/// a set of hundreds of files would hold hundreds of handles.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    length: u64,
}

/// An open parquet file.
pub(super) type Reader = SerializedFileReader<Disk>;

impl Disk {
    /// Reads the footer of the file at `path`.
    pub(super) fn open(path: PathBuf) -> Result<Reader> {
        input::regular(&path)?;
        let length = path.metadata()?.len();
        whole(|| SerializedFileReader::new(Self { path, length }))
    }

    fn at(&self, start: u64) -> io::Result<File> {
        let mut file = input::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }
}

impl Length for Disk {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Disk {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(self.at(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.at(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// What `read` gives. On a damaged file the parquet crate may panic in the middle of a page; that is
/// an error of the file.
fn whole<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(read).unwrap_or_else(|panic| Err(ParquetError::General(format!("damaged: {panic}"))))
}

/// The leaf called `path`, as in `jpg_0` or `image_path.list.element`.
pub(super) fn leaf(schema: &SchemaDescriptor, path: &str) -> Option<usize> {
    (0..schema.num_columns()).find(|column| schema.column(*column).path().string() == path)
}

/// The only leaf of the list `name`, whatever the writer calls its elements.
pub(super) fn list(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    let column = (0..schema.num_columns()).find(|column| {
        let column = schema.column(*column);
        column.max_rep_level() == 1 && column.path().parts().first().is_some_and(|p| p == name)
    })?;
    Some(column)
}

/// Where in a column to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Index of the row group.
    pub group: usize,
    /// Index of the leaf.
    pub column: usize,
    /// First row.
    pub row: usize,
    /// Number of rows.
    pub rows: usize,
}

/// Whether [`binaries`] reads a column of this kind.
pub(super) fn is_binary(kind: PhysicalType) -> bool {
    kind == PhysicalType::BYTE_ARRAY
}

/// Whether [`labels`] reads a column of this kind.
pub(super) fn is_label(kind: PhysicalType) -> bool {
    !matches!(kind, PhysicalType::INT96 | PhysicalType::FIXED_LEN_BYTE_ARRAY)
}

/// The labels of each row as numbers, with 1 for true; a null is none, and so is a text that says
/// neither. A row of a plain column has one.
pub(super) fn labels(reader: &Reader, place: Place) -> Result<Vec<Vec<Option<f64>>>> {
    whole(|| labels_of(reader, place))
}

fn labels_of(reader: &Reader, place: Place) -> Result<Vec<Vec<Option<f64>>>> {
    match column(reader, place)? {
        ColumnReader::DoubleColumnReader(column) => read(column, reader, place, |value| value),
        ColumnReader::FloatColumnReader(column) => read(column, reader, place, f64::from),
        ColumnReader::Int32ColumnReader(column) => read(column, reader, place, f64::from),
        ColumnReader::Int64ColumnReader(column) => read(column, reader, place, |v| v as f64),
        ColumnReader::BoolColumnReader(column) => {
            read(column, reader, place, |v| f64::from(u8::from(v)))
        }
        ColumnReader::ByteArrayColumnReader(column) => {
            let rows = read(column, reader, place, |value: ByteArray| of_text(value.data()))?;
            Ok(rows.into_iter().map(|row| row.into_iter().map(Option::flatten).collect()).collect())
        }
        _ => Err(ParquetError::General("expected a column of labels".to_owned())),
    }
}

/// The number that the text of a label stands for.
fn of_text(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" => Some(1.0),
        "false" | "no" => Some(0.0),
        number => number.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// The texts or binaries of each row.
pub(super) fn binaries(reader: &Reader, place: Place) -> Result<Vec<Vec<Option<Vec<u8>>>>> {
    whole(|| binaries_of(reader, place))
}

fn binaries_of(reader: &Reader, place: Place) -> Result<Vec<Vec<Option<Vec<u8>>>>> {
    match column(reader, place)? {
        ColumnReader::ByteArrayColumnReader(column) => {
            read(column, reader, place, |value: ByteArray| value.data().to_vec())
        }
        _ => Err(ParquetError::General("expected a column of texts or binaries".to_owned())),
    }
}

fn column(reader: &Reader, place: Place) -> Result<ColumnReader> {
    reader.get_row_group(place.group)?.get_column_reader(place.column)
}

/// Pages before the row are passed over without being decompressed.
fn read<T: DataType, V>(
    mut column: ColumnReaderImpl<T>,
    reader: &Reader,
    place: Place,
    value: impl Fn(T::T) -> V,
) -> Result<Vec<Vec<Option<V>>>> {
    let (mut present, mut repeated, mut values) = (Vec::new(), Vec::new(), Vec::new());
    column.skip_records(place.row)?;
    let mut records = 0;
    while records < place.rows {
        let (more, ..) = column.read_records(
            place.rows - records,
            Some(&mut present),
            Some(&mut repeated),
            &mut values,
        )?;
        if more == 0 {
            return Err(ParquetError::General(format!("row {} is missing", place.row + records)));
        }
        records += more;
    }
    let schema = reader.metadata().file_metadata().schema_descr();
    let leaf = schema.column(place.column);
    let element = element_level(schema.root_schema(), leaf.path().parts());
    let mut values = values.into_iter();
    let mut rows: Vec<Vec<Option<V>>> = Vec::with_capacity(place.rows);
    let levels = if leaf.max_def_level() > 0 { present.len() } else { values.len() };
    for k in 0..levels {
        if repeated.get(k).is_none_or(|level| *level == 0) {
            rows.push(Vec::new());
        }
        let is_present = present.get(k).is_none_or(|level| *level == leaf.max_def_level());
        let Some(row) = rows.last_mut() else { continue };
        // An empty list has a level too, and no element.
        if is_present {
            row.push(values.next().map(&value));
        } else if present[k] >= element {
            row.push(None);
        }
    }
    Ok(rows)
}

/// The definition level from which on there is an element, null or not: 0 outside of lists.
fn element_level(root: &Type, path: &[String]) -> i16 {
    let (mut node, mut level, mut element) = (root, 0, 0);
    for name in path {
        let Some(field) = node.get_fields().iter().find(|field| field.name() == name) else {
            break;
        };
        node = field;
        let repetition = node.get_basic_info().repetition();
        level += i16::from(repetition != Repetition::REQUIRED);
        if repetition == Repetition::REPEATED {
            element = level;
        }
    }
    element
}
