//! Named tensors of one or several safetensors files, mapped into memory.

mod order;
mod read;
mod view;

pub use order::Order;
pub use view::Part;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::Path,
    sync::Arc,
};

use hyperalign_core::input;
use safetensors::{Dtype, SafeTensors};

use super::{
    LoadError, foreign,
    pickle::is_pickle,
    pytorch::{self, Stored},
};

/// The bytes of a file.
#[derive(Debug, Clone)]
enum Bytes {
    Mapped(Arc<memmap2::Mmap>),
    Held(Arc<[u8]>),
    Embedded(&'static [u8]),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
            Self::Embedded(bytes) => bytes,
        }
    }
}

/// One tensor: where its bytes are and what they mean.
#[derive(Debug, Clone)]
struct Entry {
    file: Arc<str>,
    /// What the file calls it, whatever we do.
    key: Arc<str>,
    bytes: Bytes,
    range: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Whether the bytes hold the transpose of a matrix of this shape.
    transposed: bool,
    /// In which order the file has its values.
    order: Order,
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
        let file = input::open(path).map_err(io)?;
        // An empty file cannot be mapped; the parser names what is wrong with it.
        if file.metadata().map_err(io)?.len() == 0 {
            return Self::parse(&path.display().to_string(), Bytes::Embedded(&[]));
        }
        // SAFETY: the map is only read. A weight file that another program shortens while we run
        // would fault, as in every program that maps its model; we write weights beside the
        // target and rename, which leaves an existing map whole.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        if foreign::what_else(&map).is_none() && is_pickle(path, &map) {
            return Err(LoadError::Pickle { file: path.display().to_string() });
        }
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
        let file = input::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Self::parse(&path.display().to_string(), Bytes::Embedded(&[]));
        }
        // SAFETY: as in `open`.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Self::parse_pytorch(&path.display().to_string(), Bytes::Mapped(Arc::new(map)))
    }

    /// Reads a file of weights that is in memory already, of safetensors or of `torch.save`; `name`
    /// stands for it in errors.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are neither.
    pub fn held(name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<Self, LoadError> {
        Self::parse_pytorch(name, Bytes::Held(bytes.into()))
    }

    fn parse_pytorch(name: &str, bytes: Bytes) -> Result<Self, LoadError> {
        // Some publish safetensors under the endings of PyTorch.
        if !pytorch::is_pytorch(bytes.as_ref()) {
            return Self::parse(name, bytes);
        }
        let stored = pytorch::tensors(bytes.as_ref())
            .map_err(|reason| LoadError::PyTorch { file: name.to_owned(), reason })?;
        let file: Arc<str> = name.into();
        let entries = stored.into_iter().map(|stored| {
            let Stored { key, range, dtype, shape, transposed } = stored;
            let (file, bytes) = (file.clone(), bytes.clone());
            let name = key.as_str().into();
            let order = Order::Same;
            (key, Entry { file, key: name, bytes, range, dtype, shape, transposed, order })
        });
        let name = name.to_owned();
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
        if let Some(what) = foreign::what_else(bytes.as_ref()) {
            return Err(LoadError::NoWeightFile { file: name.to_owned(), what });
        }
        let corrupt = |reason: String| LoadError::Corrupt { file: name.to_owned(), reason };
        let (header, metadata) = SafeTensors::read_metadata(bytes.as_ref())
            .map_err(|error| corrupt(foreign::reason(bytes.as_ref(), &error)))?;
        let file: Arc<str> = name.into();
        // Eight bytes of header length come before the header.
        let start = 8 + header;
        let entries = metadata.tensors().into_iter().map(|(key, info)| {
            let (from, to) = info.data_offsets;
            let entry = Entry {
                file: file.clone(),
                key: key.as_str().into(),
                bytes: bytes.clone(),
                range: start + from..start + to,
                dtype: info.dtype,
                shape: info.shape.clone(),
                transposed: false,
                order: Order::Same,
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

    /// The number format that the tensor called `key` is stored in, such as `BF16`.
    pub fn dtype(&self, key: &str) -> Option<String> {
        self.entries.get(key).map(|entry| format!("{:?}", entry.dtype))
    }

    /// Bytes that all tensors take in their files.
    pub fn bytes(&self) -> usize {
        self.entries.values().map(|entry| entry.range.len()).sum()
    }

    /// Whether there is a tensor called `key`.
    pub fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The shape of the tensor called `key`.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|entry| entry.shape.as_slice())
    }

    fn entry(&self, key: &str) -> Result<&Entry, LoadError> {
        self.entries.get(key).ok_or_else(|| {
            let keys = self.entries.keys().map(String::as_str);
            let missing =
                vec![(key.to_owned(), hyperalign_core::nearest(key, keys).map(str::to_owned))];
            LoadError::Keys {
                file: self.name.clone(),
                mismatch: super::KeyMismatch { missing, ..Default::default() },
            }
        })
    }
}
