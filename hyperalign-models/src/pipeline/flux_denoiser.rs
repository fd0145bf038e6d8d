//! FLUX.1 as the sampler reads it.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Answer, Conditioning, Denoiser, PassStart, Prediction, TextWatch},
    lora::LoraSet,
};

use super::Flux;
use crate::flux::{FluxInput, FluxStart, PATCH, image_positions, pack, text_positions, unpack};

/// The guidance weight that a distilled network is told where nobody says otherwise.
const GUIDANCE: f64 = 3.5;

impl Flux {
    /// The image stream after the first `blocks` double blocks as a map, a patch a pixel, and the
    /// beginning of the evaluation that it is.
    pub(super) fn encode(
        &self,
        blocks: usize,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> (Tensor<4>, FluxStart) {
        let [batch, _, height, width] = sample.dims();
        let input = self.input(sample, timesteps, conditioning, GUIDANCE);
        let (tokens, start) = self.transformer.encode_start(input, blocks);
        let dim = tokens.dims()[2];
        let map = tokens.swap_dims(1, 2).reshape([batch, dim, height / PATCH, width / PATCH]);
        (map, start)
    }

    fn input(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        guidance: f64,
    ) -> FluxInput {
        let [_, _, height, width] = sample.dims();
        let told = self.transformer.config().guidance_embeds;
        let pooled = conditioning.pooled.clone();
        FluxInput {
            guidance: told.then(|| timesteps.full_like(guidance)),
            tokens: pack(sample),
            timesteps,
            context: conditioning.context.clone(),
            pooled: pooled.expect("prompts that this model encoded have a pooled text"),
            text_positions: text_positions(conditioning.context.dims()[1]),
            image_positions: image_positions([height, width]),
        }
    }
}

impl Denoiser for Flux {
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        let told = Distilled::new(self, GUIDANCE);
        told.answer_from(start, sample, timesteps, conditioning, lora, watch)
    }

    fn shows_text(&self) -> bool {
        true
    }

    fn prediction(&self) -> Prediction {
        Prediction::Velocity
    }
}

/// A network that is told a guidance weight (Meng et al. 2023, arXiv:2210.03142, section 3.1), if it
/// reads one.
pub(super) struct Distilled<'a> {
    base: &'a Flux,
    guidance_scale: f64,
}

impl<'a> Distilled<'a> {
    pub(super) fn new(base: &'a Flux, guidance_scale: f64) -> Self {
        Self { base, guidance_scale }
    }
}

impl Denoiser for Distilled<'_> {
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        let transformer = &self.base.transformer;
        let size = [sample.dims()[2], sample.dims()[3]];
        let input = self.base.input(sample, timesteps, conditioning, self.guidance_scale);
        // The encoder was told the usual weight. Who looks on wants to see all of it.
        let is_the_usual = self.guidance_scale == GUIDANCE || !transformer.config().guidance_embeds;
        let tokens = match start.and_then(PassStart::get::<FluxStart>) {
            Some(start) if is_the_usual && watch.is_none() => {
                transformer.forward_from(start, input, lora)
            }
            _ => transformer.forward_watched(input, lora, watch),
        };
        unpack(tokens, size).into()
    }

    fn shows_text(&self) -> bool {
        true
    }

    fn prediction(&self) -> Prediction {
        Prediction::Velocity
    }
}
