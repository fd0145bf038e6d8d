//! Named tensors of one or several safetensors files, mapped into memory.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::Path,
    sync::Arc,
};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::{
    LoadError,
    layout::transpose,
    pytorch::{self, Stored},
};

/// The bytes of a file.
#[derive(Debug, Clone)]
enum Bytes {
    Mapped(Arc<memmap2::Mmap>),
    Embedded(&'static [u8]),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Embedded(bytes) => bytes,
        }
    }
}

/// One tensor: where its bytes are and what they mean.
#[derive(Debug, Clone)]
struct Entry {
    file: Arc<str>,
    bytes: Bytes,
    range: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Whether the bytes hold the transpose of a matrix of this shape.
    transposed: bool,
}

/// Named tensors of one or several safetensors files, read when they are asked for.
///
/// The header of a file is parsed and checked when it is opened, so everything that can be wrong
/// with a file is known before the first tensor is taken from it.
#[derive(Debug, Clone, Default)]
pub struct Tensors {
    name: String,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl Tensors {
    /// Opens the safetensors file at `path` by mapping it into memory.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or is not a whole safetensors file.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        // An empty file cannot be mapped; the parser names what is wrong with it.
        if file.metadata().map_err(io)?.len() == 0 {
            return Self::parse(&path.display().to_string(), Bytes::Embedded(&[]));
        }
        // SAFETY: the map is only read. A weight file that another program shortens while we run
        // would fault, as in every program that maps its model; we write weights beside the
        // target and rename, which leaves an existing map whole.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Self::parse(&path.display().to_string(), Bytes::Mapped(Arc::new(map)))
    }

    /// Opens a file of `torch.save`, of which only the dictionary of weights is read: nothing that
    /// is in the file is run. A safetensors file is read as such.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or is neither.
    pub fn open_pytorch(path: &Path) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Self::parse(&path.display().to_string(), Bytes::Embedded(&[]));
        }
        // SAFETY: as in `open`.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        let name = path.display().to_string();
        // Some publish safetensors under the endings of PyTorch.
        if !pytorch::is_archive(&map) {
            return Self::parse(&name, Bytes::Mapped(Arc::new(map)));
        }
        let stored = pytorch::tensors(&map)
            .map_err(|reason| LoadError::PyTorch { file: name.clone(), reason })?;
        let (file, bytes): (Arc<str>, _) = (name.as_str().into(), Bytes::Mapped(Arc::new(map)));
        let entries = stored.into_iter().map(|stored| {
            let Stored { key, range, dtype, shape, transposed } = stored;
            let (file, bytes) = (file.clone(), bytes.clone());
            (key, Entry { file, bytes, range, dtype, shape, transposed })
        });
        Ok(Self { name, entries: entries.collect(), metadata: BTreeMap::new() })
    }

    /// Reads a safetensors file that is part of the program; `name` stands for it in errors.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not a whole safetensors file.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self, LoadError> {
        Self::parse(name, Bytes::Embedded(bytes))
    }

    fn parse(name: &str, bytes: Bytes) -> Result<Self, LoadError> {
        let corrupt = |reason: String| LoadError::Corrupt { file: name.to_owned(), reason };
        let (header, metadata) = SafeTensors::read_metadata(bytes.as_ref())
            .map_err(|error| corrupt(error.to_string()))?;
        let file: Arc<str> = name.into();
        // Eight bytes of header length come before the header.
        let start = 8 + header;
        let entries = metadata.tensors().into_iter().map(|(key, info)| {
            let (from, to) = info.data_offsets;
            let entry = Entry {
                file: file.clone(),
                bytes: bytes.clone(),
                range: start + from..start + to,
                dtype: info.dtype,
                shape: info.shape.clone(),
                transposed: false,
            };
            (key, entry)
        });
        Ok(Self {
            name: name.to_owned(),
            entries: entries.collect(),
            metadata: metadata.metadata().clone().unwrap_or_default().into_iter().collect(),
        })
    }

    /// Puts the shards of a model together; `index` is the file that names them.
    ///
    /// # Errors
    ///
    /// Fails if a key comes twice, or is not in the shard that `weight_map` promises.
    pub(super) fn join(
        index: &str,
        shards: Vec<(String, Self)>,
        weight_map: &HashMap<String, String>,
    ) -> Result<Self, LoadError> {
        let contradiction = |reason| LoadError::Shards { file: index.to_owned(), reason };
        let mut all = Self { name: index.to_owned(), ..Self::default() };
        for (shard, tensors) in shards {
            for (key, entry) in tensors.entries {
                if weight_map.get(&key) != Some(&shard) {
                    return Err(contradiction(format!(
                        "`{key}` is in `{shard}`, where the index does not put it"
                    )));
                }
                all.entries.insert(key, entry);
            }
        }
        match weight_map.iter().find(|(key, _)| !all.entries.contains_key(*key)) {
            Some((key, shard)) => Err(contradiction(format!("`{key}` is not in `{shard}`"))),
            None => Ok(all),
        }
    }

    /// The file, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The strings that the file carries beside its tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Key and shape of every tensor, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry.shape.as_slice()))
    }

    /// Whether there is a tensor called `key`.
    pub fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The shape of the tensor called `key`.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|entry| entry.shape.as_slice())
    }

    /// The same tensors under other names: `rename` returns the new name of a key, or `None` to
    /// leave the tensor out, which is how extras that a published file is known to hold
    /// (`position_ids` buffers) are named and ignored.
    pub fn rename(self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        let entries = self.entries.into_iter();
        let entries = entries.filter_map(|(key, entry)| Some((rename(&key)?, entry))).collect();
        Self { entries, ..self }
    }

    /// The tensors whose keys begin with `prefix`, without it.
    pub fn below(&self, prefix: &str) -> Self {
        self.clone().rename(|key| key.strip_prefix(prefix).map(str::to_owned))
    }

    /// The same tensors, that of `key` seen in another shape of as many elements (a linear layer
    /// that was published as a convolution). Keys that are not there are left alone.
    pub fn reshape(mut self, key: &str, shape: Vec<usize>) -> Self {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.shape.iter().product::<usize>() == shape.iter().product::<usize>()
        {
            entry.shape = shape;
        }
        self
    }

    /// The same tensors, that of `key` cut along its first axis into equal parts called `names`
    /// (queries, keys and values that were published as one matrix). A key that is not there, or
    /// whose rows cannot be dealt out equally, is left alone, for a strict reader to find.
    pub fn split_rows(mut self, key: &str, names: &[String]) -> Self {
        let parts = names.len();
        let fits = |entry: &Entry| {
            !entry.transposed && entry.shape.first().is_some_and(|rows| rows.is_multiple_of(parts))
        };
        if !self.entries.get(key).is_some_and(fits) {
            return self;
        }
        if let Some(whole) = self.entries.remove(key) {
            let size = whole.range.len() / parts;
            for (i, name) in names.iter().enumerate() {
                let start = whole.range.start + i * size;
                let mut part = Entry { range: start..start + size, ..whole.clone() };
                part.shape[0] /= parts;
                self.entries.insert(name.clone(), part);
            }
        }
        self
    }

    /// The same tensors, the matrix of `key` transposed (a linear layer that was published as a
    /// plain matrix). A key that is not there, or is no matrix, is left alone.
    pub fn transpose(mut self, key: &str) -> Self {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.shape.len() == 2
        {
            entry.shape.reverse();
            entry.transposed = !entry.transposed;
        }
        self
    }

    /// The values of the tensor called `key` as `f32`, in the order of the file.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor, if it is not of a floating-point type, or if it holds a
    /// value that is not finite.
    pub fn f32(&self, key: &str) -> Result<Vec<f32>, LoadError> {
        let entry = self.entry(key)?;
        let bytes = &entry.bytes.as_ref()[entry.range.clone()];
        let values: Vec<f32> = match entry.dtype {
            Dtype::F32 => decode(bytes, f32::from_le_bytes),
            Dtype::F16 => decode(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => decode(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => decode(bytes, |b| f64::from_le_bytes(b) as f32),
            other => {
                return Err(LoadError::Dtype {
                    file: entry.file.to_string(),
                    key: key.to_owned(),
                    dtype: format!("{other:?}"),
                });
            }
        };
        if values.iter().all(|value| value.is_finite()) {
            Ok(match (entry.transposed, entry.shape.as_slice()) {
                (true, [columns, rows]) => transpose(&values, *rows, *columns),
                _ => values,
            })
        } else {
            Err(LoadError::NotFinite { file: entry.file.to_string(), key: key.to_owned() })
        }
    }

    /// The values of the integer tensor called `key`.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor, or if it is not of type I64 or I32.
    pub fn i64(&self, key: &str) -> Result<Vec<i64>, LoadError> {
        let entry = self.entry(key)?;
        let bytes = &entry.bytes.as_ref()[entry.range.clone()];
        match entry.dtype {
            Dtype::I64 => Ok(decode(bytes, i64::from_le_bytes)),
            Dtype::I32 => Ok(decode(bytes, |b| i64::from(i32::from_le_bytes(b)))),
            other => Err(LoadError::Dtype {
                file: entry.file.to_string(),
                key: key.to_owned(),
                dtype: format!("{other:?}"),
            }),
        }
    }

    fn entry(&self, key: &str) -> Result<&Entry, LoadError> {
        self.entries.get(key).ok_or_else(|| {
            let missing = vec![(key.to_owned(), super::load::nearest(key, self.entries.keys()))];
            LoadError::Keys {
                file: self.name.clone(),
                mismatch: super::KeyMismatch { missing, ..Default::default() },
            }
        })
    }
}

/// A mapped file guarantees no alignment, so the values are put together from their bytes.
fn decode<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| value(*chunk)).collect()
}
