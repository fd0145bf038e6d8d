//! What a LoRA file says, whatever its convention.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use hyperalign_core::lora::{LoraDelta, LoraSet};

use super::{Convention, Layers, Part};

/// The number format of a factor in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Float {
    /// Four bytes.
    F32,
    /// Two bytes, of small range.
    F16,
    /// Two bytes, of small precision.
    Bf16,
}

impl Float {
    /// The format that the header of a file names so. What is wider than four bytes is rounded to
    /// them as it is read.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            _ => Self::F32,
        }
    }

    /// What the header of a file calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    /// `values` in the bytes of a file; those that came from this format have the same bytes again.
    pub(super) fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => {
                values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
            }
            Self::Bf16 => {
                values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
            }
        }
    }
}

/// One of the two matrices of an update.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The values, row by row.
    pub values: Vec<f32>,
    /// The format that they are stored in.
    pub float: Float,
}

impl Factor {
    /// The rows `range`.
    pub(super) fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let values = self.values[range.start * self.columns..range.end * self.columns].to_vec();
        Self { rows: range.len(), values, ..*self }
    }

    /// The columns `range`.
    pub(super) fn columns(&self, range: std::ops::Range<usize>) -> Self {
        let row = |row: &[f32]| row[range.clone()].to_vec();
        let values = self.values.chunks_exact(self.columns.max(1)).flat_map(row).collect();
        Self { columns: range.len(), values, ..*self }
    }

    /// The same with its halves of rows in the other order.
    pub(super) fn swapped(mut self) -> Self {
        let half = self.values.len() / 2;
        self.values.rotate_left(half);
        self
    }

    fn tensor(&self, device: &Device) -> Tensor<2> {
        let values = TensorData::new(self.values.clone(), [self.rows, self.columns]);
        Tensor::from_data(values, device)
    }
}

/// The update of one layer, `alpha / rank * up down`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// `[rank, d_input]`; of a convolution the kernel's numbers are the columns.
    pub down: Factor,
    /// `[d_output, rank]`
    pub up: Factor,
    /// The rank is divided out of it.
    pub alpha: f64,
}

impl Update {
    /// The number of products that it is a sum of.
    pub fn rank(&self) -> usize {
        self.down.rows
    }

    /// What the product is multiplied by.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank() as f64
    }

    /// The update as networks read it, `strength` times as strong.
    pub fn delta(&self, strength: f64, device: &Device) -> LoraDelta {
        LoraDelta {
            down_aux: None,
            down: self.down.tensor(device).transpose().unsqueeze(),
            up: Some(self.up.tensor(device).transpose().unsqueeze()),
            up_aux: None,
            scale: strength * self.scale(),
        }
    }
}

/// The updates of a LoRA file.
#[derive(Debug, Clone)]
pub struct LoraFile {
    /// The file, for messages.
    pub name: String,
    /// The conventions that its modules are named in; nearly always one.
    pub conventions: BTreeSet<Convention>,
    /// By the place of the layer among those of the base.
    pub updates: BTreeMap<usize, Update>,
    /// What the file says about itself.
    pub metadata: BTreeMap<String, String>,
}

impl LoraFile {
    /// The updates of one part of the base as networks read them, `strength` times as strong, by
    /// the paths of the layers in that part.
    pub fn set(&self, layers: &Layers, part: Part, strength: f64, device: &Device) -> LoraSet {
        let own = self.updates.iter().filter(|(layer, _)| layers.all()[**layer].part == part);
        LoraSet::new(own.map(|(layer, update)| {
            (layers.all()[*layer].path.clone(), update.delta(strength, device))
        }))
    }

    /// The updates of a network's layers in `set`, each of one row.
    ///
    /// # Panics
    ///
    /// Panics for a layer that is not in `part`, and for updates of several rows, of several to a
    /// layer, or of whole weights.
    pub fn of_set(name: &str, set: &LoraSet, layers: &Layers, part: Part) -> Self {
        let updates = set.iter().map(|(path, delta)| {
            let layer = layers.find(part, path);
            let layer = layer.unwrap_or_else(|| panic!("{path} is no layer of the base"));
            assert_eq!(set.at(path).len(), 1, "one update of {path}");
            (layer, update_of(delta))
        });
        Self {
            name: name.to_owned(),
            conventions: [Convention::Hyperalign].into(),
            updates: updates.collect(),
            metadata: BTreeMap::new(),
        }
    }
}

/// The update of an adapter, whose outer factors are multiplied into the inner ones: the rank
/// stays.
fn update_of(delta: &LoraDelta) -> Update {
    let LoraDelta { down_aux, down, up, up_aux, scale } = delta.detach();
    let down = match down_aux {
        Some(aux) => aux.unsqueeze::<3>().matmul(down),
        None => down,
    };
    let up = up.expect("a LoRA has two factors");
    let up = match up_aux {
        Some(aux) => up.matmul(aux.unsqueeze::<3>()),
        None => up,
    };
    // `[1, d_input, rank]` here, `[rank, d_input]` in files.
    let factor = |tensor: Tensor<3>| {
        let turned = tensor.squeeze_dim::<2>(0).transpose();
        let [rows, columns] = turned.dims();
        let values = turned.into_data().iter::<f32>().collect();
        Factor { rows, columns, values, float: Float::F32 }
    };
    let (down, up) = (factor(down), factor(up));
    let alpha = scale * down.rows as f64;
    Update { down, up, alpha }
}
