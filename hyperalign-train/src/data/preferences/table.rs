//! One parquet file of preferences, in the schema of Pick-a-Pic or of HPD.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use hyperalign_core::input;
use parquet::{errors::ParquetError, file::reader::FileReader, schema::types::SchemaDescriptor};

use super::{
    Choice, ColumnNames, Found, PreferenceError,
    columns::{self, Disk, Place, Reader, binaries, labels},
    files::Pictures,
    rank,
};

/// Where the columns are. Which of the published schemas it is shows in their names.
#[derive(Debug, Clone, Copy)]
enum Schema {
    /// `caption`, `jpg_0`, `jpg_1`, `label_0`, and in newer versions `has_label`.
    PickAPic { prompt: usize, pictures: [usize; 2], label: usize, has_label: Option<usize> },
    /// `prompt`, and lists: of paths or of pictures, of `human_preference` or `rank`.
    Hpd { prompt: usize, pictures: Lists, order: usize, is_rank: bool },
}

#[derive(Debug, Clone, Copy)]
enum Lists {
    Paths(usize),
    Embedded(usize),
}

impl Schema {
    fn find(schema: &SchemaDescriptor, names: &ColumnNames) -> Option<Self> {
        let leaf = |name: &str| columns::leaf(schema, names.of(name));
        // `datasets` of Hugging Face stores a picture as a group of bytes and path.
        let picture = |name: &str| {
            let within = format!("{}.bytes", names.of(name));
            leaf(name).or_else(|| columns::leaf(schema, &within))
        };
        if let (Some(prompt), Some(first), Some(second), Some(label)) =
            (leaf("caption"), picture("jpg_0"), picture("jpg_1"), leaf("label_0"))
        {
            let has_label = leaf("has_label");
            return Some(Self::PickAPic { prompt, pictures: [first, second], label, has_label });
        }
        let list = |name: &str| columns::list(schema, names.of(name));
        let pictures = match (list("images"), list("image_path")) {
            (Some(column), _) => Lists::Embedded(column),
            (None, column) => Lists::Paths(column?),
        };
        let (order, is_rank) = match list("human_preference") {
            Some(column) => (column, false),
            None => (list("rank")?, true),
        };
        Some(Self::Hpd { prompt: leaf("prompt")?, pictures, order, is_rank })
    }

    /// The columns of texts and pictures, and those of labels.
    fn columns(self) -> (Vec<usize>, Vec<usize>) {
        match self {
            Self::PickAPic { prompt, pictures: [first, second], label, has_label } => {
                let labels = std::iter::once(label).chain(has_label).collect();
                (vec![prompt, first, second], labels)
            }
            Self::Hpd { prompt, pictures, order, .. } => {
                let (Lists::Paths(pictures) | Lists::Embedded(pictures)) = pictures;
                (vec![prompt, pictures], vec![order])
            }
        }
    }

    fn prompt(self) -> usize {
        match self {
            Self::PickAPic { prompt, .. } | Self::Hpd { prompt, .. } => prompt,
        }
    }
}

/// One file. It is opened for a moment at a time.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    schema: Schema,
}

impl Table {
    /// Opens the file at `path` and tells `found` of every row with a preferred picture. Of each
    /// row only the labels and the caption are read.
    pub(super) fn open(
        path: &Path,
        names: &ColumnNames,
        found: &mut dyn FnMut(Found),
    ) -> Result<Self, PreferenceError> {
        let damaged = damaged(path);
        if let Some(what) = head(path)?.as_deref().and_then(input::not_the_file) {
            return Err(PreferenceError::NotTheFile { path: path.to_owned(), what });
        }
        let reader = Disk::open(path.to_owned()).map_err(&damaged)?;
        let metadata = reader.metadata();
        let descriptor = metadata.file_metadata().schema_descr();
        let Some(schema) = Schema::find(descriptor, names) else {
            let mut columns: Vec<String> = Vec::new();
            for column in descriptor.columns() {
                let name = column.path().parts().first().cloned().unwrap_or_default();
                if columns.last() != Some(&name) {
                    columns.push(name);
                }
            }
            let columns = columns.join(", ");
            return Err(PreferenceError::Schema { path: path.to_owned(), columns });
        };
        check_kinds(path, descriptor, schema)?;
        for group in 0..metadata.num_row_groups() {
            let rows = usize::try_from(metadata.row_group(group).num_rows()).unwrap_or_default();
            let place = |column| Place { group, column, row: 0, rows };
            let column = |column| labels(&reader, place(column));
            let choices = choices(schema, &column).map_err(&damaged)?;
            let captions = binaries(&reader, place(schema.prompt())).map_err(&damaged)?;
            for (row, (choice, caption)) in choices.into_iter().zip(captions).enumerate() {
                if let Some([preferred, rejected]) = choice {
                    let (group, row) = (group as u32, row as u32);
                    let pair = Choice { source: 0, group, row, preferred, rejected };
                    found(if is_caption(&caption) {
                        Found::Pair(pair)
                    } else {
                        Found::WithoutCaption
                    });
                }
            }
        }
        Ok(Self { path: path.to_owned(), schema })
    }

    /// The file's footer, which every read of rows needs.
    pub(super) fn reader(&self) -> Result<Reader, PreferenceError> {
        Disk::open(self.path.clone()).map_err(damaged(&self.path))
    }

    /// The prompt of a row.
    pub(super) fn prompt(&self, reader: &Reader, at: Choice) -> Result<String, PreferenceError> {
        let bytes = self.value(reader, at, self.schema.prompt(), 0)?;
        String::from_utf8(bytes).map_err(|_| self.row_error(at, "its prompt is not UTF-8"))
    }

    /// Picture `which` of a row: its file.
    pub(super) fn picture(
        &self,
        reader: &Reader,
        at: Choice,
        which: u16,
        folder: &Pictures,
    ) -> Result<Vec<u8>, PreferenceError> {
        match self.schema {
            Schema::PickAPic { pictures, .. } => {
                self.value(reader, at, pictures[usize::from(which)], 0)
            }
            Schema::Hpd { pictures: Lists::Embedded(column), .. } => {
                self.value(reader, at, column, which.into())
            }
            Schema::Hpd { pictures: Lists::Paths(column), .. } => {
                let path = self.value(reader, at, column, which.into())?;
                folder.read(&String::from_utf8_lossy(&path), &self.path)
            }
        }
    }

    fn value(
        &self,
        reader: &Reader,
        at: Choice,
        column: usize,
        which: usize,
    ) -> Result<Vec<u8>, PreferenceError> {
        let place = Place { group: at.group as usize, column, row: at.row as usize, rows: 1 };
        let rows = binaries(reader, place).map_err(damaged(&self.path))?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().nth(which)).flatten();
        value.ok_or_else(|| self.row_error(at, "a value is missing"))
    }

    /// An error that names a row.
    pub(super) fn row_error(&self, at: Choice, reason: &str) -> PreferenceError {
        PreferenceError::Row {
            path: self.path.clone(),
            place: format!("row {} of row group {}", at.row, at.group),
            reason: reason.to_owned(),
        }
    }
}

/// The first bytes of the file at `path`, where it is too short for a parquet file's own marks or
/// does not begin with them.
fn head(path: &Path) -> Result<Option<Vec<u8>>, PreferenceError> {
    let unreadable = |source| PreferenceError::Unreadable { path: path.to_owned(), source };
    let mut head = Vec::new();
    let file = input::open(path).map_err(unreadable)?;
    file.take(64).read_to_end(&mut head).map_err(unreadable)?;
    Ok((!head.starts_with(b"PAR1")).then_some(head))
}

/// Whether a row has a caption in words.
fn is_caption(row: &[Option<Vec<u8>>]) -> bool {
    let text = row.first().and_then(Option::as_deref).map(std::str::from_utf8);
    text.is_some_and(|text| text.is_ok_and(|text| !text.trim().is_empty()))
}

/// Fails for a column of the schema that holds values of another kind, which is no damage.
fn check_kinds(
    path: &Path,
    descriptor: &SchemaDescriptor,
    schema: Schema,
) -> Result<(), PreferenceError> {
    let (binaries, labels) = schema.columns();
    let binaries = binaries.into_iter().map(|column| (column, columns::is_binary as Kind, BINARY));
    let labels = labels.into_iter().map(|column| (column, columns::is_label as Kind, LABEL));
    for (column, is_known, expected) in binaries.chain(labels) {
        let column = descriptor.column(column);
        let kind = column.physical_type();
        if !is_known(kind) {
            let (path, column) = (path.to_owned(), column.path().string());
            return Err(PreferenceError::Column {
                path,
                column,
                found: kind.to_string(),
                expected,
            });
        }
    }
    Ok(())
}

type Kind = fn(parquet::basic::Type) -> bool;
const BINARY: &str = "texts or binaries (BYTE_ARRAY)";
const LABEL: &str = "numbers, booleans or texts";

type Column = Vec<Vec<Option<f64>>>;

/// The preferred and the other picture of each row of a row group; none for ties and for rows
/// without a label.
fn choices(
    schema: Schema,
    column: &dyn Fn(usize) -> Result<Column, ParquetError>,
) -> Result<Vec<Option<[u16; 2]>>, ParquetError> {
    match schema {
        Schema::PickAPic { label, has_label, .. } => {
            let has_label = has_label.map(column).transpose()?;
            let is_labelled = |row: usize| match &has_label {
                Some(column) => column[row].first().is_some_and(|value| *value == Some(1.0)),
                None => true,
            };
            let choice = |(row, label): (usize, Vec<Option<f64>>)| match label.first() {
                Some(Some(1.0)) if is_labelled(row) => Some([0, 1]),
                Some(Some(0.0)) if is_labelled(row) => Some([1, 0]),
                _ => None,
            };
            Ok(column(label)?.into_iter().enumerate().map(choice).collect())
        }
        Schema::Hpd { order, is_rank, .. } => {
            let choice = |values: Vec<Option<f64>>| {
                let values: Option<Vec<f64>> = values.into_iter().collect();
                rank::best_and_worst(&values?, is_rank)
            };
            Ok(column(order)?.into_iter().map(choice).collect())
        }
    }
}

fn damaged(path: &Path) -> impl Fn(ParquetError) -> PreferenceError {
    move |error| PreferenceError::Parquet { path: path.to_owned(), reason: error.to_string() }
}
