//! The smallest base that has everything, for tests.

use burn::{
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor, TensorData},
};
use hyperalign_core::{
    contract::{Conditioning, Decoder, Denoiser, Prediction},
    diffusion::Process,
    guidance::ClassifierFreeGuidance,
    lora::{LoraScope, LoraSet, LoraTarget, linear_with_lora},
    noise::{Purpose, Stream},
    schedule::{Scheduler, SchedulerConfig, Solver, SolverChoice},
};
use hyperalign_models::{
    base::{Base, BaseError},
    hypernet::{
        Adapter, AdapterKind, AdapterMeta, HypernetConfig, Perception, StaticLoraConfig, Variant,
    },
    testing::shaken,
    weights::reinit,
};
use hyperalign_rewards::{Prompt, Reads, Reward, emoji};

const CHANNELS: usize = 3;
const EDGE: usize = 8;
const DIM: usize = 8;

/// One linear layer on the channels, shifted by the prompt; decoded by enlarging.
pub struct ToyBase {
    proj: Linear,
    config: SchedulerConfig,
    process: Process,
}

impl ToyBase {
    pub fn new() -> Self {
        let config = SchedulerConfig::stable_diffusion();
        let proj = LinearConfig::new(CHANNELS, CHANNELS).init(&Device::flex());
        Self { proj: reinit(proj, 1), process: config.process().unwrap(), config }
    }

    fn target() -> LoraTarget {
        LoraTarget { path: "proj".to_owned(), d_input: CHANNELS, d_output: CHANNELS }
    }
}

impl Denoiser for ToyBase {
    fn predict(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
    ) -> Tensor<4> {
        let [batch, channels, height, width] = sample.dims();
        let tokens = sample.clone().flatten::<3>(2, 3).swap_dims(1, 2);
        let update = LoraScope::root(lora).get("proj");
        let mixed = linear_with_lora(&self.proj, tokens, update).swap_dims(1, 2);
        let mixed = mixed.reshape([batch, channels, height, width]);
        let prompt = conditioning.context.clone().mean_dim(1).slice([0..batch, 0..1, 0..channels]);
        let share = (timesteps / 1000.0).reshape([batch, 1, 1, 1]);
        sample * share + mixed.tanh() * 0.5 - prompt.reshape([batch, channels, 1, 1])
    }

    fn prediction(&self) -> Prediction {
        self.config.prediction_type
    }
}

impl Decoder for ToyBase {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = latents.dims();
        let times = emoji::SIZE / EDGE;
        let wide: Tensor<6> = latents.reshape([batch, channels, height, 1, width, 1]);
        let wide = wide.repeat(&[1, 1, 1, times, 1, times]);
        wide.reshape([batch, channels, height * times, width * times]).tanh()
    }
}

impl Perception for ToyBase {
    fn features_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        _: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<4> {
        assert!(depth.is_none(), "an encoder of one depth");
        let [batch, _, height, width] = sample.dims();
        let prompt = conditioning.context.clone().mean_dim(1).reshape([batch, DIM, 1, 1]);
        Tensor::cat(vec![sample, prompt.expand([batch, DIM, height, width])], 1)
    }
}

impl Base for ToyBase {
    fn name(&self) -> &str {
        "toy"
    }

    fn hash(&self) -> &str {
        "toy"
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn draw_timestep(&self, stream: &mut Stream) -> f64 {
        stream.below(1000) as f64
    }

    fn guided(&self, unconditional: Conditioning, guidance_scale: f64) -> Box<dyn Denoiser + '_> {
        Box::new(ClassifierFreeGuidance::new(self, unconditional, guidance_scale))
    }

    fn downscale(&self) -> usize {
        emoji::SIZE / EDGE
    }

    fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
        _: [usize; 3],
    ) -> Result<Box<dyn Scheduler>, BaseError> {
        self.config.plan(steps, choice).map_err(|error| BaseError(Box::new(error)))
    }

    fn solver(&self, choice: SolverChoice) -> Result<Solver, BaseError> {
        self.config.solver(choice).map_err(|error| BaseError(Box::new(error)))
    }

    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError> {
        const TOKENS: usize = 12;
        let known = emoji::vocabulary();
        let mut values = Vec::new();
        for prompt in prompts {
            let words: Vec<&str> = prompt.split_whitespace().collect();
            if let Some(word) = words.iter().find(|word| !known.iter().any(|k| k == *word)) {
                return Err(BaseError(format!("unknown word {word}").into()));
            }
            for token in 0..TOKENS {
                let seed = words.get(token).map_or(0, |word| {
                    word.bytes().fold(7, |sum: u64, byte| sum * 31 + u64::from(byte))
                });
                let mut stream = Stream::new(seed, Purpose::Init, 0, 0);
                values.extend((0..DIM).map(|_| stream.normal() as f32));
            }
        }
        let context = TensorData::new(values, [prompts.len(), TOKENS, DIM]);
        Ok(Conditioning { context: Tensor::from_data(context, &Device::flex()), pooled: None })
    }

    fn unconditional(&self) -> Conditioning {
        self.encode_prompts(&[String::new()]).unwrap()
    }

    fn encode_images(&self, images: Tensor<4>) -> Tensor<4> {
        images.slice(burn::tensor::s![.., .., 0..EDGE, 0..EDGE])
    }

    fn latent_shape(&self) -> [usize; 3] {
        [CHANNELS, EDGE, EDGE]
    }

    fn lora_targets(&self) -> Vec<LoraTarget> {
        vec![Self::target()]
    }

    fn feature_dim(&self, _: Option<usize>) -> usize {
        CHANNELS + DIM
    }

    fn context_dim(&self) -> usize {
        DIM
    }
}

/// What an adapter file of [`adapter`] says.
pub fn meta() -> AdapterMeta {
    let config = HypernetConfig {
        rank: 2,
        a: 4,
        b: 4,
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(vec![ToyBase::target()], CHANNELS + DIM, DIM)
    };
    AdapterMeta::new("toy", "toy", Variant::S, AdapterKind::Hypernet(config))
}

/// A hypernetwork for the toy base; `strength` of noise on every weight stands for training.
pub fn adapter(seed: u64, strength: f64) -> Adapter {
    let adapter = meta().init(seed, &Device::flex()).unwrap();
    if strength == 0.0 { adapter } else { shaken(adapter, strength) }
}

/// A static LoRA that does something.
pub fn static_lora() -> Adapter {
    let config = StaticLoraConfig { rank: 2, alpha: 2.0, targets: vec![ToyBase::target()] };
    let meta = AdapterMeta::new("toy", "toy", Variant::S, AdapterKind::StaticLora(config));
    shaken(meta.init(1, &Device::flex()).unwrap(), 0.5)
}

/// The mean of a picture's values.
pub struct Brightness;

impl Reward for Brightness {
    fn name(&self) -> &str {
        "brightness"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
        let pixels: Tensor<2> = images.flatten(1, 3);
        pixels.mean_dim(1).squeeze_dim(1)
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn reads(&self) -> Reads {
        Reads::Tensors
    }
}
