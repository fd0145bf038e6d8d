//! Prompts as tables in parquet files. Only the columns of texts are read, so that sets which hold
//! pictures beside their prompts cost little.

use std::{fs::File, path::Path, sync::Arc};

use hyperalign_core::{caught::caught, input};
use parquet::{
    basic::{Repetition, Type as PhysicalType},
    errors::ParquetError,
    file::reader::{ChunkReader, FileReader, SerializedFileReader},
    record::{Field, Row},
    schema::types::Type,
};

use super::{GROUP, IMAGE, Prompt, PromptFileError, TEXT, entry};

/// The first bytes of every parquet file.
const MAGIC: &[u8] = b"PAR1";

/// The prompts of the file at `path`.
pub(super) fn file(path: &Path) -> Result<Vec<Prompt>, PromptFileError> {
    let unreadable = |source| PromptFileError::Unreadable { path: path.to_owned(), source };
    rows::<File>(path, input::open(path).map_err(unreadable)?)
}

/// The prompts of the `bytes` of a file that errors call `path`.
pub(super) fn bytes(path: &Path, bytes: &[u8]) -> Result<Vec<Prompt>, PromptFileError> {
    if let Some(what) = input::not_the_file(bytes).filter(|_| !bytes.starts_with(MAGIC)) {
        return Err(entry(path, "the whole file".to_owned(), format!("it is {what}")));
    }
    rows(path, bytes::Bytes::copy_from_slice(bytes))
}

/// On a damaged file the parquet crate may panic in the middle of a page; that is an error of the file.
fn rows<R: ChunkReader + 'static>(path: &Path, file: R) -> Result<Vec<Prompt>, PromptFileError> {
    let damaged = |reason: String| entry(path, "as a parquet file".to_owned(), reason);
    let read = || -> Result<Result<Vec<Prompt>, PromptFileError>, ParquetError> {
        let reader = SerializedFileReader::new(file)?;
        let schema = reader.metadata().file_metadata().schema();
        let columns = match Columns::find(path, schema.get_fields()) {
            Ok(columns) => columns,
            Err(error) => return Ok(Err(error)),
        };
        let wanted = Type::group_type_builder(schema.name()).with_fields(columns.fields());
        let rows = reader.get_row_iter(Some(wanted.build()?))?;
        let prompts = rows.enumerate().map(|(index, row)| Ok(columns.prompt(path, index, &row?)));
        prompts.collect()
    };
    match caught(read) {
        Ok(Ok(prompts)) => prompts,
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(panic) => Err(damaged(format!("damaged: {panic}"))),
    }
}

/// The columns of texts that say what a prompt is, is of, and belongs to.
struct Columns {
    text: Arc<Type>,
    group: Option<Arc<Type>>,
    image: Option<Arc<Type>>,
}

impl Columns {
    fn find(path: &Path, fields: &[Arc<Type>]) -> Result<Self, PromptFileError> {
        let is_text = |field: &&Arc<Type>| {
            field.is_primitive()
                && field.get_physical_type() == PhysicalType::BYTE_ARRAY
                && field.get_basic_info().repetition() != Repetition::REPEATED
        };
        let find = |known: &[&str]| {
            let named = |name: &&str| {
                let mut texts = fields.iter().filter(is_text);
                texts.find(|field| field.name().eq_ignore_ascii_case(name)).cloned()
            };
            known.iter().find_map(named)
        };
        let text = find(&TEXT).ok_or_else(|| {
            let names: Vec<_> = fields.iter().map(|field| format!("`{}`", field.name())).collect();
            let reason = format!(
                "no column of texts `prompt`, `caption` or `text` among {}",
                names.join(", ")
            );
            entry(path, "its columns".to_owned(), reason)
        })?;
        Ok(Self { text, group: find(&GROUP), image: find(&IMAGE) })
    }

    fn fields(&self) -> Vec<Arc<Type>> {
        [Some(&self.text), self.group.as_ref(), self.image.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    fn prompt(&self, path: &Path, index: usize, row: &Row) -> Result<Prompt, PromptFileError> {
        let value = |column: &Arc<Type>| -> Result<Option<String>, PromptFileError> {
            let found = row.get_column_iter().find(|(name, _)| *name == column.name());
            let text = match found.map(|(_, field)| field) {
                None | Some(Field::Null) => return Ok(None),
                Some(Field::Str(text)) => Some(text.trim().to_owned()),
                Some(Field::Bytes(bytes)) => {
                    bytes.as_utf8().ok().map(|text| text.trim().to_owned())
                }
                Some(_) => None,
            };
            let told = || {
                let reason = format!("its `{}` is no text in UTF-8", column.name());
                entry(path, format!("row {}", index + 1), reason)
            };
            text.ok_or_else(told).map(|text| (!text.is_empty()).then_some(text))
        };
        let optional = |column: &Option<Arc<Type>>| match column {
            Some(column) => value(column),
            None => Ok(None),
        };
        let text = value(&self.text)?.unwrap_or_default();
        Ok(Prompt { text, group: optional(&self.group)?, image: optional(&self.image)?, row: None })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A set of pictures with captions, as `xtask/golden/preferences.py` makes them.
    fn captions() -> PathBuf {
        let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hyperalign-train/tests");
        sets.join("preferences/pick-a-pic/train-00001-of-00002.parquet")
    }

    #[test]
    fn captions_are_prompts() {
        let prompts = super::super::read(&captions()).unwrap();
        assert!(prompts.iter().all(|prompt| prompt.text.starts_with("picture ")), "{prompts:?}");
        assert!(prompts.len() > 5 && prompts[0].image.is_none());
        let content = std::fs::read(captions()).unwrap();
        assert_eq!(super::super::parse(&captions(), &content).unwrap(), prompts);
    }

    #[test]
    fn what_is_no_table_is_said() {
        let content = std::fs::read(captions()).unwrap();
        let message = |content: &[u8]| {
            super::super::parse(Path::new("p.parquet"), content).unwrap_err().to_string()
        };
        assert!(message(&content[..content.len() / 2]).contains("p.parquet"));
        assert!(message(b"version https://git-lfs.github.com/spec/v1\n").contains("p.parquet"));
        let ranks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hyperalign-train/tests");
        let ranks = ranks.join("preferences/hpd/test.parquet");
        assert!(super::super::read(&ranks).is_ok(), "HPD has a column `prompt`");
    }
}
