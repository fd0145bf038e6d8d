//! The pre-norm transformer that both sides of CLIP share.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{DType, Device, Tensor, module::attention, ops::AttentionModuleOptions},
};
use hyperalign_core::{
    fused::{gelu, silu},
    precision::{is_half, layer_norm, to},
};

use super::{
    HiddenAct,
    step_aware::{Modulation, branches, modulation_of_block},
};
use crate::scope::Scope;

/// What a block of either side needs to know.
pub(super) struct BlockSizes {
    pub(super) dim: usize,
    pub(super) heads: usize,
    pub(super) intermediate: usize,
    pub(super) act: HiddenAct,
    pub(super) eps: f64,
    /// Whether a token sees only those before it and itself.
    pub(super) causal: bool,
    /// Whether a timestep modulates the blocks.
    pub(super) modulated: bool,
}

/// A stack of blocks.
#[derive(Module, Debug)]
pub(super) struct Encoder {
    layers: Vec<EncoderLayer>,
}

impl Encoder {
    /// # Panics
    ///
    /// Panics if the heads do not divide the width.
    pub(super) fn new(sizes: &BlockSizes, layers: usize, device: &Device) -> Self {
        assert!(
            sizes.heads > 0 && sizes.dim.is_multiple_of(sizes.heads),
            "a width of {} cannot be split among {} heads",
            sizes.dim,
            sizes.heads
        );
        Self { layers: (0..layers).map(|_| EncoderLayer::new(sizes, device)).collect() }
    }

    /// The states before the first block and after each, `[batch, tokens, dim]`.
    ///
    /// # Panics
    ///
    /// Panics if a timestep modulates the blocks and there is no `time`, `[batch, dim]`.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        time: Option<&Tensor<2>>,
        scope: &Scope<'_>,
    ) -> Vec<Tensor<3>> {
        let mut states = vec![x.clone()];
        let mut x = x;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, time, &scope.item("layers", i));
            states.push(x.clone());
        }
        states
    }
}

/// One block: attention and a two-layer perceptron, each behind a norm and added to its input.
#[derive(Module, Debug)]
struct EncoderLayer {
    self_attn: SelfAttention,
    layer_norm1: LayerNorm,
    mlp: Mlp,
    layer_norm2: LayerNorm,
    modulation: Option<Linear>,
}

impl EncoderLayer {
    fn new(sizes: &BlockSizes, device: &Device) -> Self {
        let norm = LayerNormConfig::new(sizes.dim).with_epsilon(sizes.eps);
        Self {
            self_attn: SelfAttention::new(sizes, device),
            layer_norm1: norm.init(device),
            mlp: Mlp::new(sizes, device),
            layer_norm2: norm.init(device),
            modulation: sizes.modulated.then(|| modulation_of_block(sizes.dim, device)),
        }
    }

    fn forward(&self, x: Tensor<3>, time: Option<&Tensor<2>>, scope: &Scope<'_>) -> Tensor<3> {
        let [attention, mlp] = match &self.modulation {
            Some(layer) => {
                branches(layer, time.expect("a modulated block is told the timestep")).map(Some)
            }
            None => [None, None],
        };
        let x = branch(x, &self.layer_norm1, attention.as_ref(), |hidden| {
            self.self_attn.forward(hidden, &scope.child("self_attn"))
        });
        branch(x, &self.layer_norm2, mlp.as_ref(), |hidden| {
            self.mlp.forward(hidden, &scope.child("mlp"))
        })
    }
}

/// `x` with what `inner` makes of it behind `norm` added, both as `modulation` has it.
fn branch(
    x: Tensor<3>,
    norm: &LayerNorm,
    modulation: Option<&Modulation>,
    inner: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Tensor<3> {
    let hidden = layer_norm(norm, x.clone());
    match modulation {
        Some(modulation) => x + modulation.leave(inner(modulation.enter(hidden))),
        None => x + inner(hidden),
    }
}

/// Scaled dot-product attention of a sequence to itself
/// (Vaswani et al. 2017, arXiv:1706.03762, eq. 1).
#[derive(Module, Debug)]
struct SelfAttention {
    k_proj: Linear,
    v_proj: Linear,
    q_proj: Linear,
    out_proj: Linear,
    heads: usize,
    causal: bool,
}

impl SelfAttention {
    fn new(sizes: &BlockSizes, device: &Device) -> Self {
        let linear = LinearConfig::new(sizes.dim, sizes.dim);
        Self {
            k_proj: linear.init(device),
            v_proj: linear.init(device),
            q_proj: linear.init(device),
            out_proj: linear.init(device),
            heads: sizes.heads,
            causal: sizes.causal,
        }
    }

    fn forward(&self, x: Tensor<3>, scope: &Scope<'_>) -> Tensor<3> {
        let [batch, tokens, dim] = x.dims();
        let split =
            |x: Tensor<3>| x.reshape([batch, tokens, self.heads, dim / self.heads]).swap_dims(1, 2);
        let q = split(scope.linear("q_proj", &self.q_proj, x.clone()));
        let k = split(scope.linear("k_proj", &self.k_proj, x.clone()));
        let v = split(scope.linear("v_proj", &self.v_proj, x));
        let options = AttentionModuleOptions { is_causal: self.causal, ..Default::default() };
        let dtype = q.dtype();
        let out = match is_half(&q) {
            true => {
                let [q, k, v] = [q, k, v].map(|x| to(x, DType::F32));
                to(attention(q, k, v, None, None, options), dtype)
            }
            false => attention(q, k, v, None, None, options),
        };
        let joined = out.swap_dims(1, 2).reshape([batch, tokens, dim]);
        scope.linear("out_proj", &self.out_proj, joined)
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    act: HiddenAct,
}

impl Mlp {
    fn new(sizes: &BlockSizes, device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(sizes.dim, sizes.intermediate).init(device),
            fc2: LinearConfig::new(sizes.intermediate, sizes.dim).init(device),
            act: sizes.act,
        }
    }

    fn forward(&self, x: Tensor<3>, scope: &Scope<'_>) -> Tensor<3> {
        let x = scope.linear("fc1", &self.fc1, x);
        let x = match self.act {
            // `x sigmoid(1.702 x)`.
            HiddenAct::QuickGelu => silu(x * 1.702) / 1.702,
            HiddenAct::Gelu => gelu(x),
        };
        scope.linear("fc2", &self.fc2, x)
    }
}
