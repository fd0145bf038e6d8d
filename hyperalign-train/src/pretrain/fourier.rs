//! Position embeddings that a vision tower can see.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Tensor, TensorData},
};

/// Root mean square of the features: that of the patch embeddings beside them. At the usual .02
/// the tower saw patches of rms .39 and no places, and judged relations no better than chance.
const RMS: f64 = 0.4;

/// Adds two-dimensional Fourier features to the position embedding of a vision tower (the class
/// token's row stays).
pub(super) fn with_fourier_positions<M: Module>(module: M, device: &Device) -> M {
    module.map(&mut Positions { path: Vec::new(), device: device.clone() })
}

struct Positions {
    path: Vec<String>,
    device: Device,
}

impl ModuleMapper for Positions {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if !(path.contains("vision_model") && path.contains("position_embedding")) {
            return param;
        }
        let [rows, width] = [param.dims()[0], param.dims()[1]];
        let data = TensorData::new(features(rows, width), [rows, width]);
        let features = Tensor::<2>::from_data(data, &self.device.clone().without_autodiff());
        param.map(|old| {
            let features = features.to_device(&old.device()).reshape(old.shape());
            (old + features).detach().require_grad()
        })
    }
}

/// Rows of sines and cosines of the patch's row and column, the class token's row zero.
fn features(rows: usize, width: usize) -> Vec<f32> {
    let edge = ((rows - 1) as f64).sqrt().round() as usize;
    let mut values = vec![0.0; width];
    for patch in 0..rows - 1 {
        let place = [patch / edge, patch % edge].map(|k| (k as f64 + 0.5) / edge as f64);
        for k in 0..width {
            // Four values a frequency: sine and cosine along each axis.
            let angle = std::f64::consts::PI * (1 + k / 4) as f64 / 2.0 * place[k % 2];
            let wave = if k / 2 % 2 == 0 { angle.sin() } else { angle.cos() };
            // High frequencies tell close places apart and matter less.
            let weight = 1.0 / (1 + k / 4) as f64;
            values.push((wave * weight) as f32);
        }
    }
    let square: f32 = values.iter().map(|v| v * v).sum();
    let rms = (f64::from(square) / ((rows - 1) * width) as f64).sqrt();
    values.iter().map(|v| v * (RMS / rms) as f32).collect()
}
