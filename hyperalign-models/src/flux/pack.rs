//! Latents as tokens: patches of two by two.

use burn::tensor::Tensor;

use super::Position;

/// Latents a side of a token.
pub(crate) const PATCH: usize = 2;

/// Packs patches of two by two latents into tokens, row by row; within a token the channel is
/// the slowest index, then the row.
///
/// # Shapes
///
/// - `latents`: `[batch, channels, height, width]`
/// - output: `[batch, height / 2 * width / 2, channels * 4]`
///
/// # Panics
///
/// Panics if a side is odd.
pub fn pack(latents: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = latents.dims();
    assert!(
        height.is_multiple_of(PATCH) && width.is_multiple_of(PATCH),
        "latents of {height} x {width} cannot be cut into patches of {PATCH} x {PATCH}"
    );
    let (rows, columns) = (height / PATCH, width / PATCH);
    latents
        .reshape([batch, channels, rows, PATCH, columns, PATCH])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([batch, rows * columns, channels * PATCH * PATCH])
}

/// The inverse of [`pack`] for latents of `[height, width]`.
///
/// # Shapes
///
/// - `tokens`: `[batch, height / 2 * width / 2, channels * 4]`
/// - output: `[batch, channels, height, width]`
///
/// # Panics
///
/// Panics if the tokens are not those of this size.
pub fn unpack(tokens: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, count, dim] = tokens.dims();
    let (rows, columns, channels) = (height / PATCH, width / PATCH, dim / (PATCH * PATCH));
    assert_eq!(count, rows * columns, "tokens of another size than {height} x {width}");
    tokens
        .reshape([batch, rows, columns, channels, PATCH, PATCH])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([batch, channels, height, width])
}

/// Positions of the tokens of latents of `[height, width]`.
pub fn image_positions([height, width]: [usize; 2]) -> Vec<Position> {
    let columns = width / PATCH;
    (0..height / PATCH)
        .flat_map(|row| (0..columns).map(move |column| [0.0, row as f64, column as f64]))
        .collect()
}

/// Positions of so many text tokens: all at the origin.
pub fn text_positions(tokens: usize) -> Vec<Position> {
    vec![[0.0; 3]; tokens]
}

#[cfg(test)]
mod tests {
    use burn::tensor::Int;
    use hyperalign_core::testing;

    use super::*;

    #[test]
    fn tokens_hold_patches() {
        let device = testing::device();
        let latents = Tensor::<1, Int>::arange(0..48, &device).float().reshape([1, 2, 4, 6]);
        let tokens = pack(latents.clone());
        assert_eq!(tokens.dims(), [1, 6, 8]);
        // The second token: columns 2 and 3 of rows 0 and 1, first of channel 0, then of 1.
        let second: Vec<f32> = tokens.clone().narrow(1, 1, 1).into_data().iter().collect();
        assert_eq!(second, [2.0, 3.0, 8.0, 9.0, 26.0, 27.0, 32.0, 33.0]);
        unpack(tokens, [4, 6]).into_data().assert_eq(&latents.into_data(), true);
        assert_eq!(image_positions([4, 6])[4], [0.0, 1.0, 1.0]);
    }
}
