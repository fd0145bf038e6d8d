//! The trained part of the hypernetwork.

use burn::{
    module::{Module, Param},
    nn::{
        LayerNorm, LayerNormConfig, Linear, LinearConfig,
        transformer::{TransformerDecoder, TransformerDecoderConfig, TransformerDecoderInput},
    },
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    contract::{Conditioning, PassStart},
    fused::silu,
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream, normal},
};

use super::{ConfigError, HypernetConfig, Perception, positions};
use crate::{
    timestep_embedding::{Sinusoids, sinusoidal},
    weights::reinit,
};

/// Width of the sinusoidal embedding of the timestep.
const TIME_DIM: usize = 64;

/// What a hypernetwork reads. All of it comes from the frozen base, as constants.
#[derive(Debug, Clone)]
pub struct HypernetInput {
    /// The perception encoder's last map, `[batch, feature_dim, height, width]`.
    pub features: Tensor<4>,
    /// Token states of the text encoder, `[batch, tokens, context_dim]`.
    pub context: Tensor<3>,
    /// Timesteps in the unit of the network, `[batch]`.
    pub timesteps: Tensor<1>,
}

/// Emits a LoRA update per sample (arXiv:2601.15968).
///
/// `delta y = alpha / rank * ((x A_aux) A_hyper) (B_hyper B_aux)`: the inner factors are emitted,
/// the outer ones learned and shared by all samples. `B_aux` starts at zero, so that the aligned
/// model equals the base at the start, bit for bit; the head does not, or nothing would train.
#[derive(Module, Debug)]
pub struct Hypernet {
    feature_mean: Param<Tensor<1>>,
    feature_std: Param<Tensor<1>>,
    context_mean: Param<Tensor<1>>,
    context_std: Param<Tensor<1>>,
    feature_proj: Linear,
    context_proj: Linear,
    film_in: Linear,
    film_out: Linear,
    queries: Param<Tensor<2>>,
    decoder: TransformerDecoder,
    norm: LayerNorm,
    head: Linear,
    down_aux: Vec<Param<Tensor<2>>>,
    up_aux: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    config: HypernetConfig,
}

impl Hypernet {
    /// Names of the layers that the inner factors come out of: all that is trained but
    /// `down_aux` and `up_aux`.
    pub const OWN_LAYERS: [&str; 8] = [
        "feature_proj",
        "context_proj",
        "film_in",
        "film_out",
        "queries",
        "decoder",
        "norm",
        "head",
    ];
}

impl HypernetConfig {
    /// Builds the network with initial values that depend on `seed` alone.
    ///
    /// # Errors
    ///
    /// Fails where [`validate`](Self::validate) does.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Hypernet, ConfigError> {
        self.validate()?;
        let width = self.width;
        let constant = |value: f64, size: usize| {
            Param::from_tensor(Tensor::<1>::full([size], value, device)).set_require_grad(false)
        };
        let linear = |input: usize, output: usize| LinearConfig::new(input, output).init(device);
        let aux = |rows: usize, columns: usize| {
            Param::from_tensor(Tensor::<2>::zeros([rows, columns], device))
        };
        let network = Hypernet {
            feature_mean: constant(0.0, self.feature_dim),
            feature_std: constant(1.0, self.feature_dim),
            context_mean: constant(0.0, self.context_dim),
            context_std: constant(1.0, self.context_dim),
            feature_proj: linear(self.feature_dim, width),
            context_proj: linear(self.context_dim, width),
            film_in: linear(TIME_DIM + self.context_dim, width),
            film_out: linear(width, 2 * width),
            queries: aux(self.targets.len(), width),
            decoder: TransformerDecoderConfig::new(width, 4 * width, self.heads, self.layers)
                .with_dropout(0.0)
                .with_norm_first(true)
                .init(device),
            norm: LayerNormConfig::new(width).init(device),
            head: linear(width, self.token_outputs()),
            down_aux: self.targets.iter().map(|t| aux(t.d_input, self.a)).collect(),
            up_aux: self.targets.iter().map(|t| aux(self.b, t.d_output)).collect(),
            config: self.clone(),
        };
        Ok(network.with_initial_values(seed, device))
    }
}

impl Hypernet {
    /// Sets every trained value that is not zero from counter-based noise: burn's own
    /// initialisers draw from a generator that the whole process shares.
    fn with_initial_values(self, seed: u64, device: &Device) -> Self {
        let config = self.config.clone();
        let mut network = reinit(self, seed);
        let set = |param: Param<Tensor<2>>, value: Tensor<2>| {
            param.map(|old| {
                let value = value.to_device(&old.device());
                if old.is_require_grad() { value.require_grad() } else { value }
            })
        };
        let noise = |step: u32, [rows, columns]: [usize; 2], std: f64| {
            let stream = Stream::new(seed, Purpose::Init, step, u32::MAX);
            normal([1, rows * columns], [stream], device).reshape([rows, columns]) * std
        };
        let head_std = config.head_gain / (config.width as f64).sqrt();
        let head = network.head.weight.dims();
        network.head.weight = set(network.head.weight, noise(0, head, head_std));
        network.down_aux = (1..)
            .zip(network.down_aux)
            .map(|(k, param)| {
                let dims = param.dims();
                set(param, noise(k, dims, 1.0 / (dims[0] as f64).sqrt()))
            })
            .collect();
        network
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &HypernetConfig {
        &self.config
    }

    /// Remembers how the base's features and token states are distributed per channel, so that
    /// the decoder sees values of mean 0 and deviation 1. Without it the update came out nearly
    /// the same for every prompt.
    ///
    /// # Shapes
    ///
    /// - `features`: `[samples, feature_dim, height, width]`
    /// - `context`: `[samples, tokens, context_dim]`
    #[must_use]
    pub fn with_statistics(mut self, features: Tensor<4>, context: Tensor<3>) -> Self {
        let device = self.feature_mean.val().device();
        let fixed = |value: Tensor<1>| {
            Param::from_tensor(value.to_device(&device).detach()).set_require_grad(false)
        };
        let (mean, std) = channel_statistics(tokens(features));
        (self.feature_mean, self.feature_std) = (fixed(mean), fixed(std));
        let (mean, std) = channel_statistics(context);
        (self.context_mean, self.context_std) = (fixed(mean), fixed(std));
        self
    }

    /// What the network reads of a sample: the encoder's map, and times in 0..1000.
    ///
    /// # Shapes
    ///
    /// As of [`Perception::features`].
    pub fn perceive(
        &self,
        perception: &dyn Perception,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> HypernetInput {
        self.perceive_start(perception, sample, timesteps, conditioning).0
    }

    /// [`perceive`](Self::perceive), and the beginning of the base's own evaluation, where the
    /// update that comes of it leaves that as it is.
    pub fn perceive_start(
        &self,
        perception: &dyn Perception,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> (HypernetInput, Option<PassStart>) {
        let depth = self.config.encoder_depth;
        let time = timesteps.clone();
        let (features, start) = match self.is_behind(perception) {
            true => perception.start_at(depth, sample, time, conditioning),
            false => (perception.features_at(depth, sample, time, conditioning), None),
        };
        let timesteps = timesteps * perception.time_scale();
        (HypernetInput { features, context: conditioning.context.clone(), timesteps }, start)
    }

    /// Whether all adapted layers [come behind](Perception::comes_behind) the encoder, so that the
    /// base need not compute again what the network reads.
    fn is_behind(&self, perception: &dyn Perception) -> bool {
        let HypernetConfig { encoder_depth, targets, .. } = &self.config;
        targets.iter().all(|target| perception.comes_behind(*encoder_depth, &target.path))
    }

    /// The update of every adapted layer.
    pub fn forward(&self, input: HypernetInput) -> LoraSet {
        self.forward_with_factors(input).0
    }

    /// The update, and the [`factors`](Self::factors) that it was cut from.
    pub fn forward_with_factors(&self, input: HypernetInput) -> (LoraSet, Tensor<3>) {
        let factors = self.factors(input);
        (self.lora(factors.clone()), factors)
    }

    /// The emitted inner factors, before they are cut into layers.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, targets, rank * (a + b)]`
    pub fn factors(&self, input: HypernetInput) -> Tensor<3> {
        let [batch, _, height, columns] = input.features.dims();
        let HypernetConfig { width, position_scale, .. } = self.config;
        let device = self.queries.val().device();

        let features = standardise(tokens(input.features), &self.feature_mean, &self.feature_std);
        let context = standardise(input.context, &self.context_mean, &self.context_std);
        let grid = positions::grid(height, columns, width, &device) * position_scale;
        let memory = Tensor::cat(
            vec![
                self.feature_proj.forward(features) + grid,
                self.context_proj.forward(context.clone()),
            ],
            1,
        );

        let pooled = context.mean_dim(1).squeeze_dim::<2>(1);
        let time = sinusoidal(input.timesteps, TIME_DIM, Sinusoids::default()).to_device(&device);
        let film = self.film_in.forward(Tensor::cat(vec![time, pooled], 1));
        let film = self.film_out.forward(silu(film)).unsqueeze_dim::<3>(1);
        let (scale, shift) = (film.clone().narrow(2, 0, width), film.narrow(2, width, width));
        let place = positions::sequence(self.config.targets.len(), width, &device) * position_scale;
        let queries = self.queries.val().unsqueeze::<3>() + place;
        let queries = queries.repeat_dim(0, batch) * (scale + 1.0) + shift;

        let decoded = self.decoder.forward(TransformerDecoderInput::new(queries, memory));
        self.head.forward(self.norm.forward(decoded))
    }

    fn lora(&self, factors: Tensor<3>) -> LoraSet {
        let batch = factors.dims()[0];
        let HypernetConfig { rank, a, b, alpha, .. } = self.config;
        // The head's outputs have size 1; these keep the size of the activations at each product.
        let (down_gain, up_gain) = (1.0 / (a as f64).sqrt(), 1.0 / (rank as f64).sqrt());
        LoraSet::new(self.config.targets.iter().enumerate().map(|(k, target)| {
            let token = factors.clone().narrow(1, k, 1);
            let down = token.clone().narrow(2, 0, a * rank).reshape([batch, a, rank]);
            let up = token.narrow(2, a * rank, rank * b).reshape([batch, rank, b]);
            let delta = LoraDelta {
                down_aux: Some(self.down_aux[k].val()),
                down: down * down_gain,
                up: Some(up * up_gain),
                up_aux: Some(self.up_aux[k].val()),
                scale: alpha / rank as f64,
            };
            (target.path.clone(), delta)
        }))
    }
}

/// `[batch, channels, height, width]` to `[batch, height * width, channels]`.
fn tokens(map: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

fn standardise(x: Tensor<3>, mean: &Param<Tensor<1>>, std: &Param<Tensor<1>>) -> Tensor<3> {
    (x.to_device(&mean.val().device()) - mean.val().unsqueeze()) / std.val().unsqueeze()
}

fn channel_statistics(x: Tensor<3>) -> (Tensor<1>, Tensor<1>) {
    let channels = x.dims()[2];
    let (variance, mean) = x.reshape([-1, channels as i32]).var_mean_bias(0);
    // A channel that never changes must not be blown up.
    (mean.squeeze_dim(0), variance.sqrt().clamp_min(1e-3).squeeze_dim(0))
}
