//! Windows of a feature map, and what is the same for all networks with them.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Added to the scores of tokens that only the shift brought into one window, as in the published
/// code. Its exponential is 0 in f32.
const APART: f32 = -100.0;

/// Cuts a map into windows.
///
/// # Shapes
///
/// - `map`: `[batch, height, width, channels]`, of multiples of `size`
/// - output: `[batch * windows, size * size, channels]`, row by row
pub(super) fn partition(map: Tensor<4>, size: usize) -> Tensor<3> {
    let [batch, height, width, channels] = map.dims();
    let (rows, columns) = (height / size, width / size);
    map.reshape([batch, rows, size, columns, size, channels]).permute([0, 1, 3, 2, 4, 5]).reshape([
        batch * rows * columns,
        size * size,
        channels,
    ])
}

/// Puts the windows of maps of `height` x `width` together again.
pub(super) fn reverse(windows: Tensor<3>, size: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, _, channels] = windows.dims();
    let (rows, columns) = (height / size, width / size);
    let batch = windows.dims()[0] / (rows * columns);
    windows
        .reshape([batch, rows, columns, size, size, channels])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch, height, width, channels])
}

/// For each pair of tokens of a window, the row of the bias table that its offset has: the tokens
/// of the query one after the other, for each those of the key.
///
/// An offset (dy, dx) has row `(dy + size - 1) (2 size - 1) + dx + size - 1`.
fn relative_positions(size: usize) -> Vec<i64> {
    let tokens = size * size;
    let pair = |k: usize| {
        let (query, key) = (k / tokens, k % tokens);
        let down = query / size + size - 1 - key / size;
        let right = query % size + size - 1 - key % size;
        (down * (2 * size - 1) + right) as i64
    };
    (0..tokens * tokens).map(pair).collect()
}

/// [`relative_positions`] as a list for lookups.
pub(super) fn relative_position_index(size: usize, device: &Device) -> Tensor<1, Int> {
    let index = relative_positions(size);
    let count = index.len();
    Tensor::from_data(TensorData::new(index, [count]), device)
}

/// What keeps tokens apart that lie in one window of a shifted map and are no neighbours in the
/// picture (section 3.2 of the paper).
///
/// # Shapes
///
/// - output: `[windows, 1, size * size, size * size]`
pub(super) fn shift_bias(
    [height, width]: [usize; 2],
    size: usize,
    shift: usize,
    device: &Device,
) -> Tensor<4> {
    // Tokens that came around are in the last `shift` rows, those of the window that they came
    // into in the rest of the last `size`.
    let region = |at: usize, extent: usize| match at {
        _ if at + shift >= extent => 2,
        _ if at + size >= extent => 1,
        _ => 0,
    };
    let (rows, columns, tokens) = (height / size, width / size, size * size);
    let mut bias = Vec::with_capacity(rows * columns * tokens * tokens);
    for window in 0..rows * columns {
        let (top, left) = (window / columns * size, window % columns * size);
        let regions: Vec<_> = (0..tokens)
            .map(|token| (region(top + token / size, height), region(left + token % size, width)))
            .collect();
        for query in &regions {
            bias.extend(regions.iter().map(|key| if key == query { 0.0 } else { APART }));
        }
    }
    Tensor::from_data(TensorData::new(bias, [rows * columns, 1, tokens, tokens]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyperalign_core::testing;

    #[test]
    fn windows_round_trip() {
        let device = testing::device();
        let map = Tensor::<1, Int>::arange(0..2 * 6 * 9 * 2, &device).float();
        let map = map.reshape([2, 6, 9, 2]);
        let windows = partition(map.clone(), 3);
        assert_eq!(windows.dims(), [2 * 2 * 3, 9, 2]);
        // The second window of the first row begins at column 3.
        let first: Vec<f32> = windows.clone().slice([1..2, 0..1]).try_into_vec_as().unwrap();
        assert_eq!(first, [6.0, 7.0]);
        let back = reverse(windows, 3, [6, 9]);
        assert_eq!((back - map).abs().max().into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn offsets() {
        // Windows of 2: rows (dy + 1) * 3 + dx + 1.
        let index = relative_positions(2);
        assert_eq!(index[..4], [4, 3, 1, 0], "from the first token to all");
        assert_eq!(index[12..], [8, 7, 5, 4], "from the last token to all");
    }

    #[test]
    fn only_neighbours_see_each_other() {
        let device = testing::device();
        // Shifted by one, the last window has all four regions, each of one token.
        let bias: Vec<f32> = shift_bias([4, 4], 2, 1, &device).try_into_vec_as().unwrap();
        assert!(bias[..16].iter().all(|value| *value == 0.0));
        for (k, value) in bias[48..].iter().enumerate() {
            assert_eq!(*value == 0.0, k / 4 == k % 4, "{k}");
        }
        // Window 1, at the right: columns are apart, rows are not.
        assert_eq!(bias[16..20], [0.0, -100.0, 0.0, -100.0]);
    }
}
