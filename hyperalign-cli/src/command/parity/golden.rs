//! Reading a reference file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Int, Tensor, TensorData};
use hyperalign_core::input;
use hyperalign_models::weights::Tensors;
use image::RgbImage;
use miette::{IntoDiagnostic, WrapErr, miette};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// Values that are no weights, as `f64` whatever the file stores them in.
#[derive(Debug, Clone)]
pub(super) struct Values {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
}

/// A reference file: `w.*` weights, `in.*` inputs, and what came out as `out.*`, `tap.*`
/// (intermediate results) and `grad.*`.
pub(super) struct Golden {
    path: PathBuf,
    weights: Tensors,
    values: BTreeMap<String, Values>,
    config: serde_json::Value,
}

impl Golden {
    /// Reads the file at `path`.
    pub(super) fn open(path: &Path) -> miette::Result<Self> {
        let weights = Tensors::open(path).into_diagnostic()?.below("w.");
        let bytes = input::read(path).into_diagnostic()?;
        let file = SafeTensors::deserialize(&bytes).into_diagnostic()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).into_diagnostic()?;
        let meta = header.metadata().as_ref().and_then(|metadata| metadata.get("meta"));
        let meta = meta.ok_or_else(|| miette!("the file has no metadata called `meta`"))?;
        let mut meta: serde_json::Value = serde_json::from_str(meta)
            .into_diagnostic()
            .wrap_err("the metadata `meta` are no JSON")?;
        let config = meta["config"].take();
        let mut values = BTreeMap::new();
        for (name, view) in file.iter().filter(|(name, _)| !name.starts_with("w.")) {
            let numbers = numbers(view.dtype(), view.data())
                .ok_or_else(|| miette!("`{name}` is stored as {:?}", view.dtype()))?;
            let entry = Values { shape: view.shape().to_vec(), values: numbers };
            values.insert(name.to_owned(), entry);
        }
        Ok(Self { path: path.to_owned(), weights, values, config })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The reference file of `component` in the same folder; where there are several, the one
    /// whose name ends like this one's.
    pub(super) fn beside(&self, component: &str) -> miette::Result<Self> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let stem = |path: &Path| {
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let own = stem(&self.path);
        let shared_end = |path: &Path| {
            stem(path).bytes().rev().zip(own.bytes().rev()).take_while(|(a, b)| a == b).count()
        };
        let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_diagnostic()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|kind| kind == "safetensors"))
            .filter(|path| {
                super::components::component(&stem(path)).is_some_and(|(name, _)| name == component)
            })
            .collect();
        found.sort_by_key(|path| (std::cmp::Reverse(shared_end(path)), path.clone()));
        let path = found.first().ok_or_else(|| {
            miette!("the weights are in a file {component}_*.safetensors, which is not beside this")
        })?;
        Self::open(path).wrap_err_with(|| format!("cannot read `{}`", path.display()))
    }

    /// The weights, or those of the file with the longest stem that this one's begins with,
    /// where it has none of its own.
    pub(super) fn weights(&self) -> miette::Result<Tensors> {
        if self.weights.iter().next().is_some() {
            return Ok(self.weights.clone());
        }
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut shorter = stem.as_str();
        while let Some((begin, _)) = shorter.rsplit_once('_') {
            shorter = begin;
            let path = self.path.with_file_name(format!("{begin}.safetensors"));
            if path.is_file() {
                return Ok(Self::open(&path)?.weights);
            }
        }
        Err(miette!("the file has no weights, and none is beside it whose name `{stem}` extends"))
    }

    /// The sizes that the file was made with.
    pub(super) fn config<T: DeserializeOwned>(&self) -> miette::Result<T> {
        serde_json::from_value(self.config.clone())
            .into_diagnostic()
            .wrap_err("the config in the metadata is not that of the component")
    }

    /// The sizes as they stand.
    pub(super) fn json(&self) -> &serde_json::Value {
        &self.config
    }

    /// Names of all tensors but weights.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether there is a tensor called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether there are gradients to compare with. Without them nothing need be on a tape, which
    /// networks of the published sizes have no memory for.
    pub(super) fn has_gradients(&self) -> bool {
        self.names().any(|name| name.starts_with("grad."))
    }

    /// The values called `name`.
    pub(super) fn values(&self, name: &str) -> miette::Result<&Values> {
        self.values.get(name).ok_or_else(|| miette!("the file has no tensor `{name}`"))
    }

    /// The values called `name` as a float tensor.
    pub(super) fn tensor<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> miette::Result<Tensor<D>> {
        let Values { shape, values } = self.values(name)?;
        let shape: [usize; D] = extents(name, shape)?;
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// The values called `name`, `[height, width, 3]`, as a picture of 8 bits.
    pub(super) fn picture(&self, name: &str) -> miette::Result<RgbImage> {
        let Values { shape, values } = self.values(name)?;
        let bytes = values.iter().map(|value| *value as u8).collect();
        let picture = match shape[..] {
            [height, width, 3] => RgbImage::from_raw(width as u32, height as u32, bytes),
            _ => None,
        };
        picture.ok_or_else(|| miette!("`{name}` is not [height, width, 3]"))
    }

    /// The values called `name` as an integer tensor.
    pub(super) fn ids<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> miette::Result<Tensor<D, Int>> {
        let Values { shape, values } = self.values(name)?;
        let shape: [usize; D] = extents(name, shape)?;
        let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }
}

fn extents<const D: usize>(name: &str, shape: &[usize]) -> miette::Result<[usize; D]> {
    shape.try_into().map_err(|_| miette!("`{name}` has {} axes, not {D}", shape.len()))
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| value(*chunk)).collect()
    }
    Some(match dtype {
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        Dtype::F32 => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U8 => each(bytes, |[b]| f64::from(b)),
        _ => return None,
    })
}
