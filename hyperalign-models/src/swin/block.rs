//! A block of a Swin, and what halves the map between its stages.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{Device, Tensor, ops::PadMode, s},
};
use hyperalign_core::{fused::gelu, precision::layer_norm};

use super::{
    SwinConfig,
    attention::{Output, WindowAttention},
    model::{NORM_EPS, grid, tokens},
    window::{partition, reverse, shift_bias},
};

/// Attention inside of windows and a two-layer perceptron, each behind a norm and added to its
/// input. Every second block shifts the map by half a window.
#[derive(Module, Debug)]
pub(super) struct SwinBlock {
    layernorm_before: LayerNorm,
    attention: WindowAttention,
    layernorm_after: LayerNorm,
    intermediate: Output,
    output: Output,
    window_size: usize,
    shift: usize,
}

impl SwinBlock {
    /// Block `i` of the stage `stage`.
    pub(super) fn new(config: &SwinConfig, stage: usize, i: usize, device: &Device) -> Self {
        let dim = config.widths()[stage];
        let hidden = (config.mlp_ratio * dim as f64) as usize;
        let norm = || LayerNormConfig::new(dim).with_epsilon(config.layer_norm_eps).init(device);
        let layer =
            |inputs, outputs| Output { dense: LinearConfig::new(inputs, outputs).init(device) };
        let (size, heads) = (config.window_size, config.num_heads[stage]);
        Self {
            layernorm_before: norm(),
            attention: WindowAttention::new(dim, heads, size, config.qkv_bias, device),
            layernorm_after: norm(),
            intermediate: layer(dim, hidden),
            output: layer(hidden, dim),
            window_size: size,
            // Shifted also where one window covers the map: networks were trained so.
            shift: if i % 2 == 1 { size / 2 } else { 0 },
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, height * width, dim]`
    /// - output: the same
    pub(super) fn forward(&self, x: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<3> {
        let size = self.window_size;
        let padded = [height, width].map(|extent| extent.next_multiple_of(size));
        let map = grid(layer_norm(&self.layernorm_before, x.clone()), [height, width]);
        // Behind the norm, and attention sees the zeros: networks were trained so.
        let map = pad(map, padded);
        let attended = if self.shift > 0 {
            let apart = shift_bias(padded, size, self.shift, &map.device());
            let back = self.shift as i64;
            let windows = partition(map.roll(&[-back, -back], &[1, 2]), size);
            let windows = self.attention.forward(windows, Some(apart));
            reverse(windows, size, padded).roll(&[back, back], &[1, 2])
        } else {
            reverse(self.attention.forward(partition(map, size), None), size, padded)
        };
        let x = x + tokens(attended.slice(s![.., 0..height, 0..width, ..]));
        let hidden = self.intermediate.dense.forward(layer_norm(&self.layernorm_after, x.clone()));
        x + self.output.dense.forward(gelu(hidden))
    }
}

/// Fills a map `[batch, height, width, channels]` up with zeros at its right and its bottom.
fn pad(map: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, from_height, from_width, _] = map.dims();
    if [from_height, from_width] == [height, width] {
        return map;
    }
    let missing = [(0, 0), (0, height - from_height), (0, width - from_width), (0, 0)];
    map.pad(missing, PadMode::Constant(0.0))
}

/// Four neighbours to one token of twice the width.
#[derive(Module, Debug)]
pub(super) struct PatchMerging {
    norm: LayerNorm,
    reduction: Linear,
}

impl PatchMerging {
    pub(super) fn new(dim: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(4 * dim).with_epsilon(NORM_EPS).init(device),
            reduction: LinearConfig::new(4 * dim, 2 * dim).with_bias(false).init(device),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, height * width, dim]`
    /// - output: `[batch, ceil(height / 2) * ceil(width / 2), 2 * dim]`
    pub(super) fn forward(&self, x: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<3> {
        let [batch, _, dim] = x.dims();
        let map = grid(x, [height, width]);
        let map = pad(map, [height, width].map(|extent| extent.next_multiple_of(2)));
        let [_, height, width, _] = map.dims();
        let (rows, columns) = (height / 2, width / 2);
        // Upper left, lower left, upper right, lower right.
        let neighbours = map
            .reshape([batch, rows, 2, columns, 2, dim])
            .permute([0, 1, 3, 4, 2, 5])
            .reshape([batch, rows * columns, 4 * dim]);
        self.reduction.forward(layer_norm(&self.norm, neighbours))
    }
}
