//! Rows of token ids.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Encoded texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// One row of ids a text, all of the context length.
    pub ids: Vec<Vec<u32>>,
    /// For each text, how many ids of its row come before the padding.
    pub lengths: Vec<usize>,
    /// For each text, the end of it that did not fit into its row.
    pub cut: Vec<Option<String>>,
}

impl Encoded {
    /// The ids as a tensor.
    ///
    /// # Shapes
    ///
    /// - output: `[texts, context_length]`
    pub fn to_tensor(&self, device: &Device) -> Tensor<2, Int> {
        let length = self.ids.first().map_or(0, Vec::len);
        let ids: Vec<i64> = self.ids.iter().flatten().map(|id| i64::from(*id)).collect();
        Tensor::from_data(TensorData::new(ids, [self.ids.len(), length]), device)
    }
}
