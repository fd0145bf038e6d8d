//! Reference files of methods that work while a picture is sampled: every sample that a made-up
//! network is asked about.

use std::{cell::RefCell, collections::BTreeMap};

use burn::tensor::{Tensor, TensorData, activation::sigmoid};
use hyperalign_core::{
    contract::{
        Answer, Conditioning, Decoder, Denoiser, PassStart, Prediction, Prompt, Reads, Reward,
        TextWatch,
    },
    guidance::ClassifierFreeGuidance,
    lora::LoraSet,
    one_picture::{Draws, Noun, OnePicture, Unlimited},
    sampler::Sampler,
    schedule::SchedulerConfig,
};
use hyperalign_models::generate::TestTime;
use miette::{IntoDiagnostic, miette};

use super::{checks::Checks, golden::Golden};

/// What the file was made with.
#[derive(serde::Deserialize)]
struct Config {
    seed: u64,
    steps: usize,
    guidance_scale: f64,
    prompt: f32,
    shape: [usize; 3],
    runs: BTreeMap<String, TestTime>,
}

/// `test_time*`: each entry of `runs` is a method with its settings.
pub(super) fn methods(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: Config = golden.config()?;
    let device = checks.device.clone();
    let plan = SchedulerConfig::stable_diffusion().ddim(config.steps, 1.0).into_diagnostic()?;
    let context = |value: f32| Conditioning {
        context: Tensor::from_data(TensorData::new(vec![value], [1, 1, 1]), &device),
        pooled: None,
    };
    let (told, untold) = (context(config.prompt), context(0.0));
    let nouns = [Noun { tokens: vec![0], attributes: vec![vec![1]] }];
    for (name, method) in &config.runs {
        let guided = ClassifierFreeGuidance::new(&MadeUp, untold.clone(), config.guidance_scale);
        let network = Recording { inner: guided, looked_at: RefCell::default() };
        let found = method.run(&OnePicture {
            sampler: Sampler::new(&network, &plan, &told),
            conditioning: &told,
            decoder: &MadeUp,
            reward: &MadeUp,
            prompt: &Prompt::default(),
            nouns: &nouns,
            draws: Draws::new(config.seed, config.shape, &device),
            batch: 8,
            account: &Unlimited,
        });
        let found = found.ok_or_else(|| miette!("`{name}` makes no picture"))?;
        checks.tensor(&format!("out.{name}.latents"), found.latents);
        let looked_at = Tensor::cat(network.looked_at.into_inner(), 0);
        checks.tensor(&format!("out.{name}.looked_at"), looked_at);
    }
    Ok(())
}

/// A network that writes down what it is asked about.
struct Recording<T> {
    inner: T,
    looked_at: RefCell<Vec<Tensor<4>>>,
}

impl<T: Denoiser> Denoiser for Recording<T> {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        self.looked_at.borrow_mut().push(sample.clone().inner());
        self.inner.answer(sample, timesteps, conditioning, lora, watch)
    }

    fn shows_text(&self) -> bool {
        self.inner.shows_text()
    }

    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }
}

/// The functions that stand for network, decoder and reward.
struct MadeUp;

impl Denoiser for MadeUp {
    /// `0.35 x + 0.1 sin(3 x) + 0.05 cos(t / 100) + prompt cos(x)`. Each channel is a token, and is
    /// looked at where it is large.
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        x: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        _: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        if let Some(watch) = watch {
            watch(sigmoid(x.clone()));
        }
        let time = timesteps.div_scalar(100.0).cos().mul_scalar(0.05).reshape([-1, 1, 1, 1]);
        let prompt = conditioning.context.clone().unsqueeze_dim::<4>(3);
        Answer::from(x.clone() * 0.35 + (x.clone() * 3.0).sin() * 0.1 + time + x.cos() * prompt)
    }

    fn shows_text(&self) -> bool {
        true
    }

    fn prediction(&self) -> Prediction {
        Prediction::Epsilon
    }
}

impl Decoder for MadeUp {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let a = latents.clone().slice_dim(1, 0..1);
        let b = latents.slice_dim(1, 1..2);
        Tensor::cat(vec![a.clone(), b.clone(), a * b], 1) * 0.5
    }
}

impl Reward for MadeUp {
    fn name(&self) -> &str {
        "made-up"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    /// The mean of `tanh` of the pixels, weighted from -0.5 to 1 in their order.
    fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
        let [_, channels, height, width] = images.dims();
        let count = channels * height * width;
        let weight = |k: usize| (-0.5 + 1.5 * k as f64 / (count - 1) as f64) as f32;
        let weights = TensorData::new((0..count).map(weight).collect(), [1, count]);
        let weights = Tensor::<2>::from_data(weights, &images.device());
        let pixels: Tensor<2> = images.tanh().flatten(1, 3);
        (pixels * weights).mean_dim(1).squeeze_dim(1)
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn reads(&self) -> Reads {
        Reads::Tensors
    }
}
