//! The network as the sampler reads it.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Answer, Conditioning, Denoiser, PassStart, Prediction, TextWatch},
    lora::LoraSet,
};

use super::{Unet, UnetStart};

/// A [`Unet`] together with what it was trained to predict.
#[derive(Debug, Clone)]
pub struct UnetDenoiser {
    /// The network.
    pub unet: Unet,
    /// What its output means; the `prediction_type` of the folder's scheduler.
    pub prediction: Prediction,
}

impl Denoiser for UnetDenoiser {
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        let context = conditioning.context.clone();
        let output = match start.and_then(PassStart::get::<UnetStart>) {
            Some(start) => self.unet.forward_from(start, sample, timesteps, context, lora),
            None => self.unet.forward(sample, timesteps, context, lora),
        };
        output.into()
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }
}
