//! The adapter file: one safetensors with everything that is needed to use it.

use std::{collections::BTreeMap, path::Path};

use burn::{module::Module, tensor::Device};
use serde::Deserialize;

use super::{Adapter, AdapterError, AdapterMeta, AdapterPlace};
use crate::weights::{self, FileFloat, SaveError, Tensors};

/// Key of the metadata in the file.
pub(super) const METADATA: &str = "hyperalign";
/// Key of the fingerprint of the weights.
const SHA256: &str = "hyperalign_weights_sha256";
/// Version of the metadata that this program writes and reads.
pub(super) const FORMAT: u32 = 2;

/// The part of [`AdapterMeta`] that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Adapter {
    /// Whether `tensors` are a file that [`save`](Self::save) wrote.
    pub(crate) fn is_one(tensors: &Tensors) -> bool {
        tensors.metadata().contains_key(METADATA)
    }

    /// Writes the adapter, atomically.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written or a weight is not finite.
    pub fn save(&self, path: &Path, meta: &AdapterMeta) -> Result<(), SaveError> {
        let json = serde_json::to_string(meta).expect("metadata is plain data");
        let plain = self.valid();
        let metadata = BTreeMap::from([
            (METADATA.to_owned(), json),
            (SHA256.to_owned(), weights::hash(&plain)),
        ]);
        weights::save(&plain, path, FileFloat::F32, &metadata)
    }

    /// Reads an adapter of any base.
    ///
    /// # Errors
    ///
    /// Fails if the file is damaged, is no adapter, or does not hold what its metadata says.
    pub fn load(path: &Path, device: &Device) -> Result<(Self, AdapterMeta), AdapterError> {
        Self::open(&AdapterPlace::File(path.to_owned()), device)
    }

    /// Reads an adapter of any base, in the program or in a file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn open(
        place: &AdapterPlace,
        device: &Device,
    ) -> Result<(Self, AdapterMeta), AdapterError> {
        let tensors = place.tensors()?;
        let file = || place.to_string();
        let json = tensors
            .metadata()
            .get(METADATA)
            .ok_or_else(|| AdapterError::NotAnAdapter { file: file() })?;
        let damaged = |source| AdapterError::Metadata { file: file(), source };
        // First the number alone: another format may have other fields.
        let Format { format } = serde_json::from_str(json).map_err(damaged)?;
        if format != FORMAT {
            return Err(AdapterError::Format { file: file(), given: format });
        }
        let meta: AdapterMeta = serde_json::from_str(json).map_err(damaged)?;
        let fresh =
            meta.init(0, device).map_err(|source| AdapterError::Config { file: file(), source })?;
        let adapter = weights::load(fresh, &tensors)?;
        // A flipped bit is a number like any other. Files of earlier programs have no fingerprint.
        let recorded = tensors.metadata().get(SHA256);
        if recorded.is_some_and(|recorded| *recorded != weights::hash(&adapter)) {
            return Err(AdapterError::Damaged { file: file() });
        }
        Ok((adapter, meta))
    }
}
