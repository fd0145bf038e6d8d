//! A network of no weights, an adapter that reads the sample, and noise for both.

use std::cell::RefCell;

use burn::tensor::{Tensor, TensorData};

use crate::{
    contract::{
        AdapterSource, Answer, Conditioning, Denoiser, Fresh, Held, PassStart, Prediction,
        TextWatch,
    },
    lora::{LoraDelta, LoraSet},
    noise::{self, Purpose, Stream},
    testing,
};

/// A network whose answer depends on everything it is told.
pub struct Toy(pub Prediction);

impl Denoiser for Toy {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        let mut context = conditioning.context.clone();
        if let Some(delta) = lora.and_then(|lora| lora.at("layer").first()) {
            context = context.clone() + delta.forward(context);
        }
        let time = timesteps.div_scalar(1000.0).reshape([-1, 1, 1, 1]);
        Answer::from((sample * 0.35 + time).sin() + context.unsqueeze_dim(3))
    }

    fn prediction(&self) -> Prediction {
        self.0
    }
}

/// An update of one layer with this factor in each row.
pub fn update(down: Tensor<3>) -> LoraSet {
    let up = Some(down.ones_like());
    let delta = LoraDelta { down_aux: None, down, up, up_aux: None, scale: 0.1 };
    LoraSet::new([("layer".to_owned(), delta)])
}

/// A new update for each sample at every `every`-th step, and a note of what was asked.
pub struct EveryNth {
    every: usize,
    pub asked: RefCell<Vec<(usize, usize)>>,
}

pub fn every(every: usize) -> EveryNth {
    EveryNth { every, asked: RefCell::default() }
}

impl AdapterSource for EveryNth {
    fn refresh(
        &self,
        i: usize,
        held: Option<&Held>,
        sample: &Tensor<4>,
        _: f64,
        conditioning: &Conditioning,
    ) -> Option<Fresh> {
        self.asked.borrow_mut().push((i, conditioning.batch()));
        (i.is_multiple_of(self.every) || held.is_none()).then(|| {
            let mean = sample.clone().mean_dims(&[1, 2, 3]).reshape([-1, 1, 1]);
            update(mean.add_scalar(i as f64)).into()
        })
    }
}

/// A prompt for each value.
pub fn prompts(values: &[f32]) -> Conditioning {
    let data = TensorData::new(values.to_vec(), [values.len(), 1, 1]);
    Conditioning { context: Tensor::from_data(data, &testing::device()), pooled: None }
}

/// Noise of each seed for step `i`.
pub fn streams(purpose: Purpose, i: usize, seeds: &[u64]) -> Tensor<4> {
    let streams = seeds.iter().map(|seed| Stream::new(*seed, purpose, i as u32, 0));
    noise::normal([1, 1, 2, 2], streams, &testing::device())
}
