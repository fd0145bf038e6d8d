"""The transformer of FLUX.1, its autoencoder, and T5's encoder."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from transformers import T5Config, T5EncoderModel

from golden import seed, stir, weights, write

FLUX = {
    "patch_size": 1,
    "in_channels": 12,
    "num_layers": 2,
    "num_single_layers": 1,
    "attention_head_dim": 12,
    "num_attention_heads": 2,
    "joint_attention_dim": 10,
    "pooled_projection_dim": 14,
    "axes_dims_rope": [2, 4, 6],
}
VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 5,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [6, 9],
    "layers_per_block": 1,
    "norm_num_groups": 3,
    "sample_size": 16,
    "scaling_factor": 0.4,
    "shift_factor": 0.3,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
T5 = {
    "vocab_size": 40,
    "d_model": 12,
    "d_kv": 5,
    "d_ff": 18,
    "num_layers": 2,
    "num_heads": 3,
    "relative_attention_num_buckets": 12,
    "relative_attention_max_distance": 20,
    "feed_forward_proj": "gated-gelu",
    "layer_norm_epsilon": 1e-6,
    "tie_word_embeddings": False,
}

TAPS = ["x_embedder", "context_embedder", "time_text_embed", "pos_embed", "norm_out"]
TAPS += ["transformer_blocks.1", "transformer_blocks.1.attn", "single_transformer_blocks.0"]
GRADIENTS = [
    "x_embedder.weight",
    "context_embedder.bias",
    "time_text_embed.text_embedder.linear_1.weight",
    "transformer_blocks.0.norm1_context.linear.weight",
    "transformer_blocks.1.attn.to_out.0.weight",
    "transformer_blocks.1.attn.add_q_proj.weight",
    "transformer_blocks.1.attn.norm_added_k.weight",
    "transformer_blocks.0.ff_context.net.0.proj.bias",
    "single_transformer_blocks.0.attn.to_v.weight",
    "single_transformer_blocks.0.proj_out.weight",
]


def transformer(folder: Path, stem: str, value: int, guidance: bool) -> None:
    seed(value)
    config = FLUX | {"guidance_embeds": guidance}
    model = stir(FluxTransformer2DModel(**config))
    rows, columns, tokens = 3, 2, 5
    to_pack = torch.randn(1, 3, 2 * rows, 2 * columns)
    given = {
        "in.hidden_states": torch.randn(2, rows * columns, 12),
        "in.encoder_hidden_states": torch.randn(2, tokens, 10),
        "in.pooled_projections": torch.randn(2, 14),
        "in.timestep": torch.tensor([0.83, 0.12]),
        "in.img_ids": FluxPipeline._prepare_latent_image_ids(1, rows, columns, "cpu", torch.float32),
        "in.txt_ids": torch.zeros(tokens, 3),
    }
    if guidance:
        given["in.guidance"] = torch.tensor([3.5, 1.0])
    leaves = ["in.hidden_states", "in.encoder_hidden_states", "in.pooled_projections"]
    for name in leaves:
        given[name].requires_grad_()
    taps = {}

    def keep(name):
        def hook(_module, _inputs, output):
            if isinstance(output, tuple):
                taps.update({f"tap.{name}.{i}": part for i, part in enumerate(output)})
            else:
                taps[f"tap.{name}"] = output

        return hook

    for name in TAPS:
        model.get_submodule(name).register_forward_hook(keep(name))
    output = model(**{name.removeprefix("in."): tensor for name, tensor in given.items()}).sample
    target = torch.randn_like(output)
    loss = (output - target).square().mean()
    loss.backward()
    gradients = {f"grad.w.{name}": model.get_parameter(name).grad for name in GRADIENTS}
    gradients |= {f"grad.{name}": given[name].grad for name in leaves}
    packed = FluxPipeline._pack_latents(to_pack, 1, 3, 2 * rows, 2 * columns)
    results = {"out.sample": output, "out.mse_loss": loss, "out.latent_packed": packed}
    inputs = given | {"in.target": target, "in.latent_to_pack": to_pack}
    tensors = weights(model) | inputs | taps | gradients | results
    write(folder, stem, config, "loss = mean((y - target)^2)", value, tensors)


def vae(folder: Path) -> None:
    seed(113)
    model = stir(AutoencoderKL(**VAE))
    scale, shift = VAE["scaling_factor"], VAE["shift_factor"]
    image, noise = torch.rand(1, 3, 16, 16) * 2 - 1, torch.randn(1, 5, 8, 8)
    posterior = model.encode(image).latent_dist
    sample = posterior.mean + posterior.std * noise
    scaled = ((sample - shift) * scale).detach().requires_grad_()
    decoded = model.decode(scaled / scale + shift).sample
    loss = decoded.clamp(-1, 1).mean() + decoded.square().mean()
    (gradient,) = torch.autograd.grad(loss, scaled)
    tensors = weights(model) | {
        "in.image": image,
        "in.noise": noise,
        "out.moments": posterior.parameters,
        "out.mean": posterior.mean,
        "out.logvar": posterior.logvar,
        "out.std": posterior.std,
        "out.latent_sample": sample,
        "out.latent_scaled": scaled,
        "out.decoded": decoded,
        "out.loss": loss,
        "grad.in.latent_scaled": gradient,
    }
    write(folder, "vae_flux_small", VAE, "latent_scaled = (z - shift) * scale", 113, tensors)


def t5(folder: Path) -> None:
    seed(114)
    model = stir(T5EncoderModel(T5Config(**T5)))
    ids = torch.randint(0, T5["vocab_size"], (2, 30))
    mask = torch.ones(2, 30, dtype=torch.long)
    mask[0, 11:] = 0
    # `encoder.embed_tokens` is `shared` under another name, and in no published file.
    own = {name: value for name, value in weights(model).items() if "embed_tokens" not in name}
    positions = torch.arange(30)
    buckets = model.encoder.block[0].layer[0].SelfAttention._relative_position_bucket(
        positions[None, :] - positions[:, None],
        bidirectional=True,
        num_buckets=T5["relative_attention_num_buckets"],
        max_distance=T5["relative_attention_max_distance"],
    )
    tensors = own | {
        "in.input_ids": ids,
        "in.attention_mask": mask,
        "out.last_hidden_state": model(ids).last_hidden_state,
        "out.last_hidden_state_masked": model(ids, attention_mask=mask).last_hidden_state,
        "out.relative_position_bucket": buckets.int(),
    }
    write(folder, "t5_encoder_small", T5, "FLUX.1 gives no mask", 114, tensors)


def everything(folder: Path) -> None:
    transformer(folder, "flux_small", 111, guidance=True)
    transformer(folder, "flux_small_schnell", 112, guidance=False)
    vae(folder)
    t5(folder)
