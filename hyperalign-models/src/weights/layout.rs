//! How a parameter of a module is stored in a published file.

/// Lists of blocks whose linear layers are most of a network: of FLUX.1 and the U-Net, of T5, and
/// of CLIP.
const BLOCKS: [&str; 4] = ["transformer_blocks", "single_transformer_blocks", "block", "layers"];

/// How the values of a parameter lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As in the module.
    Same,
    /// `[d_input, d_output]` in the module, `[d_output, d_input]` in the file.
    Transposed,
    /// `[d_input, d_output]` in the module, `[d_output, d_input, 1, 1]` in the file.
    Pointwise,
    /// `[1]` in the module, `[]` in the file.
    Scalar,
}

impl Layout {
    /// The shape in the file of a parameter of `shape`.
    pub fn file_shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Self::Transposed, [input, output]) => vec![*output, *input],
            (Self::Pointwise, [input, output]) => vec![*output, *input, 1, 1],
            (Self::Scalar, [1]) => Vec::new(),
            _ => shape.to_vec(),
        }
    }

    /// The values of the file, of `shape`, in the order of the module.
    pub fn to_module<T: Copy + Default>(self, values: Vec<T>, file_shape: &[usize]) -> Vec<T> {
        match (self, file_shape) {
            (Self::Transposed | Self::Pointwise, [rows, columns, ..]) => {
                transpose(&values, *rows, *columns)
            }
            _ => values,
        }
    }

    /// The values of the module, of `shape`, in the order of the file.
    pub fn to_file(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match (self, shape) {
            (Self::Transposed | Self::Pointwise, [rows, columns]) => {
                transpose(&values, *rows, *columns)
            }
            _ => values,
        }
    }
}

/// Transposes a matrix of `rows` by `columns` in tiles that stay in the cache: the plain double
/// loop misses it once for every element of a wide layer.
pub(super) fn transpose<T: Copy + Default>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    const TILE: usize = 32;
    let mut out = vec![T::default(); values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..rows.min(top + TILE) {
                for column in left..columns.min(left + TILE) {
                    out[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    out
}

/// Where a traversal of a module stands.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Name of each module on the way and the kind of the module that holds it.
    stack: Vec<(String, String)>,
}

impl Position {
    pub fn enter(&mut self, name: &str, container: &str) {
        self.stack.push((name.to_owned(), container.to_owned()));
    }

    pub fn exit(&mut self) {
        self.stack.pop();
    }

    /// The type of the module that holds the present parameter, such as `Linear`.
    pub fn module(&self) -> &str {
        self.stack
            .last()
            .map_or("", |(_, container)| container.strip_prefix("Struct:").unwrap_or(container))
    }

    /// The name of the present parameter in its module.
    pub fn field(&self) -> &str {
        self.stack.last().map_or("", |(name, _)| name)
    }

    /// The key of the present parameter in a published file.
    pub fn key(&self) -> String {
        let norm = self.module().ends_with("Norm");
        let last = match self.field() {
            "gamma" if norm => "weight",
            "beta" if norm => "bias",
            field => field,
        };
        let above = self.stack.split_last().map_or(&[][..], |(_, above)| above);
        above
            .iter()
            // A variant of an enum is a choice of ours, not a level of the published network.
            .filter(|(_, container)| !container.starts_with("Enum:"))
            .map(|(name, _)| name.as_str())
            .chain([last])
            .collect::<Vec<_>>()
            .join(".")
    }

    /// Whether the present parameter is the matrix of a linear layer in a block of a transformer.
    pub fn is_matrix_of_block(&self) -> bool {
        let is_in_block = self.stack.iter().any(|(name, _)| BLOCKS.contains(&name.as_str()));
        is_in_block && self.module() == "Linear" && self.field() == "weight"
    }

    /// How the present parameter lies in the file.
    pub fn layout(&self) -> Layout {
        match (self.module(), self.field()) {
            ("Linear", "weight") => Layout::Transposed,
            ("PointwiseConv", "weight") => Layout::Pointwise,
            ("ClipModel", "logit_scale") => Layout::Scalar,
            _ => Layout::Same,
        }
    }
}
