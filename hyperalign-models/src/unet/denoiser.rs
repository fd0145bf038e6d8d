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
    fn answer(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        Answer::from(self.unet.forward(sample, timesteps, conditioning.context.clone(), lora))
    }

    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        let Some(start) = start.and_then(PassStart::get::<UnetStart>) else {
            return self.answer(sample, timesteps, conditioning, lora, watch);
        };
        let context = conditioning.context.clone();
        self.unet.forward_from(start, sample, timesteps, context, lora).into()
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }
}
