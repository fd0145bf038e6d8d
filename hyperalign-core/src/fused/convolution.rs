//! Convolutions of the CPU backend as products of matrices.
//!
//! A convolution is the product of its weights, a row for each channel that it makes, and of the
//! pieces of the picture that lie below its kernel, a column for each place (Chellapilla et al.
//! 2006). In the layout of burn's tensors a row of that second matrix is made of lines of the picture
//! as they stand, shifted: it is copied, and never rearranged. A few lines of the output at a time
//! keep it within a processor's cache, and the product goes to its place in the output at once.

use gemm::Parallelism;
use rayon::prelude::*;

/// Numbers of a column matrix at a time: half of the cache that a processor has for itself.
const TILE: usize = 1 << 17;
/// Places that a tile has at least: products of fewer columns are slow.
const NARROW: usize = 128;
/// Channels of the input whose weights one thread finds the gradient of.
const BLOCK: usize = 8;

/// The sizes of a convolution without groups and dilation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub batch: usize,
    /// Channels that it reads.
    pub inputs: usize,
    /// Channels that it makes.
    pub outputs: usize,
    /// Height and width of what it reads.
    pub input: [usize; 2],
    /// Height and width of what it makes.
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Zeros above and to the left of the input; fewer than none where the kernel begins inside.
    pub before: [isize; 2],
}

impl Geometry {
    /// Rows of the column matrix.
    fn rows(&self) -> usize {
        self.inputs * self.taps()
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn places(&self) -> usize {
        self.output[0] * self.output[1]
    }

    fn input_size(&self) -> usize {
        self.inputs * self.input[0] * self.input[1]
    }

    fn output_size(&self) -> usize {
        self.outputs * self.places()
    }

    /// Lines of the output of a tile, where the column matrix has `rows` rows.
    fn lines(&self, rows: usize) -> usize {
        let width = self.output[1].max(1);
        (TILE / rows.max(1)).max(NARROW).div_ceil(width).clamp(1, self.output[0].max(1))
    }

    /// The convolution that takes the gradient of the output to that of the input, for strides of 1:
    /// with the kernel turned around, and the channels the other way.
    pub fn turned(&self) -> Self {
        let before = |k: usize| self.kernel[k] as isize - 1 - self.before[k];
        Self {
            inputs: self.outputs,
            outputs: self.inputs,
            input: self.output,
            output: self.input,
            before: [before(0), before(1)],
            ..*self
        }
    }

    /// Appends the rows of the column matrix that belong to `channels` of the input, for the lines
    /// `lines` of the output.
    fn columns(
        &self,
        sample: &[f32],
        channels: std::ops::Range<usize>,
        lines: std::ops::Range<usize>,
        columns: &mut Vec<f32>,
    ) {
        let [height, width] = self.input;
        for channel in channels {
            let picture = &sample[channel * height * width..][..height * width];
            for top in 0..self.kernel[0] {
                for left in 0..self.kernel[1] {
                    for line in lines.clone() {
                        let y = (line * self.stride[0] + top) as isize - self.before[0];
                        let x = left as isize - self.before[1];
                        match usize::try_from(y).ok().filter(|&y| y < height) {
                            Some(y) => self.line(&picture[y * width..][..width], x, columns),
                            None => columns.resize(columns.len() + self.output[1], 0.0),
                        }
                    }
                }
            }
        }
    }

    /// Appends what a tap sees of one line of the picture, the first of it at `x`.
    fn line(&self, line: &[f32], x: isize, columns: &mut Vec<f32>) {
        let (count, stride) = (self.output[1], self.stride[1]);
        if stride == 1 {
            let end = columns.len() + count;
            let zeros = usize::try_from(-x).unwrap_or(0).min(count);
            columns.resize(columns.len() + zeros, 0.0);
            let first = usize::try_from(x).unwrap_or(0).min(line.len());
            let seen = &line[first..line.len().min(first + count - zeros)];
            columns.extend_from_slice(seen);
            columns.resize(end, 0.0);
        } else {
            let place = |k: usize| usize::try_from(x + (k * stride) as isize).ok();
            let at = |k| place(k).and_then(|x| line.get(x)).copied().unwrap_or(0.0);
            columns.extend((0..count).map(at));
        }
    }

    /// Adds the columns of `lines` of the output to the picture that they were seen in.
    fn add_back(&self, columns: &[f32], lines: std::ops::Range<usize>, picture: &mut [f32]) {
        let [height, width] = self.input;
        let mut seen = columns.chunks_exact(self.output[1]);
        for channel in picture.chunks_exact_mut(height * width) {
            for top in 0..self.kernel[0] {
                for left in 0..self.kernel[1] {
                    for line in lines.clone() {
                        let Some(values) = seen.next() else { return };
                        let y = (line * self.stride[0] + top) as isize - self.before[0];
                        let Some(y) = usize::try_from(y).ok().filter(|&y| y < height) else {
                            continue;
                        };
                        let row = &mut channel[y * width..][..width];
                        for (k, value) in values.iter().enumerate() {
                            let x = (k * self.stride[1] + left) as isize - self.before[1];
                            if let Some(to) = usize::try_from(x).ok().and_then(|x| row.get_mut(x)) {
                                *to += value;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A matrix that is read: numbers, and how far apart those of two rows and of two columns lie.
type Matrix<'a> = (&'a [f32], usize, usize);

/// A place for a matrix that many threads write to, each to columns of its own.
#[derive(Clone, Copy)]
struct Place {
    start: *mut f32,
    len: usize,
}

// Threads get columns of their own.
unsafe impl Send for Place {}
unsafe impl Sync for Place {}

/// `left` of `m x k` numbers times `right` of `k x n`, written to `place` from `offset` on, whose rows
/// lie `row` apart; or added to what is there.
///
/// # Safety
///
/// No other thread reads or writes these numbers of `place` meanwhile.
unsafe fn product(
    [m, k, n]: [usize; 3],
    left: Matrix<'_>,
    right: Matrix<'_>,
    place: Place,
    (offset, row): (usize, usize),
    is_added: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    let end = |rows: usize, columns: usize, (_, row, column): Matrix<'_>| {
        if rows * columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 }
    };
    assert!(end(m, k, left) <= left.0.len(), "the left matrix is shorter than {m} x {k}");
    assert!(end(k, n, right) <= right.0.len(), "the right matrix is shorter than {k} x {n}");
    assert!(offset + (m - 1) * row + n <= place.len, "the product leaves its place");
    // All three matrices are as long as the sizes ask for, and the caller alone uses the place.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            place.start.add(offset),
            1,
            row as isize,
            is_added,
            left.0.as_ptr(),
            left.2 as isize,
            left.1 as isize,
            right.0.as_ptr(),
            right.2 as isize,
            right.1 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The convolution of `x` by `weight`, and `bias` added.
///
/// # Shapes
///
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[outputs, inputs, kernel, kernel]`
/// - `bias`: `[outputs]`
/// - `y`: `[batch, outputs, height, width]`
pub(super) fn forward(
    g: &Geometry,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let (rows, places, width) = (g.rows(), g.places(), g.output[1]);
    assert_eq!(x.len(), g.batch * g.input_size(), "the input");
    assert_eq!(weight.len(), g.outputs * rows, "the weights");
    assert_eq!(y.len(), g.batch * g.output_size(), "the output");
    if let Some(bias) = bias {
        assert_eq!(bias.len(), g.outputs, "the bias");
        y.par_chunks_mut(places.max(1))
            .zip((0..g.batch * g.outputs).into_par_iter())
            .for_each(|(channel, k)| channel.fill(bias[k % g.outputs]));
    }
    let lines = g.lines(rows);
    let tiles = g.output[0].div_ceil(lines);
    let place = Place { start: y.as_mut_ptr(), len: y.len() };
    (0..g.batch * tiles).into_par_iter().for_each_init(Vec::new, |columns, task| {
        let (sample, tile) = (task / tiles, task % tiles);
        let lines = tile * lines..((tile + 1) * lines).min(g.output[0]);
        let count = lines.len() * width;
        let picture = &x[sample * g.input_size()..][..g.input_size()];
        columns.clear();
        columns.reserve(rows * count);
        let offset = sample * g.output_size() + lines.start * width;
        g.columns(picture, 0..g.inputs, lines, columns);
        let (left, right) = ((weight, rows, 1), (columns.as_slice(), count, 1));
        // Tiles are different places of the output, and no two tasks have the same.
        unsafe {
            product([g.outputs, rows, count], left, right, place, (offset, places), bias.is_some());
        }
    });
}

/// The weights of the convolution [`Geometry::turned`].
pub(super) fn turned_weights(g: &Geometry, weight: &[f32]) -> Vec<f32> {
    let taps = g.taps();
    let mut turned = vec![0.0; weight.len()];
    for output in 0..g.outputs {
        for input in 0..g.inputs {
            let from = &weight[(output * g.inputs + input) * taps..][..taps];
            let to = &mut turned[(input * g.outputs + output) * taps..][..taps];
            to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
        }
    }
    turned
}

/// The gradient of the input, for any strides: `gradient` of the output times the weights, each
/// product added where the kernel saw the input.
pub(super) fn scatter(g: &Geometry, gradient: &[f32], weight: &[f32], d_x: &mut [f32]) {
    let (rows, places, width) = (g.rows(), g.places(), g.output[1]);
    assert_eq!(gradient.len(), g.batch * g.output_size(), "the gradient");
    assert_eq!(weight.len(), g.outputs * rows, "the weights");
    assert_eq!(d_x.len(), g.batch * g.input_size(), "the input");
    let lines = g.lines(rows);
    d_x.par_chunks_mut(g.input_size().max(1)).enumerate().for_each(|(sample, d_x)| {
        let gradient = &gradient[sample * g.output_size()..][..g.output_size()];
        let mut columns = vec![0.0; rows * lines * width];
        for first in (0..g.output[0]).step_by(lines) {
            let lines = first..(first + lines).min(g.output[0]);
            let count = lines.len() * width;
            let place = Place { start: columns.as_mut_ptr(), len: columns.len() };
            let right = (&gradient[first * width..], places, 1);
            // The columns are this thread's own.
            unsafe {
                product(
                    [rows, g.outputs, count],
                    (weight, 1, rows),
                    right,
                    place,
                    (0, count),
                    false,
                );
            }
            g.add_back(&columns, lines, d_x);
        }
    });
}

/// The gradient of the weights. Each thread has channels of the input to itself and adds up samples
/// in their order, so that sums do not depend on the number of threads.
pub(super) fn weight_gradient(g: &Geometry, x: &[f32], gradient: &[f32], d_weight: &mut [f32]) {
    let (rows, places, width) = (g.rows(), g.places(), g.output[1]);
    assert_eq!(x.len(), g.batch * g.input_size(), "the input");
    assert_eq!(gradient.len(), g.batch * g.output_size(), "the gradient");
    assert_eq!(d_weight.len(), g.outputs * rows, "the weights");
    let block_rows = BLOCK * g.taps();
    let lines = g.lines(block_rows);
    // A row for each row of the column matrix: a thread's part lies in one piece.
    let mut sums = vec![0.0; rows * g.outputs];
    sums.par_chunks_mut((block_rows * g.outputs).max(1)).enumerate().for_each(|(block, sums)| {
        let channels = block * BLOCK..((block + 1) * BLOCK).min(g.inputs);
        let rows = channels.len() * g.taps();
        let place = Place { start: sums.as_mut_ptr(), len: sums.len() };
        let mut columns = Vec::new();
        for sample in 0..g.batch {
            let picture = &x[sample * g.input_size()..][..g.input_size()];
            let gradient = &gradient[sample * g.output_size()..][..g.output_size()];
            for first in (0..g.output[0]).step_by(lines) {
                let lines = first..(first + lines).min(g.output[0]);
                let count = lines.len() * width;
                columns.clear();
                g.columns(picture, channels.clone(), lines, &mut columns);
                let (left, right) =
                    ((columns.as_slice(), count, 1), (&gradient[first * width..], 1, places));
                // The sums are this thread's own.
                unsafe {
                    product([rows, count, g.outputs], left, right, place, (0, g.outputs), true);
                }
            }
        }
    });
    for (row, sums) in sums.chunks_exact(g.outputs.max(1)).enumerate() {
        for (output, sum) in sums.iter().enumerate() {
            d_weight[output * rows + row] = *sum;
        }
    }
}
