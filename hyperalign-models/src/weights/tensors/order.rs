//! Orders that the values of a tensor may lie in.

/// In which order a file has the values of a tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// In ours.
    #[default]
    Same,
    /// The second half of the rows comes first.
    SwappedHalves,
    /// Each row is of the channels of four neighbouring pixels, and has for each channel its four
    /// values (upper left, upper right, lower left, lower right), as torch's `Unfold` gives them.
    /// Ours has for each pixel (upper left, lower left, upper right, lower right) its channels, as
    /// Swin is published.
    Unfolded,
}

/// Our pixel of four neighbours, by that of `Unfold`.
const PIXELS: [usize; 4] = [0, 2, 1, 3];

impl Order {
    /// Brings values of the file into our order. `shape` is that of the tensor.
    pub(in crate::weights) fn to_ours<T: Copy>(self, values: &mut [T], shape: &[usize]) {
        match self {
            Self::Same => {}
            Self::SwappedHalves => values.rotate_left(values.len() / 2),
            Self::Unfolded => {
                permute(values, shape, |file, channels| PIXELS[file % 4] * channels + file / 4)
            }
        }
    }

    /// Brings values of ours into the order of the file.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn to_theirs<T: Copy>(self, values: &mut [T], shape: &[usize]) {
        match self {
            Self::Same => {}
            Self::SwappedHalves => values.rotate_right(values.len() / 2),
            Self::Unfolded => permute(values, shape, |ours, channels| {
                ours % channels * 4 + PIXELS[ours / channels]
            }),
        }
    }
}

/// Puts the value at each place of the last axis where `to` says, given the place and a quarter of
/// the axis.
fn permute<T: Copy>(values: &mut [T], shape: &[usize], to: impl Fn(usize, usize) -> usize) {
    let Some(length) = shape.last().copied().filter(|length| *length > 0) else { return };
    if !length.is_multiple_of(4) {
        return;
    }
    for row in values.chunks_exact_mut(length) {
        let before = row.to_vec();
        for (from, value) in before.iter().enumerate() {
            row[to(from, length / 4)] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours() {
        // Two channels of four pixels: the tens are the channel, the ones the pixel of `Unfold`.
        let theirs = [0, 1, 2, 3, 10, 11, 12, 13];
        let ours = [0, 10, 2, 12, 1, 11, 3, 13];
        let mut values = [theirs, theirs].concat();
        Order::Unfolded.to_ours(&mut values, &[2, 8]);
        assert_eq!(values, [ours, ours].concat());
        Order::Unfolded.to_theirs(&mut values, &[2, 8]);
        assert_eq!(values, [theirs, theirs].concat());
    }

    #[test]
    fn halves() {
        let mut values = [1, 2, 3, 4, 5, 6];
        Order::SwappedHalves.to_ours(&mut values, &[2, 3]);
        assert_eq!(values, [4, 5, 6, 1, 2, 3]);
        Order::SwappedHalves.to_theirs(&mut values, &[2, 3]);
        assert_eq!(values, [1, 2, 3, 4, 5, 6]);
    }
}
