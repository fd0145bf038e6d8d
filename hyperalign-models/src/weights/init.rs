//! Initial values that depend on a seed and on nothing else.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, TensorData},
};
use hyperalign_core::noise::{Purpose, Stream};
use sha2::{Digest, Sha256};

use super::{Format, layout::Position};

/// Standard deviation of embeddings and of other free parameters (Radford et al. 2019).
const EMBEDDING_STD: f64 = 0.02;

/// Gives every parameter of a freshly made `module` its value anew, as a function of `seed` and
/// of the parameter's path only.
///
/// burn draws initial values from a generator that the whole process shares, so they would
/// depend on what was made before and on the device. Here each parameter has its own
/// [`Stream`]:
///
/// - weights of linear layers and convolutions: uniform within `1 / sqrt(fan_in)`, which is
///   Kaiming's rule with the gain that PyTorch takes by default (He et al. 2015,
///   arXiv:1502.01852); their biases are 0;
/// - everything else, embeddings among it: normal with standard deviation 0.02;
/// - a parameter that its module made constant stays as it is: norms (ones, zeros), layers that
///   begin at zero so that a residual block begins as the identity, temperatures.
pub fn reinit<M: Module>(module: M, seed: u64) -> M {
    module.map(&mut Filler { position: Position::default(), seed, format: None })
}

/// [`reinit`] with the values in `format`, a parameter at a time; those that stay as they are keep
/// the format of their device. For networks that are timed and not trained.
pub fn reinit_in<M: Module>(module: M, seed: u64, format: Format) -> M {
    module.map(&mut Filler { position: Position::default(), seed, format: Some(format) })
}

struct Filler {
    position: Position,
    seed: u64,
    /// Nothing means the format of each parameter's device.
    format: Option<Format>,
}

impl Filler {
    /// Two streams share numbers only if 64 bits of the hashes of their paths agree.
    fn stream(&self) -> Stream {
        let digest = Sha256::digest(self.position.key());
        let word = |at: usize| {
            u32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]])
        };
        Stream::new(self.seed, Purpose::Init, word(0), word(4))
    }
}

impl ModuleMapper for Filler {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape: [usize; D] = param.lazy_shape().dims();
        let size: usize = shape.iter().product();
        let module = self.position.module();
        let layer = matches!(module, "Linear" | "PointwiseConv") || module.starts_with("Conv");
        let field = self.position.field();
        let bias = layer && field == "bias";
        if !bias && is_constant(&param, layer) {
            return param;
        }
        let mut stream = self.stream();
        let values: Vec<f32> = if bias {
            vec![0.0; size]
        } else if layer {
            // Linear layers are stored [d_input, d_output], convolutions
            // [channels_out, channels_in, height, width].
            let fan_in: usize = if D == 2 { shape[0] } else { shape[1..].iter().product() };
            let bound = (fan_in as f64).sqrt().recip();
            (0..size).map(|_| stream.range(-bound, bound) as f32).collect()
        } else {
            (0..size).map(|_| (EMBEDDING_STD * stream.normal()) as f32).collect()
        };
        let device = param.lazy_device();
        let format = self.format.unwrap_or_else(|| device.settings().float_dtype.into());
        let data = match format.rounded(&self.position, &values, &shape) {
            Some(eight_bit) => eight_bit,
            None => TensorData::new(values, shape),
        };
        let tensor = Tensor::from_data(data, (&device, DType::from(format.float())));
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

/// Whether the module made `param` the same number everywhere. A single random number looks as
/// if it were, so that a layer of one weight counts only where the number is zero.
fn is_constant<const D: usize>(param: &Param<Tensor<D>>, layer: bool) -> bool {
    let values = super::save::values(param.val());
    let same = values.iter().all(|value| *value == values[0]);
    same && (values.len() > 1 || !layer || values[0] == 0.0)
}
