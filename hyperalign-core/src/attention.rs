//! Scaled dot-product attention, fused where no gradient is wanted, and with its scores
//! recomputed in chunks of queries where one is.

use burn::tensor::{
    DType, Tensor, module::attention as fused_attention, ops::AttentionModuleOptions,
};

use crate::{
    fused::softmax,
    precision::{is_half, to},
    recompute::recompute,
};

/// Number of attention scores of one sample and head that are computed at once where a gradient is
/// wanted, and again in the backward pass. The 64 x 64 latents of Stable Diffusion have 16 times
/// as many: 0.5 GiB for eight heads, several times over.
const CHUNK_SCORES: usize = 1 << 20;

/// `softmax(q k^T / sqrt(dim) + bias) v` (Vaswani et al. 2017, arXiv:1706.03762, eq. 1).
///
/// Off the tape this is the backend's fused kernel, which never holds all scores. Burn's own
/// differentiable attention always takes the scores apart into whole tensors and keeps them; on
/// the tape, scores are therefore computed in chunks of queries, are never kept, and are computed
/// again in the backward pass. The scale is never given explicitly: on GPUs that alone would lead
/// away from the fused kernel.
///
/// # Shapes
///
/// - `q`: `[batch, heads, tokens, dim]`
/// - `k`: `[batch, heads, context_tokens, dim]`
/// - `v`: `[batch, heads, context_tokens, value_dim]`
/// - `bias`: added to the scores, `[batch, heads, tokens, context_tokens]`; extents of 1 are
///   shared. A large negative value masks.
/// - output: `[batch, heads, tokens, value_dim]`
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let dtype = q.dtype();
    let tracked = q.is_tracked()
        || k.is_tracked()
        || v.is_tracked()
        || bias.as_ref().is_some_and(Tensor::is_tracked);
    let [batch, heads, tokens, _] = q.dims();
    let context_tokens = k.dims()[2];
    if tracked {
        return chunked(q, k, v, bias, CHUNK_SCORES.div_ceil(context_tokens));
    }
    // GPUs accumulate in f32 themselves; a CPU computes in f32 in any case.
    if is_half(&q) && on_cpu(&q) {
        let [q, k, v] = [q, k, v].map(|x| to(x, DType::F32));
        let bias = bias.map(|bias| to(bias, DType::F32));
        return to(attention(q, k, v, bias), dtype);
    }
    // An autodiff device without a tape would take the scores apart as well.
    let on_autodiff = q.is_autodiff();
    let bias = bias.map(|bias| bias.inner().expand([batch, heads, tokens, context_tokens]));
    let options = AttentionModuleOptions::default();
    let output = fused_attention(q.inner(), k.inner(), v.inner(), None, bias, options);
    if on_autodiff { output.autodiff() } else { output }
}

/// How much each query attends to each key, `softmax(q k^T / sqrt(dim))`, for whoever looks on;
/// [`attention`] itself never holds it.
///
/// # Shapes
///
/// - `q`: `[batch, heads, tokens, dim]`
/// - `k`: `[batch, heads, context_tokens, dim]`
/// - output: `[batch, heads, tokens, context_tokens]`
pub fn attention_weights(q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
    let dim = q.dims()[3];
    // The smaller tensor is scaled, not the scores.
    softmax(q.div_scalar((dim as f64).sqrt()).matmul(k.transpose()))
}

fn on_cpu(x: &Tensor<4>) -> bool {
    #[cfg(feature = "flex")]
    return x.clone().inner().try_into_primitive::<burn::backend::Flex>().is_ok();
    #[cfg(not(feature = "flex"))]
    false
}

/// The same in differentiable operations that keep the scores.
fn plain(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let Some(bias) = bias else { return attention_weights(q, k).matmul(v) };
    let dim = q.dims()[3];
    // The smaller tensor is scaled, not the scores.
    let scores = q.div_scalar((dim as f64).sqrt()).matmul(k.transpose());
    softmax(scores + bias).matmul(v)
}

/// The same, `chunk` queries at a time and without keeping the scores.
fn chunked(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Option<Tensor<4>>,
    chunk: usize,
) -> Tensor<4> {
    let tokens = q.dims()[2];
    let chunks = (0..tokens).step_by(chunk).map(|start| {
        let rows = start..(start + chunk).min(tokens);
        let q = q.clone().slice_dim(2, rows.clone());
        let bias = bias.clone().map(|bias| match bias.dims()[2] {
            1 => bias,
            _ => bias.slice_dim(2, rows),
        });
        match bias {
            Some(bias) => recompute([q, k.clone(), v.clone(), bias], |[q, k, v, bias]| {
                plain(q, k, v, Some(bias))
            }),
            None => recompute([q, k.clone(), v.clone()], |[q, k, v]| plain(q, k, v, None)),
        }
    });
    Tensor::cat(chunks.collect(), 2)
}

#[cfg(test)]
mod tests {
    use crate::testing;

    use super::*;
    use crate::noise::{Purpose, Stream, normal};

    fn random(shape: [usize; 4], index: u32) -> Tensor<4> {
        let mut row = shape;
        row[0] = 1;
        let streams = (0..shape[0] as u32).map(|b| Stream::new(7, Purpose::Init, b, index));
        normal(row, streams, &testing::device())
    }

    fn difference(a: Tensor<4>, b: Tensor<4>) -> f32 {
        (a - b).abs().max().into_scalar()
    }

    /// Queries, keys, values of uneven extents, and biases of every kind of sharing.
    fn inputs() -> ([Tensor<4>; 3], [Option<Tensor<4>>; 4]) {
        let qkv = [random([2, 3, 7, 4], 0), random([2, 3, 5, 4], 1), random([2, 3, 5, 6], 2)];
        let biases = [
            None,
            Some(random([2, 3, 7, 5], 3)),
            Some(random([1, 3, 1, 5], 4)),
            Some(random([2, 1, 7, 5], 5)),
        ];
        (qkv, biases)
    }

    /// One output by hand: no operation of the implementation is used.
    #[test]
    fn definition() {
        let ([q, k, v], biases) = inputs();
        for bias in biases.into_iter().flatten().filter(|bias| bias.dims()[2] == 7) {
            let all = attention(q.clone(), k.clone(), v.clone(), Some(bias.clone()));
            let heads = bias.dims()[1];
            let (row, head, token) = (1, 2, 3);
            let take = |t: &Tensor<4>, head: usize| -> Vec<f32> {
                t.clone().slice([row..row + 1, head..head + 1]).try_into_vec_as().unwrap()
            };
            let (q, k, v) = (take(&q, head), take(&k, head), take(&v, head));
            let bias = take(&bias, head.min(heads - 1));
            let scores: Vec<f32> = (0..5)
                .map(|j| {
                    let dot: f32 = (0..4).map(|d| q[token * 4 + d] * k[j * 4 + d]).sum();
                    (dot / 2.0 + bias[token * 5 + j]).exp()
                })
                .collect();
            let total: f32 = scores.iter().sum();
            let found = take(&all, head);
            for d in 0..6 {
                let expected: f32 = (0..5).map(|j| scores[j] / total * v[j * 6 + d]).sum();
                assert!((found[token * 6 + d] - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn chunked_equals_fused() {
        let ([q, k, v], biases) = inputs();
        for bias in biases {
            let fused = attention(q.clone(), k.clone(), v.clone(), bias.clone());
            for chunk in [1, 3, 7, 100] {
                let found = chunked(q.clone(), k.clone(), v.clone(), bias.clone(), chunk);
                assert!(difference(found, fused.clone()) < 1e-5, "chunk {chunk}");
            }
        }
    }

    #[test]
    fn gradients_do_not_depend_on_the_chunk() {
        let ([q, k, v], biases) = inputs();
        let cotangent = random([2, 3, 7, 6], 9);
        let leaf = |t: &Tensor<4>| t.clone().autodiff().require_grad();
        for bias in biases {
            let gradients = |chunk: Option<usize>| {
                let (q, k, v, bias) = (leaf(&q), leaf(&k), leaf(&v), bias.as_ref().map(leaf));
                let (a, b, c, d) = (q.clone(), k.clone(), v.clone(), bias.clone());
                let output = match chunk {
                    Some(chunk) => chunked(a, b, c, d, chunk),
                    None => plain(a, b, c, d),
                };
                let grads = (output * cotangent.clone()).sum().backward();
                let leaves = [Some(q), Some(k), Some(v), bias];
                leaves.into_iter().flatten().map(|t| t.grad(&grads).unwrap()).collect::<Vec<_>>()
            };
            let plain = gradients(None);
            for chunk in [100, 7, 3, 1] {
                // One chunk is the plain graph, computed twice; several add up in another order.
                let tolerance = if chunk >= 7 { 0.0 } else { 1e-5 };
                for (found, plain) in gradients(Some(chunk)).into_iter().zip(&plain) {
                    assert!(difference(found, plain.clone()) <= tolerance, "chunk {chunk}");
                }
            }
        }
    }

    /// More scores than a chunk has.
    #[test]
    fn many_tokens() {
        let x = random([1, 1, 1100, 2], 0);
        assert!(x.dims()[2].pow(2) > CHUNK_SCORES);
        let gradient = |f: fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<4>>) -> Tensor<4>| {
            let leaf = x.clone().autodiff().require_grad();
            let output = f(leaf.clone(), leaf.clone(), leaf.clone(), None);
            (leaf.grad(&output.clone().sum().backward()).unwrap(), output.inner())
        };
        let ((found, output), (expected, plain)) = (gradient(attention), gradient(plain));
        assert!(difference(output, plain) < 1e-5);
        let scale: f32 = expected.clone().abs().max().into_scalar();
        assert!(difference(found, expected) < 1e-5 * scale);
    }

    #[test]
    fn off_the_tape_nothing_is_tracked() {
        let ([q, k, v], _) = inputs();
        let plain = attention(q.clone(), k.clone(), v.clone(), None);
        let constant = attention(q.clone().autodiff(), k.clone(), v.clone(), None);
        assert!(!plain.is_autodiff() && constant.is_autodiff() && !constant.is_tracked());
        assert_eq!(difference(plain, constant.inner()), 0.0);
        // Any tracked input puts the output on the tape.
        assert!(attention(q, k.autodiff().require_grad(), v, None).is_tracked());
    }
}
