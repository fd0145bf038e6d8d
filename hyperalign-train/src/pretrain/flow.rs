//! The stage of emoji-flux: two text encoders and the transformer, trained together.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    contract::Prediction,
    diffusion::Process,
    noise::{Purpose, Stream},
};
use hyperalign_models::{
    base::logit_normal,
    clip::ClipTextModel,
    flux::{FluxInput, FluxTransformer, image_positions, pack, text_positions},
    t5::T5EncoderModel,
};

use super::{
    latents::{Draw, Drawn, LatentSet},
    places::{fixed_readout, places_loss},
};
use crate::learner::{Emit, Metric, Names, Objective, Part, Shard};

/// What this stage trains. The text encoders learn from the transformer, and from the sides
/// that captions speak of.
#[derive(Module, Debug)]
pub struct TextToVelocity {
    /// Gives the pooled text.
    pub text_encoder: ClipTextModel,
    /// Gives the token states.
    pub text_encoder_2: T5EncoderModel,
    /// The flow.
    pub transformer: FluxTransformer,
}

/// The squared error of the velocity `noise - original` at a logit-normal time (Liu et al. 2022,
/// arXiv:2209.03003, eq. 1; Esser et al. 2024, arXiv:2403.03206, section 3.1).
#[derive(Debug)]
pub struct FlowObjective {
    /// Seed of the batches and their noise.
    pub seed: u64,
    /// Latents an update.
    pub batch: usize,
    /// Probability that a caption is replaced by the empty one, for classifier-free guidance
    /// (Ho & Salimans 2022, arXiv:2207.12598).
    pub caption_dropout: f64,
    /// Captions with a relation an update, for the sides that they speak of.
    pub related: usize,
    /// Weight of the sides that the texts' states tell; without it the text encoders stay blind
    /// to relations.
    pub sides_weight: f64,
    /// The data.
    pub data: LatentSet,
    /// Token ids of the empty caption.
    pub empty: Vec<u32>,
    /// The autodiff device.
    pub device: Device,
}

impl Objective for FlowObjective {
    type Module = TextToVelocity;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec!["flow"], metrics: vec!["flow", "sides"] }
    }

    fn prepare(&self, _: &TextToVelocity, _: u64) {}

    fn losses(
        &self,
        model: &TextToVelocity,
        (): &(),
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let samples = shard.samples(self.batch);
        let timesteps: Vec<f64> = samples
            .clone()
            .map(|k| Stream::new(self.seed, Purpose::Timestep, update as u32, k as u32))
            .map(|mut stream| logit_normal(&mut stream))
            .collect();
        let related = shard.samples(self.related);
        let draw = Draw {
            data: &self.data,
            seed: self.seed,
            caption_dropout: self.caption_dropout,
            empty: &self.empty,
            device: &self.device,
        };
        let Drawn { original, noise, ids } = draw.draw(update, samples);
        let levels = Process::RectifiedFlow.levels(&timesteps, &self.device);
        let sample = levels.mix(original.clone(), noise.clone());
        let target = pack(levels.target(Prediction::Velocity, original, noise));

        let pooled = model.text_encoder.forward(ids.clone()).pooled;
        let context = model.text_encoder_2.forward(ids, None);
        let [_, tokens, _] = context.dims();

        let (related, sides) = draw.related(update, related);
        let told = |state: Tensor<2>| {
            let [_, features] = state.dims();
            let told = state.matmul(fixed_readout(self.seed, features, &self.device));
            places_loss(told, sides.iter().copied())
        };
        let states = model.text_encoder_2.forward(related.clone(), None);
        let sides = told(model.text_encoder.forward(related).pooled)
            + told(states.mean_dim(1).squeeze_dim(1));
        let [_, _, height, width] = sample.dims();
        let times: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        let input = FluxInput {
            tokens: pack(sample),
            timesteps: Tensor::from_data(&times[..], &self.device),
            guidance: None,
            pooled,
            context,
            text_positions: text_positions(tokens),
            image_positions: image_positions([height, width]),
        };
        let flow = (model.transformer.forward(input, None) - target).square().mean();
        let value = |loss: &Tensor<1>| f64::from(loss.clone().detach().into_scalar::<f32>());
        emit.metric(Metric::new("flow", value(&flow)));
        emit.metric(Metric::new("sides", value(&sides)));
        emit.part(Part::new("flow", 1.0, flow + sides * self.sides_weight));
    }
}
