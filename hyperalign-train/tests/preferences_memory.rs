//! Reading preferences takes the memory of a row, not of the set. A test of its own, because the
//! peak that is measured is that of the whole process.

use std::{fs::File, path::Path, sync::Arc};

use hyperalign_core::memory;
use hyperalign_train::data::Preferences;
use parquet::{
    data_type::{ByteArray, ByteArrayType, DoubleType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

/// Of Pick-a-Pic, what is read.
const SCHEMA: &str = "message set {
    REQUIRED BINARY caption (UTF8);
    REQUIRED BINARY jpg_0;
    REQUIRED BINARY jpg_1;
    REQUIRED DOUBLE label_0;
}";
const GROUPS: usize = 12;
const ROWS: usize = 50;
/// Bytes of a picture's file.
const PICTURE: usize = 64 << 10;

/// A file of 75 MiB, most of it pictures.
fn write(path: &Path) -> parquet::errors::Result<()> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder().set_dictionary_enabled(false);
    // Pages of a megabyte, as pyarrow writes them.
    let properties = Arc::new(properties.set_write_batch_size(4).build());
    let mut writer = SerializedFileWriter::new(File::create(path)?, schema, properties)?;
    for group in 0..GROUPS {
        let mut group_writer = writer.next_row_group()?;
        for column in 0..4 {
            let mut column_writer = group_writer.next_column()?.expect("a column of four");
            if column == 3 {
                let labels: Vec<f64> = (0..ROWS).map(|row| (row % 2) as f64).collect();
                column_writer.typed::<DoubleType>().write_batch(&labels, None, None)?;
            } else {
                for row in 0..ROWS {
                    let value = match column {
                        0 => format!("picture {group} {row}").into_bytes(),
                        _ => vec![(group + row * column) as u8; PICTURE],
                    };
                    let values = [ByteArray::from(value)];
                    column_writer.typed::<ByteArrayType>().write_batch(&values, None, None)?;
                }
            }
            column_writer.close()?;
        }
        group_writer.close()?;
    }
    writer.close()?;
    Ok(())
}

#[test]
fn memory_does_not_grow_with_the_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.parquet");
    write(&path).unwrap();
    assert!(path.metadata().unwrap().len() > 72 << 20);
    let Some(before) = memory::peak() else {
        return; // This system does not tell.
    };
    let preferences = Preferences::open(&path, 1).unwrap();
    assert_eq!(preferences.len(), GROUPS * ROWS);
    for index in 0..preferences.len() as u64 {
        let pair = preferences.pair(index).unwrap();
        assert_eq!((pair.preferred.len(), pair.rejected.len()), (PICTURE, PICTURE));
    }
    let grown = memory::peak().map_or(0, |after| after - before) >> 20;
    assert!(grown < 16, "reading 75 MiB of pictures one by one took {grown} MiB");
}
